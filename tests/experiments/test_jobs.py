"""The jobs of an experiment for a workflow engine: what waits for what, and what is skipped."""

import json

import pytest

from ddllib.errors import DDLError
from ddllib.experiments import command, jobs
from ddllib.experiments.grid import first_run, read_experiment

TEXT = """
profile: tiny
variants: {small: {}, patches: {patch: 8}, wide: {size: 48}}
grid: {seed: [0, 1]}
"""


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    monkeypatch.setenv("DDL_RUNS", str(tmp_path / "runs"))
    path = tmp_path / "try.yaml"
    path.write_text(TEXT)
    return str(path)


def test_runs_wait_for_their_preparation_and_for_a_run_of_the_same_folder(experiment):
    all_jobs = jobs.jobs(experiment)
    small, wide = (job["stamp"] for job in all_jobs["prepare"])
    variants = [trial.variant for trial in read_experiment(experiment)]
    runs = {(variants[job["index"]], job["index"] // 3): job for job in all_jobs["run"]}
    assert len({job["stamp"] for job in all_jobs["run"]}) == 6
    for seed in (0, 1):
        assert runs["small", seed]["after"] == [small]
        assert runs["patches", seed]["after"] == [small, runs["small", seed]["stamp"]]
        assert runs["wide", seed]["after"] == [wide]


def test_a_run_waits_for_the_one_whose_weights_it_begins_with(experiment, tmp_path):
    (tmp_path / "try.yaml").write_text(
        "profile: tiny\ngrid: {seed: [0]}\nvariants:\n  on others: {size: 48}\n"
        "  as it is: {size: 48, epochs: 0, start_from: tiny/c3dsu-ddl-seed0-size-48}\n"
    )
    first, second = jobs.jobs(experiment)["run"]
    assert first["stamp"] in second["after"]
    trials = read_experiment(experiment)
    start = trials[0].settings.run_folder
    assert [first_run(trials, trial.settings) for trial in trials] == [start, start]


def test_names_of_jobs_stay_and_follow_the_settings(experiment, tmp_path):
    first = [job["stamp"] for job in jobs.jobs(experiment)["run"]]
    assert first == [job["stamp"] for job in jobs.jobs(experiment)["run"]]
    (tmp_path / "try.yaml").write_text(TEXT + "fixed: {epochs: 3}\n")
    assert not {*first} & {job["stamp"] for job in jobs.jobs(experiment)["run"]}


def test_a_recorded_run_is_no_job_and_a_stamp_without_record_is_removed(experiment, monkeypatch):
    all_jobs = jobs.jobs(experiment)
    folder = jobs.runs_root() / "jobs"
    folder.mkdir(parents=True)
    for job in all_jobs["run"]:
        (folder / job["stamp"]).touch()
    trials = read_experiment(experiment)
    for trial in trials[:2]:
        object.__setattr__(trial, "record", lambda: "a record")
    monkeypatch.setattr(jobs, "read_experiment", lambda name: trials)
    rest = jobs.jobs(experiment)["run"]
    assert [job["index"] for job in rest] == [2, 3, 4, 5]
    assert {p.name for p in folder.iterdir()} == {job["stamp"] for job in all_jobs["run"][:2]}


def test_the_command_prints_the_jobs_and_names_a_wrong_run(experiment, capsys):
    assert command.main(["jobs", experiment]) == 0
    assert json.loads(capsys.readouterr().out) == jobs.jobs(experiment)
    assert command.main(["prepare", experiment, "6"]) == 1
    assert "no run 6; expected 0 to 5" in capsys.readouterr().err
    with pytest.raises(DDLError, match="no such experiment"):
        jobs.jobs("nothing")
