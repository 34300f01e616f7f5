"""Beside the watches: statuses, the page, MQTT and retention, from a file to what a person sees."""

import json
import os
import urllib.request

import pytest
from support.broker import Ear, needs_broker
from support.footage import write_video
from support.server import pictures

from ddllib import DDLError
from ddllib.camera.cameras_file import Cameras, read_cameras
from ddllib.camera.event_file import read_events
from ddllib.camera.many_cameras import ManyCameras
from ddllib.camera.mqtt import Broker
from ddllib.camera.retention import Keep


def file_of(folder, run, **more):
    frames = pictures(90)
    for frame in frames[30:45]:
        frame[:] = 255
    write_video(folder / "yard.avi", frames)
    yard = {"source": "yard.avi", "run": str(run), "alarms": 600}
    path = folder / "cameras.yaml"
    path.write_text(json.dumps({"to": "to", "cameras": {"yard": yard}, **more}))
    return path


@needs_broker
def test_a_watch_shows_its_status_and_events_everywhere(watchable, tmp_path, broker):
    old = tmp_path / "to" / "yard" / "0099-error.jpg"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"of an earlier watch")
    (old.parent / "events.csv").touch()
    os.utime(old, (0, 0))
    mqtt = {"host": "127.0.0.1", "port": broker.port, "topic": "home/cameras"}
    path = file_of(tmp_path, watchable, page=0, retention={"days": 30}, mqtt=mqtt)
    ear, lines = Ear(broker.port), []
    with ManyCameras(read_cameras(path, every=30.0), lines.append) as many:
        assert ear.wait_for("home/cameras/state") == ["online"]
        (watched,) = many.run()
        text = urllib.request.urlopen(many.overseer.page.address).read().decode()
        status = json.loads((tmp_path / "to" / "yard" / "status.json").read_text())
        events = read_events(tmp_path / "to" / "yard")[0]
        messages = ear.wait_for("home/cameras/yard/event", lambda h: h and len(h) == len(events))
    assert status["state"] == "ended" and status["scored"] == watched.scored == 90
    assert status["events"] == len(events) > 0 and ">ended<" in text
    assert [json.loads(one)["start"] for one in messages] == [event.start for event in events]
    assert not old.exists() and any("1 old events" in line for line in lines)
    ear.close()


def test_what_the_file_says_of_the_process_is_read(tmp_path):
    mqtt = {"host": "home", "user": "me", "password": "secret", "topic": "a/b/"}
    path = file_of(tmp_path, "run", page="0.0.0.0:80", retention={"gigabytes": 2}, mqtt=mqtt)
    cameras = read_cameras(path, every=30.0)
    assert cameras.page == ("0.0.0.0", 80) and cameras.keep == Keep(gigabytes=2.0)
    assert cameras.broker == Broker("home", 1883, "me", "secret", "a/b")
    path = file_of(tmp_path, "run", page=8080)
    cameras = read_cameras(path, every=30.0)
    assert cameras == Cameras(path, cameras.cameras, ("127.0.0.1", 8080))


FAULTS = [
    ({"page": "home"}, "page: 'home'"),
    ({"page": 70000}, "page: 70000"),
    ({"retention": {"days": -1}}, "retention: days: '-1'"),
    ({"retention": {"weeks": 1}}, "retention: {'weeks': 1}"),
    ({"mqtt": {"topic": "a"}}, "mqtt: has no host"),
    ({"mqtt": {"host": "a", "topic": "a/#"}}, "mqtt: topic: 'a/#'"),
    ({"mqtt": {"host": "a", "port": "x"}}, "mqtt: port: 'x'"),
]


@pytest.mark.parametrize(("more", "word"), FAULTS)
def test_a_fault_of_the_process_s_part_is_reported_by_its_name(tmp_path, more, word):
    with pytest.raises(DDLError) as fault:
        read_cameras(file_of(tmp_path, "run", **more), every=30.0)
    assert f"cameras.yaml: {word}" in str(fault.value)
