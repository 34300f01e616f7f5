"""A run's folder is all that watching takes: copied alone, it watches as where it was trained."""

import json
import shlex
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
from support.footage import write_video
from support.server import pictures

from ddllib import DDLError, pipeline
from ddllib import settings as settings_module
from ddllib.camera import assembly, handover
from ddllib.camera.event_file import read_events
from ddllib.camera.score_table import read_scores
from ddllib.camera.watch_command import main
from ddllib.data import load_prepared
from ddllib.settings import load_profile
from ddllib.training import load_run

TINY = (settings_module.PROFILES / "tiny.yaml").read_text()
SHARE = 0.3


def train_to_watch(settings, data, progress):
    run = pipeline.train(settings, data, progress)
    handover.make_ready(settings, data, run)
    return run


def change_profile(folder, monkeypatch, text):
    """Profiles are only this one, called tiny."""
    folder.mkdir(exist_ok=True)
    (folder / "tiny.yaml").write_text(text)
    for name in ("PROFILES", "OWN_PROFILES"):
        monkeypatch.setattr(settings_module, name, folder)


@pytest.fixture
def place(prepared_folder, small_settings, tmp_path):
    """Settings of a run with normal footage kept apart, its prepared data, and a video."""
    settings = small_settings(threshold_share=SHARE, epochs=1)
    shutil.copytree(prepared_folder, settings.prepared_folder)
    write_video(tmp_path / "a.avi", pictures(40))
    return settings, load_prepared(settings.prepared_folder)


def moved(folder, tmp_path, monkeypatch, profile=None):
    """A copy of the run alone; runs, data and profiles are as on another machine."""
    copy = tmp_path / "elsewhere" / "run"
    shutil.copytree(folder, copy)
    for name in ("DDL_RUNS", "DDL_DATA"):
        monkeypatch.setenv(name, str(tmp_path / "empty"))
    if profile is None:
        monkeypatch.setattr(settings_module, "PROFILES", tmp_path / "none")
        monkeypatch.setattr(settings_module, "OWN_PROFILES", tmp_path / "none")
    else:
        change_profile(tmp_path / "other", monkeypatch, profile)
    return copy


def watched(run, tmp_path, name, *options):
    """The scores, and what is kept of the threshold."""
    args = ["--run", str(run), "--source", str(tmp_path / "a.avi"), "--to", str(tmp_path / name)]
    assert main([*args, *options]) == 0
    return read_scores(tmp_path / name)["score"].tolist(), read_events(tmp_path / name)[1]


ALTERED = TINY.replace("size: 32", "size: 64").replace("data: demo-short", "data: elsewhere")


@pytest.mark.parametrize("profile", [None, ALTERED], ids=["no profile", "an edited profile"])
def test_a_copied_run_watches_as_in_place(place, tmp_path, monkeypatch, capsys, profile):
    settings, data = place
    run = train_to_watch(settings, data, progress=False)
    there = watched(run.folder, tmp_path, "there")
    copy = moved(run.folder, tmp_path, monkeypatch, profile)
    capsys.readouterr()
    here = watched(copy, tmp_path, "here")
    assert here[0] == there[0] and here[1]["threshold"] == there[1]["threshold"]
    output = capsys.readouterr().out
    assert (
        "changed in the profile tiny since this run was trained: data, size;" in output
    ) == bool(profile)
    assert "prepared footage has changed" not in output


def test_a_run_is_watched_in_place_whatever_becomes_of_its_profile(place, tmp_path, monkeypatch):
    settings, data = place
    run = train_to_watch(settings, data, progress=False)
    before = watched(run.folder, tmp_path, "before")
    change_profile(tmp_path / "profiles", monkeypatch, ALTERED)
    after = watched(run.folder, tmp_path, "after")
    assert after[0] == before[0] and after[1]["threshold"] == before[1]["threshold"]


def test_another_rate_of_alarms_needs_no_footage(place, tmp_path, monkeypatch):
    settings, data = place
    run = train_to_watch(settings, data, progress=False)
    expected = assembly.threshold(replace(settings, alarms_per_hour=900.0), data, run)
    copy = moved(run.folder, tmp_path, monkeypatch)
    _, facts = watched(copy, tmp_path, "here", "--alarms", "900")
    assert facts["threshold"] == expected.asdict()


