"""Getting a known data set: from a server to footage that is recognised, or what a person does."""

import functools
import hashlib
import http.server
import tarfile
import threading
from dataclasses import replace

import pytest
from support.footage import FRAMES, write_ucsd

from data_prep.__main__ import main
from data_prep.fetching import official
from data_prep.footage import datasets, survey
from ddllib.errors import DDLError

pytestmark = pytest.mark.usefixtures("own_runs")  # boxes are kept there


@pytest.fixture
def server(tmp_path):
    """A folder that is served, and its address."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        paths = []

        def log_message(self, *_):
            self.paths.append(self.path)

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{running.server_port}", Quiet.paths
        running.shutdown()


@pytest.fixture
def walks(common, server, tmp_path, monkeypatch):
    """A data set of two walks in UCSD's form, in an archive with another one beside it."""
    folder, address, _ = server
    top = tmp_path / "UCSD_Anomaly_Dataset.v1p2"
    for name in ("UCSDped8", "UCSDped9"):
        write_ucsd(common, top / name)
    archive = folder / "walks.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(top, top.name)
    lengths = {"01": FRAMES, "02": FRAMES}
    facts = replace(
        datasets.load("ped2"),
        name="walks",
        size=(48, 64),
        frames={"training": lengths, "testing": lengths},
        abnormal={"frames": {"01": 4, "02": 3}},
        archives=[
            {
                "address": "http://example.invalid/walks.tar.gz",
                "bytes": archive.stat().st_size,
                "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
            }
        ],
        folder="UCSDped9",
    )
    load = datasets.load
    monkeypatch.setattr(datasets, "load", lambda name: facts if name == "walks" else load(name))
    return facts


def test_from_the_server_to_recognised_footage(walks, server, tmp_path):
    _, address, paths = server
    target = tmp_path / "data" / "walks"
    official.get(walks, target, address, progress=False)
    result = survey.survey(target, "walks")
    assert not survey.faults(result) and result.footage.root == target / "UCSDped9"
    assert [p.name for p in target.iterdir()] == ["UCSDped9"]
    requests = len(paths)
    official.get(walks, target, address, progress=False)
    assert len(paths) == requests == 1, "what is whole is not fetched again"


def test_another_file_than_the_official_one_is_refused(walks, server, tmp_path):
    folder, address, _ = server
    archive = folder / "walks.tar.gz"
    archive.write_bytes(archive.read_bytes()[:-1] + b"x")
    with pytest.raises(DDLError, match="SHA-256 .*, expected") as error:
        official.get(walks, tmp_path / "data", address, progress=False)
    assert "\n" not in str(error.value)
    assert not [p for p in (tmp_path / "data").glob("*") if not p.name.startswith(".")]


def test_without_a_network_the_command_says_so_in_one_line(tmp_path, capsys):
    mirror = "http://no.invalid/mirror"
    assert main(["download", "avenue", str(tmp_path / "a"), "--quiet", "--mirror", mirror]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"{mirror}/Avenue_Dataset.zip: could not be fetched" in error
    assert "download it by hand into" in error and "and run again" in error


def test_what_only_a_person_can_get_is_reported_with_its_place(tmp_path, capsys):
    assert main(["download", "shanghaitech", str(tmp_path / "sht")]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "campus_dataset.html" in error
    assert str(tmp_path / "sht") in error


@pytest.mark.parametrize("name", datasets.wholes())
def test_every_data_set_can_be_got_or_says_how(name):
    facts = datasets.load(name)
    assert bool(facts.archives) != bool(facts.by_hand)
    for archive in facts.archives:
        assert archive["address"].startswith("http") and len(archive["sha256"]) == 64
        assert archive["bytes"] > 0
