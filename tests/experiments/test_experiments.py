"""Experiments: what they run, that nothing is run twice, and what is published of it."""

import json
from dataclasses import replace

import numpy as np
import pytest
from filelock import FileLock
from support.layouts import write_avenue, write_shanghaitech

from ddllib import DDLError, evaluate, pipeline, records
from ddllib.experiments import command, comparisons, grid, publishing
from ddllib.experiments.foretelling import of_judge
from ddllib.experiments.grid import FOLDER, Trial, read_experiment, run_trial
from ddllib.experiments.publishing import drawn_frames, publish
from ddllib.figures.chapter import highest_frames, percent, same_frames
from ddllib.pseudo_anomalies import held_out
from ddllib.records import Record, count_scoring, settings_scored
from ddllib.scoring import score_clip
from ddllib.settings import Settings
from ddllib.training import load_run

EXPERIMENT = """
profile: tiny
fixed: {size: 32, latent_dim: 8}
variants:
  as it is: {}
  norms: {distinction_form: norms}
grid:
  mode: [ddl, none]
  seed: [0, 1]
"""


@pytest.fixture
def results(tmp_path, monkeypatch):
    folder = tmp_path / "results"
    for module in (records, grid, publishing):
        monkeypatch.setattr(module, "RESULTS", folder)
    for module in (records, publishing):
        monkeypatch.setattr(module, "SCORED", folder / "scored.csv")
    return folder


def test_all_variants_meet_all_points_and_a_seed_comes_after_the_one_before(tmp_path):
    (tmp_path / "x.yaml").write_text(EXPERIMENT)
    trials = read_experiment("x", tmp_path)
    order = [(t.settings.seed, t.variant, t.settings.mode) for t in trials]
    assert order == [
        (seed, variant, mode)
        for seed in (0, 1)
        for variant in ("as it is", "norms")
        for mode in ("ddl", "none")
    ]
    assert {t.settings.distinction_form for t in trials if t.variant == "norms"} == {"norms"}
    assert {t.settings.latent_dim for t in trials} == {8}


@pytest.mark.parametrize("name", [path.stem for path in FOLDER.glob("*.yaml")])
def test_the_books_experiments_are_read_and_every_run_has_its_own_folder(name):
    trials = read_experiment(name)
    assert len({t.settings.record_folder for t in trials}) == len(trials) >= 2
    pictures = name.endswith("pilot")  # and no figures, which alone need seeds
    learns = any(t.settings.epochs for t in trials)
    moves = any(t.settings.start_from for t in trials)  # weights of one run, scored elsewhere
    large = trials[0].settings.size >= 256
    small = learns and not (large or pictures or moves)  # two cores can repeat it
    assert len({t.settings.seed for t in trials}) >= (3 if small else 1)


@pytest.mark.parametrize(
    "text, fault",
    [
        ("profile: tiny\ngrid: {sede: [0]}", "unknown parameter 'sede'; did you mean 'seed'"),
        ("profile: tiny", "expected profile, grid"),
        ("profile: tiny\ngrid: {seed: [0]}\nothers: 1", "expected profile, grid"),
        ("grid: [", "not plain YAML"),
        ("profile: tiny\ngrid: {seed: [!!python/name:os.system 0]}", "not plain YAML"),
    ],
)
def test_a_faulty_experiment_is_reported_with_its_file(tmp_path, text, fault):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(DDLError, match=r"x\.yaml") as error:
        read_experiment("x", tmp_path)
    assert fault in str(error.value)
    with pytest.raises(DDLError, match="no such experiment; expected one of x"):
        read_experiment("y", tmp_path)


def test_a_record_is_found_among_runs_and_results(small_settings, small_data, results):
    trial = Trial("", small_settings())
    assert trial.record() is None
    run = pipeline.train(trial.settings, small_data, progress=False)
    record = pipeline.score(trial.settings, small_data, run, progress=False)
    assert trial.record().folder == record.folder
    published = publish(record)
    for path in record.folder.glob("*.*"):
        path.unlink()
    assert trial.record().folder == published.folder == results / "tiny" / record.folder.name


def test_a_published_record_may_be_preferred(small_settings, small_data, results):
    trial = Trial("", small_settings())
    run = pipeline.train(trial.settings, small_data, progress=False)
    own = pipeline.score(trial.settings, small_data, run, progress=False)
    assert trial.record(published_first=True).folder == own.folder
    published = publish(own)
    assert trial.record().folder == own.folder
    assert trial.record(published_first=True).folder == published.folder


