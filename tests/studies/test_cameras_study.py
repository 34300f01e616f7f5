"""Many live cameras are compared with watches of their clips alone, play by play."""

import shutil

import numpy as np
import pytest
from studies import cameras_study
from studies.cameras_study import compare
from support.footage import FRAMES, walk, write_frames

from ddllib import DDLError
from ddllib.camera.event_file import COLUMNS
from ddllib.settings import load_profile

ALONE = [0.1, 0.2, 0.9, 0.8, 0.1, 0.2]
LABELS = np.array([0, 0, 1, 1, 0, 0])


def folder(path, plays, events):
    """A watched folder with the scores of each play and events as first and last frames."""
    path.mkdir()
    rows, number = ["segment,frame,time_s,score"], 0
    for segment, scores in enumerate(plays):
        for score in scores:
            rows.append(f"{segment},{number},{number / 10:.3f},{score}")
            number += 1
    (path / "scores.csv").write_text("\n".join(rows) + "\n")
    write_events(path, events)
    return path


def write_events(path, events):
    lines = [",".join(COLUMNS)]
    for first, last in events:
        values = {"start": first, "end": last, "start_s": first / 10, "end_s": last / 10}
        values |= {"peak": first, "peak_s": first / 10, "score": 0.9, "open": 0}
        lines.append(",".join(str(values.get(name, "")) for name in COLUMNS))
    (path / "events.csv").write_text("\n".join(lines) + "\n")
    (path / "events.json").write_text("{}")


@pytest.fixture
def alone(tmp_path):
    return folder(tmp_path / "alone", [ALONE], [(2, 3)])


def test_plays_that_are_as_alone_differ_in_nothing(alone, tmp_path):
    live = folder(tmp_path / "live", [ALONE, ALONE, ALONE[:2]], [(2, 3), (8, 9)])
    row = compare("yard", alone, live, LABELS)
    assert (row.plays, row.torn, row.frames, row.difference) == (2, 0, 12, 0.0)
    assert (row.events, row.told, row.more) == (2, 2, 0)
    assert (row.labelled, row.labelled_told) == (2, 2)


def test_a_missing_event_one_too_many_and_a_foreign_score_are_seen(alone, tmp_path):
    foreign = [0.1, 0.2, 0.3, 0.8, 0.1, 0.2]
    live = folder(tmp_path / "live", [ALONE, foreign, ALONE], [(2, 3), (11, 11)])
    row = compare("yard", alone, live)
    assert row.difference == pytest.approx(0.6)
    assert (row.events, row.told, row.more, row.labelled) == (2, 1, 1, 0)


def test_a_play_without_some_of_its_frames_is_counted_apart(alone, tmp_path):
    live = folder(tmp_path / "live", [ALONE[:4], ALONE, ALONE], [(6, 7)])
    row = compare("yard", alone, live)
    assert (row.plays, row.torn, row.told) == (1, 1, 1)


def test_a_watch_too_short_for_a_whole_play_has_none(alone, tmp_path):
    row = compare("yard", alone, folder(tmp_path / "live", [ALONE], [(2, 3)]), LABELS)
    assert (row.plays, row.events, row.labelled, row.difference) == (0, 0, 0, 0.0)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed")
def test_cameras_of_a_data_set_are_watched_together_as_alone(footage, monkeypatch, tmp_path):
    def tiny(name, **values):
        small = {"size": 32, "latent_dim": 8, "epochs": 1, "threshold_share": 0.4}
        return load_profile("tiny", **{**values, **small})

    monkeypatch.setattr("studies.stream_study.load_profile", tiny)
    report = cameras_study.measure([footage], 10.0, 0.2, tmp_path)
    assert len(report["rows"]) == 2 and report["taken"]["cameras"] == 2
    assert {row["plays"] > 0 for row in report["rows"]} == {True}
    for row in report["rows"]:
        assert row["frames"] == row["plays"] * FRAMES
        assert row["difference"] < 1e-5 and row["told"] == row["events"]
    assert "2 cameras watched for 0.2 minutes" in cameras_study.lines(report)[0]
    assert list(cameras_study.table(report)["camera"]) == [row["camera"] for row in report["rows"]]
    assert str(tmp_path) not in str(report)


def test_footage_without_test_clips_is_reported(tmp_path):
    write_frames(tmp_path / "in" / "a", walk(3))
    with pytest.raises(DDLError, match="expected test clips, to play them"):
        cameras_study.filmed(tmp_path / "in", 10.0, tmp_path)