@pytest.mark.parametrize("option", [("--patch", "8"), ("--ignore", "[[0, 0, 1, 0.5]]")])
def test_another_patch_or_mask_needs_the_footage(place, tmp_path, monkeypatch, capsys, option):
    settings, data = place
    run = train_to_watch(settings, data, progress=False)
    watched(run.folder, tmp_path, "there", *option)  # its prepared data lies beside it
    copy = moved(run.folder, tmp_path, monkeypatch)
    shutil.rmtree(copy / "normal")  # of another machine, scores there are no help
    args = ["--run", str(copy), "--source", str(tmp_path / "a.avi"), "--to", str(tmp_path / "b")]
    capsys.readouterr()
    assert main([*args, *option]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "leave --patch and --ignore out, or watch where the run was trained" in line


def test_scores_of_other_terms_are_computed_anew(place):
    settings, data = place
    run = train_to_watch(settings, data, progress=False)
    usual = handover.read(run.folder)
    assert usual.values["score"] == "distance"
    half = replace(settings, score="0.5 distance")
    assert not usual.has_scores_for(half, data, run)
    handover.make_ready(half, data, run)
    contents = handover.read(run.folder)
    assert contents.values["score"] == half.score and contents.has_scores_for(half, data, run)
    for name, scores in contents.normal.items():
        assert np.allclose(scores, usual.normal[name] / 2, atol=1e-6)


def test_a_run_of_before_scores_had_terms_is_read(place):
    settings, data = place
    run = train_to_watch(settings, data, progress=False)
    path = run.folder / handover.NAME
    facts = json.loads(path.read_text())
    del facts["values"]["score"]
    path.write_text(json.dumps(facts))
    assert handover.read(run.folder).has_scores_for(settings, data, run)


def test_a_mask_goes_with_the_run(place, tmp_path, monkeypatch, capsys):
    settings, data = place
    mask = np.zeros((32, 32), np.uint8)
    mask[:16] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    new_settings = replace(settings, ignore=str(tmp_path / "mask.png"), alarms_per_hour=240.0)
    run = train_to_watch(new_settings, data, progress=False)
    there = watched(run.folder, tmp_path, "there")
    (tmp_path / "mask.png").unlink()
    copy = moved(run.folder, tmp_path, monkeypatch)
    capsys.readouterr()
    here = watched(copy, tmp_path, "here")
    assert here[0] == there[0] and here[1]["threshold"] == there[1]["threshold"]
    assert here[1]["threshold"]["rate"] == 240
    assert "ignored: 50.0 % of the picture" in capsys.readouterr().out
    assert watched(copy, tmp_path, "box", "--ignore", "[[0, 0, 1, 0.5]]")[0] == there[0]


def test_a_chapter_run_again_keeps_its_new_values(place):
    settings, data = place
    for values in ({"patch": 8}, {"alarms_per_hour": 7.0}, {"ignore": [[0, 0, 1, 0.5]]}):
        new_settings = replace(settings, **values)
        run = train_to_watch(new_settings, data, progress=False)
        contents = handover.read(run.folder)
        assert contents.values.items() >= values.items()
        assert contents.has_scores_for(new_settings, data, run)
        assert (contents.known.ignored is not None) == ("ignore" in values)


def test_scores_in_another_precision_are_taken_where_there_is_no_footage(
    place, tmp_path, monkeypatch, capsys
):
    settings, data = place
    run = train_to_watch(settings, data, progress=False)
    there = watched(run.folder, tmp_path, "there")
    copy = moved(run.folder, tmp_path, monkeypatch)
    capsys.readouterr()
    here = watched(copy, tmp_path, "here", "--precision", "bfloat16")
    assert here[1]["threshold"] == there[1]["threshold"]
    assert "threshold is by scores in float32, frames are scored in bfloat16" in (
        capsys.readouterr().out
    )


def test_a_run_of_a_generated_scene_is_handed_over_by_its_first_threshold(
    small_settings, tmp_path, monkeypatch
):
    monkeypatch.setattr(assembly, "MINUTES", 1)
    monkeypatch.setattr(assembly, "MINUTE", 150)
    settings = small_settings(epochs=1)
    data = pipeline.prepare(settings, progress=False)
    run = train_to_watch(settings, data, progress=False)
    assert handover.read(run.folder) is None
    threshold = assembly.threshold(settings, data, run)
    copy = moved(run.folder, tmp_path, monkeypatch)
    shutil.rmtree(copy / "ordinary")
    write_video(tmp_path / "a.avi", pictures(40))
    assert watched(copy, tmp_path, "here")[1]["threshold"] == threshold.asdict()
    assert not (copy / "ordinary").exists()  # nothing was scored anew


def test_an_older_run_is_handed_over_by_its_first_watch(place, tmp_path, monkeypatch, capsys):
    settings, data = place
    run = train_to_watch(settings, data, progress=False)
    handover.forget(run.folder)
    watched(run.folder, tmp_path, "asked", "--patch", "8")
    assert handover.read(run.folder) is None  # it would keep the option's value
    there = watched(run.folder, tmp_path, "there", "--alarms", "900")
    assert handover.read(run.folder).values["alarms_per_hour"] == settings.alarms_per_hour
    copy = moved(run.folder, tmp_path, monkeypatch)
    assert watched(copy, tmp_path, "here", "--alarms", "900")[0] == there[0]


def test_an_older_run_copied_alone_is_reported(place, tmp_path, monkeypatch, capsys):
    settings, data = place
    run = train_to_watch(settings, data, progress=False)
    handover.forget(run.folder)
    copy = moved(run.folder, tmp_path, monkeypatch, TINY)
    args = ["--run", str(copy), "--source", str(tmp_path / "a.avi"), "--to", str(tmp_path / "b")]
    assert main(args) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "holds no watching.json, and its prepared data" in line and "run chapter 5" in line


def test_an_older_run_finds_its_prepared_data_after_its_profile_changed(
    place, tmp_path, monkeypatch
):
    settings, data = place
    run = train_to_watch(settings, data, progress=False)
    there = watched(run.folder, tmp_path, "there")
    handover.forget(run.folder)
    change_profile(tmp_path / "profiles", monkeypatch, ALTERED)
    assert watched(run.folder, tmp_path, "here")[0] == there[0]


def test_too_short_footage_is_reported_and_leaves_the_run(small_settings, small_data, capsys):
    run = train_to_watch(small_settings(threshold_share=0.1, epochs=1), small_data, progress=False)
    assert run.epoch == 1 and handover.read(run.folder) is None
    assert "cannot be watched with elsewhere yet: threshold_share is 0.1" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name, value",
    [
        ("values", {"patch": 2}),
        ("values", {"patch": "2", "ignore": None, "alarms_per_hour": 1, "protocol": "raw"}),
        ("values", {"patch": 2, "ignore": None, "alarms_per_hour": 0, "protocol": "raw"}),
        ("size", [32, 33]),
        ("size", 32),
        ("channels", 2),
        ("channels", True),
        ("frame_rate", float("nan")),
        ("frame_rate", -1),
        ("levels", [5, 4]),
        ("shapes", [[1, 2, 3]]),
        ("prepared", "../../.."),
        ("prepared", 1),
        ("precision", ["float32"]),
        ("threshold_share", "half"),
        ("profile", {"sede": 1}),
        ("weights", None),
        ("arrays", "another"),
    ],
)
def test_facts_that_nobody_left_are_reported_in_one_line(place, tmp_path, capsys, name, value):
    settings, data = place
    run = train_to_watch(settings, data, progress=False)
    facts = json.loads((run.folder / handover.NAME).read_text())
    (run.folder / handover.NAME).write_text(json.dumps({**facts, name: value}))
    check_one_line(run.folder, tmp_path, capsys)


