"""A camera played in real time is watched to its end, and scored as its frames are at rest."""

import json

import numpy as np
import pytest
from studies import stream_study
from support.footage import FRAMES, walk, write_frames

from data_prep.footage.layouts import Clip, find_footage
from data_prep.live.broadcast import broadcast
from data_prep.live.sources import open_source
from ddllib import DDLError
from ddllib.camera.watch_result import WatchResult
from ddllib.settings import load_profile

RATE = 25.0


def clip_of(folder, name="a"):
    return Clip("testing", name, folder, tuple(sorted(folder.iterdir())))


def test_a_broadcast_keeps_to_the_clock_and_is_played_once(tmp_path):
    write_frames(tmp_path / "a", walk(3))
    write_frames(tmp_path / "b", walk(4))
    clips = [clip_of(tmp_path / "a"), clip_of(tmp_path / "b", "b")]
    with broadcast(clips, RATE) as address:
        wishes = {"patience": 1.0, "give_up": 1.0, "tell": lambda line: None}
        frames = list(open_source(address, None, live=True, **wishes))
    assert len(frames) == 2 * FRAMES
    took = frames[-1].read_s - frames[0].read_s
    assert took == pytest.approx((2 * FRAMES - 1) / RATE, abs=0.5)
    assert np.abs(frames[0].image.astype(int) - walk(3)[0]).mean() < 3


def test_a_source_that_is_kept_is_given_back_in_its_pieces(tmp_path):
    write_frames(tmp_path / "in" / "a", walk(3))
    write_frames(tmp_path / "in" / "b", walk(4))
    source = stream_study.Kept(open_source(tmp_path / "in", (16, 32)))
    frames = [frame.image for frame in source]
    pieces = source.pieces()
    assert [len(piece) for piece in pieces] == [FRAMES, FRAMES]
    assert np.array_equal(np.concatenate(pieces), frames) and source.dropped == 0


@pytest.mark.slow
def test_the_study_watches_all_that_was_sent(footage, monkeypatch, tmp_path, capsys):
    def small(name, **values):
        return load_profile("tiny", size=32, latent_dim=8, epochs=1, threshold_share=0.4, **values)

    monkeypatch.setattr(stream_study, "load_profile", small)
    monkeypatch.setattr(stream_study, "SILENCE_S", 1.0)
    monkeypatch.setattr("sys.argv", ["", str(footage), "--rate", "20", "--to", str(tmp_path)])
    assert stream_study.main() == 0
    report = json.loads((tmp_path / "stream.json").read_text())
    assert report["sent"] == report["frames"] == report["scored"] == 2 * FRAMES
    assert report["dropped"] == 0 and report["largest_difference"] < 1e-5
    assert report["precision"] == "float32" and report["met"][1] == 1
    assert len(report["delay"]["parts"]) == 1 and str(tmp_path) not in json.dumps(report)
    assert "28 of 28 frames scored at 20 per second" in capsys.readouterr().out


def test_a_study_that_was_stopped_records_nothing(footage, monkeypatch, tmp_path):
    def stopped(source, scorer, folder, listeners, smooth):
        return WatchResult(stopped=2)

    def small(name, **values):
        return load_profile("tiny", size=32, latent_dim=8, epochs=1, threshold_share=0.4, **values)

    monkeypatch.setattr(stream_study, "load_profile", small)
    monkeypatch.setattr(stream_study, "watch", stopped)
    with pytest.raises(DDLError, match="stopped before its end: nothing is recorded"):
        stream_study.measure(footage, 20.0)


def test_footage_without_test_clips_is_reported(tmp_path):
    write_frames(tmp_path / "in" / "a", walk(3))
    with pytest.raises(DDLError, match="expected test clips of known length"):
        stream_study.measure(tmp_path / "in", RATE)


def test_joined_clips_are_the_clips_without_loss(footage, tmp_path):
    clips = list(find_footage(footage).clips["training"].values())
    place = stream_study.join(clips, tmp_path / "joined", RATE)
    frames = [frame.image for frame in open_source(place / "training", None)]
    assert len(frames) == 2 * FRAMES and np.array_equal(frames[FRAMES], walk(4)[0])
    before = (place / "training" / "00.avi").stat().st_mtime_ns
    stream_study.join(clips, tmp_path / "joined", RATE)
    assert (place / "training" / "00.avi").stat().st_mtime_ns == before