def test_an_own_run_by_another_judge_does_not_hide_the_published_one(
    small_settings, small_data, results
):
    trial = Trial("", small_settings(held_out=1))
    run = pipeline.train(trial.settings, small_data, progress=False)
    own = pipeline.score(trial.settings, small_data, run, progress=False)
    published = publish(own)
    facts = published.folder / "run.json"
    facts.write_text(json.dumps(json.loads(facts.read_text()) | {"judge": held_out.SINGLE}))
    for judge, folder in ((own.judge, own.folder), (held_out.SINGLE, published.folder)):
        (judged,) = of_judge([trial], judge)
        assert judged.record().folder == folder


def test_a_record_from_before_its_profile_changed_is_another_runs(
    small_settings, small_data, results, monkeypatch
):
    trial = Trial("", small_settings())
    run = pipeline.train(trial.settings, small_data, progress=False)
    pipeline.score(trial.settings, small_data, run, progress=False)
    other_trial = Trial("", replace(trial.settings, epochs=3))
    monkeypatch.setattr(type(other_trial.settings), "record_folder", trial.settings.record_folder)
    assert trial.record() is not None and other_trial.record() is None


def test_of_many_clips_the_frames_that_figures_draw_are_kept():
    names = [f"clip-{k}" for k in range(9)]
    scores = {name: np.full(5, k, np.float32) for k, name in enumerate(names)}
    frame = np.zeros((3, 4, 4), np.uint8)
    parts = {"index": np.array(2), "frame": frame, "reconstruction": frame}
    drawings = {f"{name}-{part}": value for name in names for part, value in parts.items()}
    drawings |= {f"{n}-abnormal-{part}": v for n in names[1:] for part, v in parts.items()}
    record = Record(None, {"settings": {"seed": 0, "mode": "ddl"}}, scores, {}, drawings)
    few = replace(record, shown=drawn_frames(record))
    assert len(few.shown) == 8 * len(parts)
    assert highest_frames(few)["titles"] == highest_frames(record)["titles"]
    assert list(same_frames([few], [few])) == list(same_frames([record], [record]))[:4]
    held_out = replace(record, facts={"held_out": {}})
    assert drawn_frames(held_out).keys() == drawings.keys()


def test_published_records_say_the_same_and_are_counted_once(
    small_settings, small_data, results, monkeypatch
):
    monkeypatch.setattr(publishing, "SCENES", {})  # as if the footage were real
    for seed in (0, 1):
        settings = small_settings(seed=seed)
        run = pipeline.train(settings, small_data, progress=False)
        record = pipeline.score(settings, small_data, run, progress=False)
        published = publish(record)
        assert published.metrics == record.metrics
        assert all(np.array_equal(published.scores[n], s) for n, s in record.scores.items())
        before, after = record.facts["history"]["total"], published.facts["history"]["total"]
        assert np.allclose(before, after, rtol=1e-5) and len(json.dumps(after)) < 12 * len(after)
        assert bool(published.shown) == (seed == 0)
    path = published.folder / "run.json"
    path.write_text(path.read_text().replace("{", '{"notes": ["beside other work"],', 1))
    assert publish(record).facts["notes"] == ["beside other work"]
    other = small_settings(distinction_weight=0.5)
    run = pipeline.train(other, small_data, progress=False)
    publish(pipeline.score(other, small_data, run, progress=False))
    lines = (results / "scored.csv").read_text().splitlines()
    assert len(lines) == 3 and "distinction_weight=0.5" in lines[2]


def test_runs_on_generated_scenes_keep_no_frames(small_settings, small_data, results):
    settings = small_settings()
    run = pipeline.train(settings, small_data, progress=False)
    published = publish(pipeline.score(settings, small_data, run, progress=False))
    assert settings.data in publishing.SCENES and not published.shown


def test_held_out_runs_are_not_counted_as_scored(small_settings, small_data, results):
    settings = small_settings(held_out=1)
    run = pipeline.train(settings, small_data, progress=False)
    published = publish(pipeline.score(settings, small_data, run, progress=False))
    assert "held_out" in published.facts and not (results / "scored.csv").exists()
    assert not (settings.profile_folder.parent / "scored.csv").exists()


