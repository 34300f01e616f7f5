"""Full and closed disks along the road: one line, what was finished stays, the next run goes on."""

import subprocess
import sys

import numpy as np
import pytest
from support.disks import read_only
from support.footage import walk, write_frames

from data_prep import prepare, verify
from data_prep.__main__ import main
from ddllib import pipeline
from ddllib.data import load_prepared
from ddllib.errors import DDLError
from ddllib.records import read_record, write_record
from ddllib.training import fit

SIZE = (240, 320)


def must_be_reported(error, place):
    text = str(error.value)
    assert "\n" not in text and str(place) in text and "run again" in text
    assert "cannot be written" in text and ("make room" in text or "raise the limit" in text)


def test_a_disk_that_fills_up_while_preparing(footage, disk):
    out = disk.folder / "prepared"
    before = prepare(footage, out, SIZE, progress=False)
    write_frames(footage / "training" / "frames" / "03", walk(4))
    clip = (out / "training" / "01.npy").stat().st_size
    with disk.full(clip // 2), pytest.raises(DDLError) as error:
        prepare(footage, out, SIZE, progress=False)
    must_be_reported(error, out)
    assert verify(out) == before, "the earlier preparation is whole"
    assert not list(out.rglob("*.tmp"))
    assert "03" in prepare(footage, out, SIZE, progress=False)["clips"]["training"]
    verify(out)


def test_a_disk_that_is_full_before_the_first_byte(footage, disk, capsys):
    with disk.full():
        assert main(["prepare", str(footage), str(disk.folder / "out"), "--quiet"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["prepare", str(footage), str(disk.folder / "out"), "--quiet"]) == 0


def test_a_disk_that_fills_up_while_a_record_is_written(disk):
    folder = disk.folder / "profile" / "run"
    facts = {"settings": {"seed": 0}, "metrics": {}, "history": {}}
    facts |= {"data": {"digest": "d"}, "device": "cpu, 1 threads", "train_seconds": 1.0}
    scores = {"01": np.random.default_rng(0).random(9000)}
    write_record(folder, facts, scores, {}, {})
    larger = {"01": np.random.default_rng(1).random(900_000)}
    with disk.full(100_000), pytest.raises(DDLError) as error:
        write_record(folder, facts, larger, {}, {})
    must_be_reported(error, folder)
    assert np.array_equal(read_record(folder).scores["01"], scores["01"])
    write_record(folder, facts, larger, {}, {})
    assert len(read_record(folder).scores["01"]) == 900_000


def test_a_disk_that_fills_up_while_scoring(small_settings, small_data, disk, monkeypatch):
    monkeypatch.setenv("DDL_RUNS", str(disk.folder))
    settings = small_settings(epochs=1)
    run = pipeline.train(settings, small_data, progress=False)
    with disk.full(20_000), pytest.raises(DDLError) as error:
        pipeline.score(settings, small_data, run, progress=False)
    must_be_reported(error, settings.record_folder)
    assert not (settings.record_folder / "run.json").exists()
    assert pipeline.train(settings, small_data, progress=False).steps_now == 0
    assert pipeline.score(settings, small_data, run, progress=False).metrics


def test_footage_that_cannot_be_written_is_prepared(footage, tmp_path):
    """Preparation writes only below the runs."""
    with read_only(footage) as closed:
        prepare(footage, tmp_path / "out", (24, 32), progress=False)
        assert main(["check", str(footage)]) == 0
        if closed:
            with pytest.raises(DDLError, match="(Read-only|Permission).*may write to"):
                prepare(footage, footage / "out", (24, 32), progress=False)
    verify(tmp_path / "out")


def test_prepared_data_that_cannot_be_written_is_read(footage, ready):
    with read_only(ready[0]) as closed:
        assert prepare(footage, ready[0], (24, 32), progress=False) == ready[1]
        assert verify(ready[0]) == ready[1]
        assert len(load_prepared(ready[0], "labels.csv").training) == 2
        if closed:
            with pytest.raises(DDLError, match="Read-only|Permission") as error:
                prepare(footage, ready[0], (12, 16), progress=False)
            assert "\n" not in str(error.value)


@pytest.mark.slow
def test_two_processes_do_not_prepare_into_one_folder(footage, tmp_path):
    """Both are real and start at once: one wins, or both in turn; never half of each."""
    for k in range(2, 8):
        write_frames(footage / "training" / "frames" / f"{k}", walk(3))
    command = [sys.executable, "-m", "data_prep", "prepare", str(footage), str(tmp_path / "out")]
    both = [
        subprocess.Popen([*command, "--size", size, "--quiet"], stderr=subprocess.PIPE, text=True)
        for size in ("480", "496")
    ]
    ends = [process.communicate(timeout=120)[1] for process in both]
    codes = [process.returncode for process in both]
    for code, error in zip(codes, ends, strict=True):
        assert code == 0 or "another preparation works in it; wait for its end" in error
        assert error.count("\n") == code
    assert 0 in codes
    assert verify(tmp_path / "out")["height"] in (480, 496)


@pytest.mark.parametrize("value", [0, 127, 255])
@pytest.mark.parametrize("mode", ["none", "ddl"])
def test_constant_footage_trains_and_scores_without_nan(small_settings, small_data, value, mode):
    for clips in (small_data.training, small_data.testing):
        for name in clips:
            clips[name] = np.full_like(clips[name], value)
    settings = small_settings(epochs=2, mode=mode)
    run = fit(settings, small_data, None, progress=False)
    assert np.isfinite(run.history["total"]).all()
    record = pipeline.score(settings, small_data, run, progress=False)
    assert all(np.isfinite(scores).all() for scores in record.scores.values())
    assert 0 <= record.auc("median") <= 1
