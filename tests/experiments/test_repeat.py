"""A record is run again from its settings alone, and a difference is told with its place."""

import json

import numpy as np
import pytest

from ddllib import losses, pipeline
from ddllib.experiments import repeat
from ddllib.records import read_record, write_record
from ddllib.settings import load_profile


@pytest.fixture
def record(tmp_path, monkeypatch):
    """A run of the short generated scene, from footage to record."""
    monkeypatch.setenv("DDL_RUNS", str(tmp_path / "runs"))
    settings = load_profile("tiny", epochs=1, size=32, latent_dim=8)
    data = pipeline.prepare(settings, progress=False)
    return pipeline.score(
        settings, data, pipeline.train(settings, data, progress=False), progress=False
    )


def test_a_record_is_repeated_bit_for_bit(record, capsys):
    assert repeat.main([str(record.folder)]) == 0
    assert "the same curves and scores, bit for bit" in capsys.readouterr().out
    again = record.folder.parents[1] / "repeated" / "tiny" / record.folder.name
    assert read_record(again).facts["history"] == record.facts["history"]
    assert (again.parent / "prepared" / "manifest.json").is_file()  # from the footage on


@pytest.mark.slow
def test_a_second_repetition_is_made_anew_and_keeps_the_first(record, capsys, monkeypatch):
    assert repeat.main([str(record.folder)]) == 0
    loss = losses.reconstruction_loss
    with monkeypatch.context() as patched:
        patched.setattr(losses, "reconstruction_loss", lambda *given: 2 * loss(*given))
        capsys.readouterr()
        assert repeat.main([str(record.folder)]) == 1
    told = capsys.readouterr().out
    assert "training: total at step 0 was" in told and "reused" not in told
    place = record.folder.parents[1] / "repeated" / "tiny"
    names = {record.folder.name, "prepared"}
    kept = {p.name for p in place.iterdir() if p.is_dir()}
    assert kept == names | {f"{name}.old-1" for name in names}


def test_an_interrupted_repetition_goes_on(record, capsys):
    assert repeat.main([str(record.folder)]) == 0
    again = record.folder.parents[1] / "repeated" / "tiny" / record.folder.name
    (again / "run.json").unlink()  # stopped before it was scored
    capsys.readouterr()
    assert repeat.main([str(record.folder)]) == 0
    assert "reused, nothing to train" in capsys.readouterr().out
    assert not list(again.parent.glob("*.old-*"))


@pytest.mark.slow
def test_a_record_that_began_with_another_run_is_repeated(record, capsys):
    name = f"tiny/{record.folder.name}"
    settings = load_profile("tiny", epochs=1, size=32, latent_dim=8, start_from=name)
    data = pipeline.prepare(settings, progress=False)
    run = pipeline.train(settings, data, progress=False)
    begun = pipeline.score(settings, data, run, progress=False)
    assert begun.folder != record.folder
    assert repeat.main([str(begun.folder)]) == 0
    assert "the same curves and scores, bit for bit" in capsys.readouterr().out


@pytest.mark.slow
def test_what_differs_is_told(record):
    facts = json.loads(json.dumps(record.facts))
    facts["history"]["total"][3] += 0.01
    facts["environment"]["packages"]["torch"] = "1.0"
    scores = {name: values + np.float32(1e-7) for name, values in record.scores.items()}
    other = record.folder.with_name("other")
    write_record(other, facts, scores, record.labels, record.shown)
    lines = repeat.compare(read_record(other), record)
    assert lines[0].startswith("training: total at step 3 was")
    assert lines[1].startswith("scores: not the same; AUC (raw) was")
    assert any(line.startswith("made with torch 1.0, now ") for line in lines[2:])
    assert repeat.compare(record, record) == []