def test_damaged_arrays_are_reported_in_one_line_and_made_anew(place, tmp_path, capsys):
    settings, data = place
    run = train_to_watch(settings, data, progress=False)
    path, facts = run.folder / handover.ARRAYS, json.loads((run.folder / handover.NAME).read_text())
    arrays = dict(np.load(path))
    spoilt = [
        {**arrays, "0": np.full(6, np.nan, np.float32)},
        {**arrays, "background": np.zeros((1, 16, 16), np.float32)},
        {**arrays, "ignored": np.ones((32, 32), bool)},
        {**arrays, "names": np.array(["01", "01"])},
        {name: array for name, array in arrays.items() if name != "1"},
        {**arrays, "names": np.array([{}])},
    ]
    for content in spoilt:
        np.savez(path, **content)
        digest = handover._digest(path)
        (run.folder / handover.NAME).write_text(json.dumps({**facts, "arrays": digest}))
        check_one_line(run.folder, tmp_path, capsys)
    for content in (b"", b"PK no archive"):
        path.write_bytes(content)
        check_one_line(run.folder, tmp_path, capsys)
    path.unlink()
    check_one_line(run.folder, tmp_path, capsys)
    train_to_watch(settings, data, progress=False)
    assert handover.read(run.folder).has_scores_for(settings, data, load_run(run.folder))


def check_one_line(folder, tmp_path, capsys):
    with pytest.raises(DDLError, match="copy the run's whole folder again, or remove the file"):
        handover.read(folder)
    args = ["--run", str(folder), "--source", str(tmp_path / "a.avi"), "--to", str(tmp_path / "b")]
    capsys.readouterr()
    assert main(args) == 1 and capsys.readouterr().err.count("\n") == 1


def test_the_folder_of_a_profile_stands_for_its_only_run(place, tmp_path, capsys):
    settings, data = place
    run = train_to_watch(settings, data, progress=False)
    there = watched(run.folder, tmp_path, "there")
    assert watched(settings.profile_folder, tmp_path, "here")[0] == there[0]
    train_to_watch(replace(settings, seed=1), data, progress=False)
    args = ["--run", str(settings.profile_folder), "--source", "0", "--to", str(tmp_path / "b")]
    assert main(args) == 1
    assert "holds several runs; give one of them: c3dsu-ddl-seed0" in capsys.readouterr().err


def test_a_run_of_another_name_is_answered_with_those_beside_it(place, tmp_path, capsys):
    settings, data = place
    run = train_to_watch(replace(settings, batch_size=9), data, progress=False)
    usual = settings.profile_folder / "c3dsu-ddl-seed0"
    args = ["--run", str(usual), "--source", "0", "--to", str(tmp_path / "b")]
    assert main(args) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(
        f"give the folder of a trained run, such as {shlex.quote(str(run.folder))}"
    )


def test_the_profile_of_now_is_what_a_new_run_keeps(place):
    settings, data = place
    run = train_to_watch(settings, data, progress=False)
    assert handover.read(run.folder).profile == load_profile("tiny").asdict()
