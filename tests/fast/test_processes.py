"""Several processes train one run: the same losses as one process, on the same batches."""

import json
import os
import subprocess
import sys

import pytest
import torch
from support.together import STOP_AFTER, gradients, train
from torch import nn

from data_prep import companions
from ddllib import DDLError, checkpoints
from ddllib.data import load_prepared
from ddllib.experiments import command
from ddllib.experiments.grid import read_experiment
from ddllib.fast import batch_norm, processes
from ddllib.fast.divided import divide
from ddllib.methods import method_of
from ddllib.paths import ROOT
from ddllib.settings import load_profile

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
# The last batch of an epoch has an odd number of windows, which two processes cannot divide.
SMALL = {"size": 32, "latent_dim": 8, "epochs": 2, "precision": "float32", "batch_size": 10}
SMALL |= {"held_out": 1, "threshold_share": 0.05, "learning_rate": 1e-5}
CHANGES = {
    "ddl": {},
    "windows alone": {"mode": "none"},
    "frames alone": {"model": "unet", "mode": "none"},
    "norms": {"distinction_form": "norms", "pseudo_anomaly": "0.6 noise + 0.4 shifted object"},
    "stpa": {"method": "stpa", "temporal": 8, "score": "psnr + flow error", "flow": "dis"},
    "stopped": {},
    "begun by one": {},
}
COMPARED = ["ddl", "windows alone", "frames alone", "norms", "stpa"]


def together(*command):
    """What two processes of torchrun leave when they have ended."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [*TORCHRUN, *command], cwd=ROOT, env=environment, capture_output=True, text=True
    )


@pytest.fixture(scope="module", autouse=True)
def without_kernels():
    """Norms by PyTorch; our own kernels take seconds to load."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch_norm, "_kernels", lambda: None)
        yield


@pytest.fixture(scope="module")
def all_settings():
    return {name: load_profile("tiny", **{**SMALL, **change}) for name, change in CHANGES.items()}


@pytest.fixture(scope="module")
def by_two(tmp_path_factory, prepared_folder, all_settings):
    """The folder of all runs, trained by two processes; one is begun by one process."""
    folder, stpa = tmp_path_factory.mktemp("together"), all_settings["stpa"]
    for name in method_of(stpa).companions(stpa).values():
        companions.make(prepared_folder, name, progress=False)
    args = all_settings["begun by one"], load_prepared(prepared_folder), folder / "begun by one"
    assert train(*args, stopping=True)["steps"] == STOP_AFTER
    cases = {
        name: {
            "settings": settings.asdict(),
            "stop": name == "stopped",
            "compare": name in COMPARED,
        }
        for name, settings in all_settings.items()
    }
    (folder / "cases.json").write_text(json.dumps(cases))
    process = together(ROOT / "tests" / "support" / "together.py", prepared_folder, folder)
    assert process.returncode == 0, process.stderr
    assert process.stdout == "the first process prints\n"
    return folder


def left(folder, name, number=0):
    return torch.load(folder / f"{name}-{number}.pt", weights_only=True)


