"""A record is run again from its settings alone, and a difference is told with its place."""

import json
import re
import shutil

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from ddllib import DDLError, losses, pipeline
from ddllib.experiments import publishing, repeat, weights
from ddllib.experiments.weights import NAME
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
    with monkeypatch.context() as patch:
        patch.setattr(losses, "reconstruction_loss", lambda *args: 2 * loss(*args))
        capsys.readouterr()
        assert repeat.main([str(record.folder)]) == 1
    output = capsys.readouterr().out
    assert "training: total at step 0 was" in output and "reused" not in output
    place = record.folder.parents[1] / "repeated" / "tiny"
    names = {record.folder.name, "prepared"}
    folders = {p.name for p in place.iterdir() if p.is_dir()}
    assert folders == names | {f"{name}.old-1" for name in names}


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
    other_record = pipeline.score(settings, data, run, progress=False)
    assert other_record.folder != record.folder
    assert repeat.main([str(other_record.folder)]) == 0
    assert "the same curves and scores, bit for bit" in capsys.readouterr().out


@pytest.mark.slow
def test_what_differs_is_reported(record):
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


@pytest.fixture
def published(record, tmp_path, monkeypatch):
    """The record in the results, with its weights."""
    monkeypatch.setattr(publishing, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(publishing, "SCORED", tmp_path / "results" / "scored.csv")
    return publishing.publish(record, weights=True)


def test_a_published_record_is_scored_again_by_its_weights(published, capsys, monkeypatch):
    monkeypatch.setattr(pipeline, "fit", None)  # nothing is trained
    assert repeat.main([str(published.folder), "--scores"]) == 0
    assert "the same scores, bit for bit" in capsys.readouterr().out
    values = load_file(published.folder / NAME)
    values["model.decoder.conv_4.conv_last.bias"] += 0.1
    save_file(values, published.folder / NAME)
    assert repeat.main([str(published.folder), "--scores"]) == 1
    assert "scores: not the same; AUC (raw) was" in capsys.readouterr().out


def test_another_score_of_the_run_finds_the_weights_beside_its_first(published, monkeypatch):
    monkeypatch.setattr(pipeline, "fit", None)
    other = published.folder.with_name(f"{published.folder.name}-score-another")
    shutil.copytree(published.folder, other, ignore=shutil.ignore_patterns(NAME))
    assert repeat.main([str(other), "--scores"]) == 0


def test_weights_that_cannot_be_used_are_reported(published, capsys, monkeypatch):
    path = published.folder / NAME
    values, content = load_file(path), path.read_bytes()
    for spoil, message in (
        (lambda: path.write_bytes(content[:-9]), "damaged (.*); get it anew"),
        (lambda: save_file({"model.other": values["pseudo_anomaly.l"]}, path), "of another model"),
        (path.unlink, "was published without weights; leave out --scores"),
    ):
        spoil()
        assert repeat.main([str(published.folder), "--scores"]) == 1
        captured = capsys.readouterr().err
        assert re.search(message, captured) and captured.count("\n") == 1
    monkeypatch.setattr(weights, "MOST", 1000)
    with pytest.raises(DDLError, match="MB; expected at most 0, to be published"):
        publishing.publish(read_record(published.folder), weights=True)
