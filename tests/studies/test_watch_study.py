"""A watch of test clips is recorded with its events, its pictures and its timeline."""

import json

import pytest
from studies import stream_study, watch_study

from ddllib.camera.event_file import read_events
from ddllib.camera.verdicts import BESIDE, FALSE, HIT
from ddllib.errors import DDLError
from ddllib.figures.interactive import timeline
from ddllib.settings import load_profile


def small(name, **values):
    return load_profile("tiny", size=32, threshold_share=0.4, alarms_per_hour=600, **values)


@pytest.mark.slow
def test_the_study_records_what_the_book_shows(footage, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(stream_study, "load_profile", small)
    arguments = ["--method", "neighbour-mean", "--epochs", "0", "--rate", "10"]
    assert watch_study.main([str(footage), *arguments, "--to", str(tmp_path)]) == 0
    report = json.loads((tmp_path / "watch.json").read_text())
    events, facts = read_events(tmp_path)
    assert len(report["verdicts"]) == len(events) and {*report["verdicts"]} <= {HIT, BESIDE, FALSE}
    assert report["method"] == "neighbour-mean" and report["normal_seconds"] > 0
    for number in range(1, len(events) + 1):
        assert (tmp_path / f"{number:04d}.jpg").is_file()
    assert "ddl-timeline" in timeline(tmp_path).data
    text = "".join(path.read_text() for path in tmp_path.glob("*.json"))
    assert str(tmp_path.parent) not in text and str(footage) not in text


@pytest.mark.slow
def test_footage_without_labels_cannot_be_recorded(footage, monkeypatch, tmp_path):
    monkeypatch.setattr(watch_study, "clip_labels", lambda surveyed: {})
    with pytest.raises(DDLError, match="expected labelled test clips"):
        watch_study.measure(footage, 10.0, tmp_path)