def assert_same_curves(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert first[name] == pytest.approx(second[name], rel=1e-4, nan_ok=True), name


@pytest.mark.parametrize("name", COMPARED)
def test_two_processes_have_the_losses_of_one(by_two, all_settings, prepared_folder, name):
    alone = train(all_settings[name], load_prepared(prepared_folder), None)
    for number in (0, 1):
        both = left(by_two, name, number)
        assert both["steps"] == alone["steps"]
        assert_same_curves(both["history"], alone["history"])


@pytest.mark.parametrize("name", COMPARED)
def test_two_processes_have_the_gradients_of_one(by_two, all_settings, prepared_folder, name):
    alone = gradients(all_settings[name], load_prepared(prepared_folder))
    both = left(by_two, name)["gradients"]
    assert both.keys() == alone.keys()
    whole = torch.cat([gradient.flatten() for gradient in alone.values()]).norm()
    rounding = 1e-6 if name != "stpa" else 1e-4  # of float64 until the output, and of float32
    for key, gradient in alone.items():
        assert (both[key] - gradient).norm() <= rounding * whole, key


def test_both_processes_have_the_same_bits(by_two):
    for name in COMPARED:
        first, second = (left(by_two, name, number)["gradients"] for number in (0, 1))
        assert all(torch.equal(gradient, second[key]) for key, gradient in first.items())


def test_a_stop_of_one_process_stops_both_after_the_same_step(by_two):
    for number in (0, 1):
        mine = left(by_two, "stopped", number)
        assert (mine["status"], mine["steps"]) == (143, STOP_AFTER)
    assert len(checkpoints.read(by_two / "stopped")["history"]["step"]) == STOP_AFTER


def test_one_process_goes_on_where_two_were_stopped(by_two, all_settings, prepared_folder):
    data = load_prepared(prepared_folder)
    result = train(all_settings["stopped"], data, by_two / "stopped")
    assert result["steps"] == len(result["history"]["step"]) - STOP_AFTER
    assert_same_curves(result["history"], left(by_two, "ddl")["history"])


def test_two_processes_go_on_where_one_was_stopped(by_two):
    result = left(by_two, "begun by one")
    assert result["steps"] == len(result["history"]["step"]) - STOP_AFTER
    assert_same_curves(result["history"], left(by_two, "ddl")["history"])


def test_where_the_first_process_fails_the_others_end_silently(by_two):
    assert "no footage" in left(by_two, "failure", 0)
    assert left(by_two, "failure", 1) == "SystemExit(1)"


@pytest.mark.slow
def test_the_first_process_alone_records_an_experiments_run(tmp_path, monkeypatch):
    monkeypatch.setenv("DDL_RUNS", str(tmp_path / "runs"))
    path = tmp_path / "one.yaml"
    path.write_text("profile: tiny\ngrid: {seed: [0]}\n")
    process = together("-m", "ddllib", "experiments", "one", path, "0")
    assert process.returncode == 0, process.stderr
    first_line, summary = process.stdout.splitlines()[-2:]
    assert first_line.endswith("trained; epochs: 2") and "median" in summary
    assert sum("trained" in line for line in process.stdout.splitlines()) == 1
    record = read_experiment(str(path))[0].record()
    assert record.facts["device"].endswith(", 2 processes")
    again = together("-m", "ddllib", "experiments", "one", path, "0")
    assert "reused, nothing to train" in again.stdout


@pytest.fixture
def started_by_torchrun(monkeypatch):
    """The environment of the second of two processes on one machine."""
    names = ("WORLD_SIZE", "LOCAL_WORLD_SIZE", "RANK", "LOCAL_RANK")
    for name, value in dict(zip(names, "2211", strict=True), TORCHELASTIC_RUN_ID="one").items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def join(device="cpu", batch_size=10):
    with processes.joined(torch.device(device), batch_size):
        pass


@pytest.mark.parametrize("options", [{"batch_size": 9}, {"device": "cuda"}])
def test_what_cannot_be_divided_is_reported_once(started_by_torchrun, options):
    started_by_torchrun.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(SystemExit):
        join(**options)
    started_by_torchrun.setenv("RANK", "0")
    with pytest.raises(DDLError, match="2 processes.*expected.*--nproc-per-node") as error:
        join(**options)
    assert "\n" not in str(error.value)


def test_torchrun_is_refused_for_more_than_one_run(started_by_torchrun, capsys):
    assert command.main(["run", "table2"]) == 1
    assert "torchrun is for one run" in capsys.readouterr().err


def test_a_batch_norm_without_statistics_is_refused(monkeypatch):
    monkeypatch.setattr(processes, "is_alone", lambda: False)
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3, track_running_stats=False))
    with pytest.raises(DDLError, match="batch norm.*one process"):
        divide({"model": model}, ["model"])


def test_alone_nothing_is_divided():
    model = nn.Conv2d(3, 3, 1)
    divide({"model": model}, ["model"])
    assert "forward" not in vars(model) and processes.count() == 1 and processes.is_first()
    assert processes.highest(3) == 3