def test_a_held_out_run_may_be_tested_afterwards(small_settings, small_data, results, monkeypatch):
    settings = small_settings(held_out=1)
    monkeypatch.setattr(pipeline, "prepare", lambda settings, progress: small_data)
    trial = Trial("", settings)
    with pytest.raises(DDLError, match="not tested: no run judged by held-out clips"):
        command.tested(trial)
    run = pipeline.train(settings, small_data, progress=False)
    before = pipeline.score(settings, small_data, run, progress=False)
    half = replace(run, epoch=1)
    with monkeypatch.context() as patch:
        patch.setattr(command, "load_run", lambda folder: half)
        with pytest.raises(DDLError, match="not tested: its checkpoint is of other data, or half"):
            command.tested(trial)
    after = command.tested(trial)
    expected = {
        name: score_clip(run.model, frames, settings.patch_size)
        for name, frames in small_data.testing.items()
    }
    auc = after.tests["raw"]["auc"]
    assert auc == evaluate(expected, small_data.labels, "raw").auc and not after.metrics
    assert after.facts["held_out"] == before.facts["held_out"]
    assert after.scores.keys() == before.scores.keys() and not before.metrics
    assert publish(after).metrics == after.metrics and "test clips raw" in command.summary(after)
    assert "held_out=1" in (results / "scored.csv").read_text()
    earlier = replace(after, facts={**after.facts, "judge": held_out.SINGLE})
    with pytest.raises(DDLError, match="judged by paired and not by single; give the experiment"):
        publish(earlier)
    assert pipeline.score(settings, small_data, load_run(run.folder), progress=False).tests


def test_what_is_done_to_scores_makes_no_new_setting(tmp_path):
    facts = {"data": {"digest": "d"}, "settings": Settings().asdict()}
    for change in ({}, {"seed": 3}, {"protocol": "raw"}, {"device": "cuda"}, {"epochs": 7}):
        facts["settings"] |= change
        count_scoring(facts, tmp_path / "scored.csv")
    assert len((tmp_path / "scored.csv").read_text().splitlines()) == 3


def test_looks_that_were_not_published_are_counted_with_those_that_are(
    results, small_settings, small_data
):
    for mode in ("ddl", "none"):
        settings = small_settings(mode=mode)
        run = pipeline.train(settings, small_data, progress=False)
        record = pipeline.score(settings, small_data, run, progress=False)
    other = {"data": {"digest": "of other clips"}, "settings": Settings(size=64).asdict()}
    count_scoring(other, records.runs_root() / "scored.csv")
    published = publish(record)
    assert len(settings_scored([published])) == 2


def test_a_setting_scored_with_the_boxes_of_two_machines_is_one(results, tmp_path):
    def facts(digest, **values):
        return {"data": {"digest": digest}, "settings": {**Settings().asdict(), **values}}

    results.mkdir(exist_ok=True)
    for one in (facts("a"), facts("b"), facts("a", mode="none"), facts("c", mode="sdl")):
        count_scoring(one, records.SCORED)
    runs = [records.Record(tmp_path, facts(digest), {}, {}, {}) for digest in "ab"]
    assert settings_scored(runs) == ["", "mode=none"]
    assert settings_scored([]) == []


def test_two_processes_do_not_train_in_one_folder(small_settings, small_data, monkeypatch):
    settings = small_settings()
    folder = settings.run_folder
    folder.parent.mkdir(parents=True)
    monkeypatch.setattr(pipeline, "PATIENCE", 0)
    with FileLock(folder.parent / f".{folder.name}.lock"):
        with pytest.raises(DDLError, match="another process trains in it"):
            pipeline.train(settings, small_data, progress=False)
    assert pipeline.train(settings, small_data, progress=False).epoch == settings.epochs


@pytest.mark.slow
def test_the_runner_runs_what_is_missing_and_tells_what_fails(tmp_path, monkeypatch, capsys):
    """Real processes: the short generated scene, one run that must fail beside two that do not."""
    monkeypatch.setenv("DDL_RUNS", str(tmp_path / "runs"))
    text = """
    profile: tiny
    fixed: {epochs: 1}
    variants: {well: {}, badly: {learning_rate: 1.0e+30, epochs: 2}}
    grid: {mode: [none], seed: [0]}
    """
    path = tmp_path / "try.yaml"
    path.write_text(text)
    assert command.main(["run", str(path)]) == 1
    output = capsys.readouterr().out
    assert "2 runs, 0 recorded" in output and "median" in output and "not finite" in output
    trials = read_experiment(str(path))
    assert [t.record() is not None for t in trials] == [True, False]
    stamp = (trials[0].settings.run_folder / "run.json").stat().st_mtime_ns
    assert command.main(["run", str(path)]) == 1
    assert "2 runs, 1 recorded" in capsys.readouterr().out
    assert (trials[0].settings.run_folder / "run.json").stat().st_mtime_ns == stamp
    assert command.main(["list", str(path)]) == 0
    assert "not run" in capsys.readouterr().out
    record = trials[0].record()
    assert evaluate(record.scores, record.labels, "median").auc == record.auc("median")


