"""The status of a camera, whole at any moment, and the local page of all cameras."""

import http.client
import json
import time
from types import SimpleNamespace

import pytest

from ddllib import DDLError
from ddllib.camera import status as module
from ddllib.camera.drift import Drift
from ddllib.camera.status import NAME, StatusFile
from ddllib.camera.status_page import StatusPage
from ddllib.camera.watch_result import WatchResult


def a_post(folder, **changes):
    """A camera that lives: its newest frame was read now."""
    watched = WatchResult(
        frames=12, scored=10, reused=4, newest_s=1.8e9, newest_read_s=time.monotonic()
    )
    watched.delays.extend([0.1] * 9 + [0.5])
    journal = SimpleNamespace(events=SimpleNamespace(count=3))
    alarms = SimpleNamespace(scene=SimpleNamespace(drift=None), journal=journal)
    camera = SimpleNamespace(
        folder=folder,
        watched=watched,
        alarms=alarms,
        source=SimpleNamespace(dropped=2, reconnections=1),
        options=SimpleNamespace(patience=10.0),
    )
    return SimpleNamespace(**{"name": "yard", "camera": camera, "fault": None, "result": None})


def state_of(post):
    file = StatusFile(post)
    status = file.write()
    content = json.loads((post.camera.folder / NAME).read_text())
    assert content["state"] == status.state and file.newest == status
    return status.state


def test_a_status_says_how_the_watch_goes(tmp_path):
    status = StatusFile(a_post(tmp_path)).find()
    assert (status.camera, status.state, status.last_frame_s) == ("yard", "live", 1.8e9)
    assert (status.frames, status.scored, status.dropped, status.reconnections) == (12, 10, 2, 1)
    assert status.reused == 4
    assert status.delay_s == pytest.approx(0.1) and 0.1 < status.delay_95_s <= 0.5
    assert status.events == 3 and status.free_bytes > 0


def test_the_worst_state_is_reported(tmp_path, monkeypatch):
    post = a_post(tmp_path)
    assert state_of(post) == "live"
    post.camera.alarms.scene.drift = Drift("moved", "the view moved", 7)
    assert state_of(post) == "changed scene"
    with monkeypatch.context() as patch:
        patch.setattr(module, "is_low", lambda folder, floor: True)
        assert state_of(post) == "disk low"
    post.camera.watched.newest_read_s = time.monotonic() - 11
    assert state_of(post) == "lost"
    post.fault = "cannot be written"
    assert state_of(post) == "failed"


def test_a_camera_without_a_frame_starts_and_is_lost_after_its_patience(tmp_path):
    post = a_post(tmp_path)
    post.camera.watched = WatchResult()
    file = StatusFile(post)
    assert file.find().state == "starting" and file.find().delay_s is None
    post.camera.options.patience = 0.0
    assert file.find().state == "lost"
    post.result = WatchResult()
    assert file.find().state == "ended"


def test_frames_per_second_are_those_of_the_last_seconds(tmp_path, monkeypatch):
    post, now = a_post(tmp_path), [1000.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0], time=time.time))
    post.camera.watched.newest_read_s = 1e9
    file, paces = StatusFile(post), []
    for step in range(20):
        now[0] += 2
        post.camera.watched.scored += 20 if step < 10 else 6
        paces.append(file.find().frames_per_second)
    assert paces[0] == 0 and paces[9] == pytest.approx(10) and paces[-1] == pytest.approx(3)
    post.camera.watched.scored = 1  # begun again
    assert file.find().frames_per_second == 0


@pytest.fixture
def page(tmp_path):
    """A page of one camera with a name that HTML would take for a tag."""
    folder = tmp_path / "yard"
    folder.mkdir()
    (folder / "index.html").write_text("its events")
    (folder / "running.json.part").write_text("hidden")
    (folder / ".secret.json").write_text("hidden")
    (tmp_path / "outside.html").write_text("outside")
    (folder / "link.html").symlink_to(tmp_path / "outside.html")
    post = a_post(folder)
    post.fault = "<b>broken</b>"
    file = StatusFile(post)
    file.write()
    with StatusPage("127.0.0.1", 0, lambda: [file.newest], {"yard": folder}) as serving:
        yield serving


def got(page, path, host=None):
    connection = http.client.HTTPConnection("127.0.0.1", int(page.address.rsplit(":", 1)[1][:-1]))
    connection.request("GET", path, headers={"Host": host} if host else {})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def test_the_page_shows_every_camera_and_reloads_by_itself(page):
    status, text = got(page, "/")
    assert status == 200 and 'http-equiv="refresh"' in text and "yard" in text
    assert "40 %" in text  # of the scores were reused
    assert "&lt;b&gt;broken" in text and "<b>broken" not in text
    assert got(page, "/yard/index.html") == (200, "its events")
    assert json.loads(got(page, f"/yard/{NAME}")[1])["camera"] == "yard"


HIDDEN = [
    "/yard",
    "/yard/none.html",
    "/other/index.html",
    "/yard/../outside.html",
    "/yard/%2e%2e/outside.html",
    "/yard/..%2foutside.html",
    "/yard/.secret.json",
    "/yard/running.json.part",
    "/yard/link.html",
    "//etc/passwd",
]


@pytest.mark.parametrize("path", HIDDEN)
def test_nothing_else_is_served(page, path):
    status, text = got(page, path)
    assert status == 404 and "hidden" not in text and "outside" not in text


@pytest.mark.parametrize(("host", "status"), [("localhost:80", 200), ("evil.example:80", 403)])
def test_at_loopback_it_answers_to_this_machine_s_names_only(page, host, status):
    assert got(page, "/", host)[0] == status


def test_a_port_that_is_taken_is_reported(page):
    port = int(page.address.rsplit(":", 1)[1][:-1])
    with pytest.raises(DDLError, match=f"page: 127.0.0.1:{port} .* choose another"):
        StatusPage("127.0.0.1", port, lambda: [], {})
