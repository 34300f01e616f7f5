"""The road: each step once, records that can be computed again, nothing finished lost."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from support.footage import ABNORMAL

from ddllib import PROTOCOLS, DDLError, evaluate, pipeline, record_parts
from ddllib.localisation import pixel_auroc
from ddllib.records import find_records, read_record
from ddllib.scoring import Scorer, score_clip


@pytest.fixture
def finished(small_settings, small_data):
    settings = small_settings()
    run = pipeline.train(settings, small_data, progress=False)
    return settings, run, pipeline.score(settings, small_data, run, progress=False)


def test_a_record_holds_what_its_figures_need(finished, small_data):
    settings, run, record = finished
    assert record.name == "tiny/" + settings.run_folder.name
    facts = json.loads((record.folder / "run.json").read_text())
    for name in ("settings", "metrics", "history", "environment", "data", "device"):
        assert facts[name]
    assert facts["settings"]["seed"] == settings.seed
    assert facts["train_seconds"] > 0 and facts["data"]["digest"] == small_data.digest
    for clip, frames in small_data.testing.items():
        assert len(record.scores[clip]) == len(record.labels[clip]) == len(frames)
        assert np.array_equal(record.scores[clip], score_clip(run.model, frames, 2))
        index = int(record.shown[f"{clip}-index"])
        assert np.array_equal(record.shown[f"{clip}-frame"], frames[index])
        assert record.shown[f"{clip}-abnormal-index"] == 10  # frames 8 to 12 are abnormal
        assert np.array_equal(record.shown[f"{clip}-abnormal-frame"], frames[10])


def test_the_auc_recomputed_from_the_scores_is_the_recorded_one(finished, small_data):
    _, _, record = finished
    for protocol in PROTOCOLS:
        again = evaluate(record.scores, small_data.labels, protocol).auc
        assert again == record.auc(protocol)


def test_masks_are_judged_when_there_are_some(finished, small_data):
    settings, run, record = finished
    assert record.facts["pixels"] is None
    for name, labels in small_data.labels.items():
        small_data.masks[name] = np.zeros((len(labels), 32, 32), np.uint8)
    assert record_parts.judge_pixels(record.folder, settings, small_data) is None  # nothing marked
    for name, labels in small_data.labels.items():
        small_data.masks[name][labels == 1, :, :6] = 1
    again = pipeline.score(settings, small_data, run, progress=False)  # not scored again
    maps = {n: np.load(record.folder / "maps" / f"{n}.npy") for n in small_data.masks}
    facts = again.facts["pixels"]
    assert facts["pixel_auroc"] == pixel_auroc(maps, small_data.masks)
    assert facts["regions"] == 10 and facts["tracks"] == 2 and 0 <= facts["tbdc"] <= 1
    assert again.facts["train_seconds"] == record.facts["train_seconds"]


@pytest.fixture
def stopped(small_settings, small_data, monkeypatch):
    """A run whose scoring was stopped in the second clip, and the clips whose scoring began."""
    settings = small_settings()
    run = pipeline.train(settings, small_data, progress=False)
    clips, whole = [], Scorer.clip

    def stopped_in_the_second(scorer, frames, *args):
        clips.append(frames)
        if len(clips) == 2:
            raise KeyboardInterrupt
        return whole(scorer, frames, *args)

    monkeypatch.setattr(Scorer, "clip", stopped_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        pipeline.score(settings, small_data, run, progress=False)
    return settings, run, clips


def test_a_stopped_scoring_goes_on_with_the_next_clip(stopped, small_data):
    settings, run, clips = stopped
    assert not (settings.run_folder / "run.json").exists()
    record = pipeline.score(settings, small_data, run, progress=False)
    assert len(clips) == 3 and clips[2] is clips[1]  # the first clip was not scored again
    for name, clip in small_data.testing.items():
        assert np.array_equal(record.scores[name], score_clip(run.model, clip, 2))
    assert {p.suffix for p in (record.folder / "maps").iterdir()} == {".npy"}


@pytest.mark.parametrize("wrong", ["short", "nan", "of another clip"])
def test_scores_kept_of_a_stopped_scoring_are_not_believed_blindly(stopped, small_data, wrong):
    settings, run, _ = stopped
    name, clip = next(iter(small_data.testing.items()))
    (path,) = (settings.run_folder / "maps").glob("*.scores")
    if wrong == "of another clip":
        small_data.testing[name] = 255 - clip
        small_data.manifest["clips"]["testing"][name] = {"frames": len(clip), "sha256": "other"}
    else:
        values = np.ones(3) if wrong == "short" else np.full(2 * len(clip), np.nan)
        path.write_bytes(values.astype("<f4").tobytes())
    again = pipeline.score(settings, small_data, run, progress=False)
    assert np.array_equal(again.scores[name], score_clip(run.model, small_data.testing[name], 2))


@pytest.mark.parametrize("file", ["scores.npz", "run.json"])
def test_a_damaged_record_is_reported_and_made_anew(finished, small_data, capsys, file):
    settings, run, record = finished
    (record.folder / file).write_bytes(b"{")
    run.steps_now = 0
    again = pipeline.score(settings, small_data, run, progress=False)
    assert file in capsys.readouterr().out
    assert all(np.array_equal(again.scores[n], scores) for n, scores in record.scores.items())


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"device": None}, "no device"),
        ({"train_seconds": "long"}, "no train_seconds"),
        ({"data": {}}, "no checksum of its data"),
        ({"metrics": {"median": [1]}}, "no AUC under median"),
        ({"settings": {"sede": 1}}, "unknown setting 'sede'"),
        ({"history": {"step": [0], "sigma": []}}, "curves of different lengths"),
        ({"history": {"sigma": ["x"]}}, "a curve of something else than numbers"),
    ],
)
def test_a_record_that_no_run_left_is_reported(finished, change, fault):
    folder = finished[2].folder
    facts = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**facts, **change}))
    with pytest.raises(DDLError, match=f"run.json: damaged record, {fault}"):
        read_record(folder)


def test_runs_that_cannot_be_kept_are_reported_before_training(
    small_settings, small_data, monkeypatch
):
    settings = small_settings()
    monkeypatch.setattr(pipeline, "fit", None)  # not reached
    settings.run_folder.parent.parent.mkdir(parents=True, exist_ok=True)
    settings.run_folder.parent.write_text("a file where the runs should be")
    with pytest.raises(DDLError, match="cannot be written"):
        pipeline.train(settings, small_data, progress=False)


def test_error_maps_are_on_disk_clip_by_clip(finished, small_data):
    _, _, record = finished
    for name, frames in small_data.testing.items():
        maps = np.load(record.folder / "maps" / f"{name}.npy", mmap_mode="r")
        assert maps.shape == (len(frames), 32, 32) and maps.dtype == np.float16
        assert (maps[0] == maps[1]).all() and maps[5].max() > 0
    assert not list(record.folder.glob("**/*.part*"))


def test_nothing_is_done_twice(finished, small_data, capsys):
    settings, _, record = finished
    stamp = (record.folder / "run.json").stat().st_mtime_ns
    run = pipeline.train(settings, small_data, progress=False)
    pipeline.score(settings, small_data, run, progress=False)
    assert "reused, nothing to train" in capsys.readouterr().out
    assert (record.folder / "run.json").stat().st_mtime_ns == stamp


def test_another_value_than_the_profiles_has_a_folder_of_its_own(small_settings):
    changes = ({}, {"seed": 1}, {"epochs": 3}, {"latent_dim": 16})
    assert len({small_settings(**change).run_folder for change in changes}) == 4


def test_another_patch_is_scored_anew_but_not_trained_anew(finished, small_settings, small_data):
    settings, _, record = finished
    other = small_settings(patch=4)
    run = pipeline.train(other, small_data, progress=False)
    assert run.steps_now == 0
    again = pipeline.score(other, small_data, run, progress=False)
    assert again.folder != record.folder and again.auc("raw") != record.auc("raw")


def test_the_record_of_another_patch_does_not_outlive_its_run(finished, small_settings, small_data):
    other = small_settings(patch=4)
    run = pipeline.train(other, small_data, progress=False)
    pipeline.score(other, small_data, run, progress=False)
    small_data.manifest["clips"]["training"]["01"]["sha256"] = "changed"
    retrained = pipeline.train(finished[0], small_data, progress=False)
    retrained.steps_now = 0  # as a later process finds it
    record = pipeline.score(other, small_data, retrained, progress=False)
    assert record.facts["data"]["digest"] == small_data.digest


def test_corrected_labels_are_judged_anew_by_the_kept_scores(finished, small_data):
    settings, run, record = finished
    run.steps_now = 0
    small_data.labels = {name: 1 - labels for name, labels in small_data.labels.items()}
    again = pipeline.score(settings, small_data, run, progress=False)
    assert again.auc("raw") == pytest.approx(1 - record.auc("raw"))
    assert all(np.array_equal(again.scores[n], s) for n, s in record.scores.items())
    assert all(np.array_equal(again.labels[n], v) for n, v in small_data.labels.items())


def test_labels_of_one_kind_allow_no_auc_but_keep_the_scores(small_settings, small_data):
    small_data.labels = {n: np.zeros_like(v) for n, v in small_data.labels.items()}
    settings = small_settings(epochs=1)
    run = pipeline.train(settings, small_data, progress=False)
    record = pipeline.score(settings, small_data, run, progress=False)
    assert record.metrics == {} and record.scores


def test_what_cannot_be_scored_is_reported_before_training(small_settings, small_data):
    small_data.testing = {"07": small_data.testing["01"][:2]}
    with pytest.raises(DDLError, match="test clip '07' .* has 2 frames; expected at least 3"):
        pipeline.train(small_settings(), small_data, progress=False)
    small_data.testing = {}
    run = pipeline.train(small_settings(epochs=1), small_data, progress=False)
    with pytest.raises(DDLError, match="no test clips"):
        pipeline.score(small_settings(epochs=1), small_data, run, progress=False)


def test_prepared_data_serves_where_the_footage_is_not(small_settings, prepared_folder):
    settings = small_settings(data="elsewhere")
    with pytest.raises(DDLError, match="elsewhere: not found"):
        pipeline.prepare(settings)
    shutil.copytree(prepared_folder, settings.prepared_folder)
    assert pipeline.prepare(settings).training.keys() == {"01", "02"}


def test_a_run_on_other_data_is_set_aside_not_overwritten(finished, small_data, capsys):
    settings, _, record = finished
    scores = (record.folder / "scores.npz").read_bytes()
    small_data.manifest["clips"]["training"]["01"]["sha256"] = "changed"
    pipeline.train(settings, small_data, progress=False)
    assert "had another prepared data" in capsys.readouterr().out
    aside = record.folder.with_name(record.folder.name + ".old-1")
    assert (aside / "scores.npz").read_bytes() == scores
    assert not (record.folder / "scores.npz").exists()


def test_footage_without_labels_is_scored_but_not_evaluated(small_settings, small_data):
    small_data.labels = {}
    settings = small_settings(epochs=1)
    run = pipeline.train(settings, small_data, progress=False)
    record = pipeline.score(settings, small_data, run, progress=False)
    assert record.facts["metrics"] == {} and set(record.scores) == {"01", "02"}


def test_records_are_found_by_name_and_damage_is_reported(finished):
    _, _, record = finished
    assert [r.name for r in find_records(record.folder.parent.parent)] == [record.name]
    (record.folder / "scores.npz").write_bytes(b"not an archive")
    with pytest.raises(DDLError, match="scores.npz: not a record"):
        read_record(record.folder)
    (record.folder / "scores.npz").unlink()
    with pytest.raises(DDLError, match="scores.npz: not there"):
        read_record(record.folder)


def test_footage_with_a_mat_of_its_own_walks_the_whole_road(small_settings, common):
    settings = small_settings(data=str(common), epochs=1)
    data = pipeline.prepare(settings, progress=False)
    record = pipeline.score(
        settings, data, pipeline.train(settings, data, progress=False), progress=False
    )
    assert record.facts["data"]["labelling"] == "walk.mat"
    assert {n: np.flatnonzero(v).tolist() for n, v in record.labels.items()} == {
        name: list(frames) for name, frames in ABNORMAL.items()
    }
    assert 0 <= record.auc("median") <= 1


def test_another_labelling_judges_the_kept_scores_anew(small_settings, common):
    settings = small_settings(data=str(common), epochs=1)
    data = pipeline.prepare(settings, progress=False)
    first = pipeline.score(
        settings, data, pipeline.train(settings, data, progress=False), progress=False
    )
    other = replace(settings, labelling="late.csv")
    with pytest.raises(DDLError, match="no labelling 'late.csv'; choose by `labelling` one of"):
        pipeline.prepare(other, progress=False)
    (common / "testing" / "labels.csv").write_text("clip,first,last\n01,9,12\n")
    other = replace(settings, labelling="labels.csv")
    data = pipeline.prepare(other, progress=False)
    again = pipeline.score(other, data, pipeline.train(other, data, progress=False), progress=False)
    assert again.facts["data"]["labelling"] == "labels.csv"
    assert np.flatnonzero(again.labels["01"]).tolist() == [9, 10, 11, 12]
    assert all(np.array_equal(first.scores[n], again.scores[n]) for n in first.scores)


def test_a_test_clip_more_costs_no_training(footage, small_settings, monkeypatch, capsys):
    settings = small_settings(data=str(footage), detector="motion")

    def walked():
        data = pipeline.prepare(settings, progress=False)
        run = pipeline.train(settings, data, progress=False)
        return run, pipeline.score(settings, data, run, progress=False)

    first, before = walked()
    shutil.copytree(footage / "testing/frames/01", footage / "testing/frames/03")
    shutil.copytree(footage / "testing/masks/01", footage / "testing/masks/03")
    again, after = walked()
    assert first.steps_now and not again.steps_now and "03" in after.scores
    assert np.array_equal(after.scores["01"], after.scores["03"])
    assert np.array_equal(after.scores["01"], before.scores["01"])
    shutil.rmtree(footage / "training/frames/01")
    capsys.readouterr()
    assert walked()[0].steps_now
    assert "had another prepared data: kept as" in capsys.readouterr().out


def test_weights_are_asked_for_by_a_detector_that_has_some(small_settings, footage):
    settings = small_settings(data=str(footage), weights="models/none.pt", detector="motion")
    assert pipeline.prepare(settings, progress=False).training
    with pytest.raises(DDLError, match="none.pt: not found; .*; or give another detector, such as"):
        pipeline.prepare(replace(settings, detector="yolo"), progress=False)


@pytest.mark.parametrize(
    ("changes", "layout", "message"),
    [
        ({}, "common", "tiny-data: no test clips; put what is to be scored into testing/"),
        ({}, "plain", "no test clips; name them in labels.csv there, or give training/ and"),
        ({"scene": "07"}, "common", "no test clips; leave scene out, or choose another than 07"),
        ({"held_out": 2}, "common", "held_out is 2: no test clip would be scored; leave it out"),
    ],
)
def test_that_there_is_nothing_to_score_is_reported(
    small_settings, small_data, changes, layout, message
):
    settings = small_settings(data="tiny-data", **changes)
    pipeline.check_tests(replace(settings, held_out=0), small_data)
    small_data.testing.clear()
    small_data.manifest["source"] = {"name": "tiny-data", "layout": layout}
    with pytest.raises(DDLError, match=message):
        pipeline.check_tests(settings, small_data)


def test_what_cannot_be_ignored_is_reported_before_training(
    small_settings, small_data, monkeypatch
):
    monkeypatch.setattr(pipeline, "fit", None)  # not reached
    with pytest.raises(DDLError, match="no-mask.png: not found"):
        pipeline.train(small_settings(ignore="no-mask.png"), small_data, progress=False)