def test_one_model_for_each_scene_and_their_median(common, tmp_path, monkeypatch):
    """Two generated scenes in ShanghaiTech's layout, from videos to the table."""
    monkeypatch.setenv("DDL_RUNS", str(tmp_path / "runs"))
    root = tmp_path / "shanghaitech"
    for scene in ("01", "07"):
        write_shanghaitech(common, root, scene)
    path = tmp_path / "scenes.yaml"
    fixed = f"{{data: {root}, size: 32, latent_dim: 8, epochs: 1, detector: none}}"
    path.write_text(
        f'profile: tiny\nfixed: {fixed}\ngrid: {{scene: ["01", "07", "09"], seed: [0]}}'
    )
    trials = read_experiment(str(path))
    assert comparisons.scene_table(trials, "median").empty
    aucs = [run_trial(trial).auc("median") for trial in trials[:2]]
    rows = comparisons.scene_table(trials, "median").set_index("scene")
    assert list(rows["AUC"][:2]) == [percent(auc) for auc in aucs]
    assert rows.loc["09", "AUC"] == "not run"
    assert rows.loc["median of 2", "AUC"] == percent(sum(aucs) / 2)
    assert comparisons.scene_median(trials, "median") is None
    assert comparisons.scene_median(trials[:2], "median") == pytest.approx(sum(aucs) / 2)
    with pytest.raises(DDLError, match="no training clips of scene '09'"):
        run_trial(trials[2])


@pytest.mark.slow
def test_table_3_follows_from_a_tree_in_avenues_layout(common, tmp_path, monkeypatch):
    """Both models, all three ways of training, from the official archives to the table."""
    monkeypatch.setenv("DDL_RUNS", str(tmp_path / "runs"))
    write_avenue(common, tmp_path / "archives")
    book = (FOLDER / "table3.yaml").read_text()
    small = f"{{data: {tmp_path / 'archives'}, size: 32, latent_dim: 8, epochs: 1, detector: none}}"
    path = tmp_path / "table3.yaml"
    path.write_text(
        book.replace("profile: avenue", "profile: tiny").replace("{precision: bfloat16}", small)
    )
    trials = read_experiment(str(path))
    runs = [run_trial(trial) for trial in trials]
    assert len({(r.facts["settings"]["model"], r.facts["settings"]["mode"]) for r in runs}) == 6
    paper = {model: {"none": 0.0, "sdl": 0.0, "ddl": 0.0} for model in ("unet", "c3dsu")}
    ours = {"ours": comparisons.finder(runs, trials)}
    rows = comparisons.mode_table(paper, ours, ("median",)).set_index(["model", "source"])
    for record in runs:
        model, mode = (record.facts["settings"][name] for name in ("model", "mode"))
        cell = rows.loc[({"unet": "UNet", "c3dsu": "C3DSU"}[model], "ours; median")]
        assert cell[comparisons.MODES[mode]] == f"{percent(record.auc('median'))} (1 seed)"


def test_every_setting_that_is_counted_belongs_to_a_published_record():
    rows = records.SCORED.read_text().splitlines()[1:]
    digests = {row.split(",", 1)[0] for row in rows}
    looked = [r for r in records.find_records(records.RESULTS) if r.metrics or r.tests]
    assert digests <= {record.facts["data"]["digest"] for record in looked}
    assert len(settings_scored(looked)) == len({row.split(",", 1)[1] for row in rows})


@pytest.mark.slow
def test_trials_of_one_run_follow_one_another(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DDL_RUNS", str(tmp_path / "runs"))
    path = tmp_path / "try.yaml"
    path.write_text("""
    profile: tiny
    fixed: {epochs: 1, mode: none}
    variants: {usual: {}, fine: {patch: 2}, coarse: {patch: 12}}
    grid: {seed: [0]}
    """)
    monkeypatch.setattr("ddllib.pipeline.PATIENCE", 0)
    assert command.main(["run", str(path), "--workers", "3"]) == 0
    assert all(trial.record() for trial in read_experiment(str(path)))
