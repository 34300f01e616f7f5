"""Runs killed or stopped at any moment end as runs that were not: real processes, real signals.

``make kills`` does this twenty times, ``make test`` three times.
"""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from ddllib.paths import ROOT

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("DDL_KILLS", "3"))

TRAIN = """
import sys
from ddllib import checkpoints, pipeline
from ddllib.io.commands import run_command
from ddllib.data import load_prepared
from ddllib.settings import load_profile

def train():
    small = {"size": 32, "latent_dim": 8, "epochs": 12, "precision": "float32"}
    data = load_prepared(sys.argv[1])
    print("training", flush=True)
    run = pipeline.train(load_profile("tiny", **small), data, progress=False)
    record = pipeline.score(run.settings, data, run, progress=False)
    state = {"weights": run.model.state_dict(), "l": run.creator.state_dict()}
    scores = {name: values.tolist() for name, values in record.scores.items()}
    print(checkpoints.checksum({**state, "history": run.history, "scores": scores}))

{setup}
sys.exit(run_command("train", train))
"""
PREPARE = """
import sys
from data_prep.__main__ import main
print("preparing", flush=True)
sys.exit(main(["prepare", *sys.argv[1:], "--size", "32", "--quiet"]))
"""
# Dies within the third checkpoint's bytes, or when it has set the second aside.
HALF = """
import os, signal, torch
saved, whole = [], torch.save
def save(content, file):
    saved.append(content)
    if len(saved) == 3:
        file.write(bytes(1000)); file.flush(); os.kill(os.getpid(), signal.SIGKILL)
    whole(content, file)
torch.save = save
"""
BETWEEN = """
import os, signal
replace = os.replace
def moved(source, target):
    replace(source, target)
    if str(target).endswith("previous.pt"):
        os.kill(os.getpid(), signal.SIGKILL)
os.replace = moved
"""


# Told to stop when the given number of files is in its place.
STOPPED = """
import os, signal
replace, moved = os.replace, []
def move(*names):
    replace(*names)
    moved.append(names)
    if len(moved) == {number}:
        os.kill(os.getpid(), signal.SIGTERM)
os.replace = move
"""


def start(code, runs, *arguments) -> subprocess.Popen:
    """A process that has come to its work."""
    environment = {**os.environ, "DDL_RUNS": str(runs), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline().endswith("ing\n"), process.stderr.read()
    return process


def ending(process) -> str:
    """Its last line, when it ends well."""
    printed, faults = process.communicate(timeout=300)
    assert process.returncode == 0, faults
    return printed.splitlines()[-1]


def training(runs, folder, setup="") -> subprocess.Popen:
    return start(TRAIN.replace("{setup}", setup), runs, folder)


@pytest.fixture(scope="module")
def undisturbed(prepared_folder, tmp_path_factory):
    """How an undisturbed training ends, and how long it took."""
    process = training(tmp_path_factory.mktemp("runs"), prepared_folder)
    start_time = time.monotonic()
    return ending(process), time.monotonic() - start_time


@pytest.mark.parametrize("number", range(KILLS))
def test_training_killed_at_any_moment_ends_the_same(
    undisturbed, prepared_folder, tmp_path, number
):
    expected, seconds = undisturbed
    moment = random.Random(number).uniform(0, seconds)
    process = training(tmp_path, prepared_folder)
    time.sleep(moment)
    process.kill()
    process.wait()
    assert ending(training(tmp_path, prepared_folder)) == expected, f"killed after {moment:.2f} s"


@pytest.mark.parametrize("setup", [HALF, BETWEEN], ids=["within a file", "between two names"])
def test_training_killed_while_it_saves_ends_the_same(
    undisturbed, prepared_folder, tmp_path, setup
):
    process = training(tmp_path, prepared_folder, setup)
    assert process.wait(timeout=300) == -signal.SIGKILL
    assert ending(training(tmp_path, prepared_folder)) == undisturbed[0]


@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_training_saves_says_so_and_goes_on(
    undisturbed, prepared_folder, tmp_path, number, status
):
    expected, _ = undisturbed
    process = training(tmp_path, prepared_folder)
    while process.poll() is None and not list(tmp_path.glob("tiny/*/checkpoint.pt")):
        time.sleep(0.01)
    process.send_signal(number)
    _, output = process.communicate(timeout=60)
    assert process.returncode == status
    assert output == "train: stopped; what was finished is kept, run again to go on\n"
    assert list(tmp_path.glob("tiny/*/checkpoint.pt"))
    assert ending(training(tmp_path, prepared_folder)) == expected


def contents(folder) -> dict:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("number", range(KILLS))
def test_preparation_killed_at_any_moment_ends_the_same(footage, ready, tmp_path, number):
    out, expected = tmp_path / "again", tmp_path / "undisturbed"
    start_time = time.monotonic()
    ending(start(PREPARE, tmp_path / "a", footage, expected))
    moment = random.Random(number).uniform(0, time.monotonic() - start_time)
    process = start(PREPARE, tmp_path / "b", footage, out)
    time.sleep(moment)
    process.kill()
    process.wait()
    ending(start(PREPARE, tmp_path / "b", footage, out))
    assert contents(out) == contents(expected), f"killed after {moment:.2f} s"


@pytest.mark.parametrize("number", [1, 3])
def test_a_stopped_preparation_says_so_and_goes_on(footage, tmp_path, number):
    out, expected = tmp_path / "again", tmp_path / "undisturbed"
    ending(start(PREPARE, tmp_path / "a", footage, expected))
    script = STOPPED.replace("{number}", str(number)) + PREPARE
    process = start(script, tmp_path / "b", footage, out)
    _, output = process.communicate(timeout=300)
    assert process.returncode == 143
    assert output.endswith(": stopped; what was finished is kept, run again to go on\n")
    assert output.count("\n") == 1 and not (out / "manifest.json").exists()
    ending(start(PREPARE, tmp_path / "b", footage, out))
    assert contents(out) == contents(expected)


# A shell starts what runs in the background with Ctrl-C ignored; a terminal does not.
EXPERIMENT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from ddllib.experiments.command import main
sys.exit(main(["run", *sys.argv[1:], "--workers", "2"]))
"""


def test_ctrl_c_in_a_terminal_saves_the_runs_of_an_experiment(tmp_path):
    """A terminal interrupts all processes of a command at once."""
    path = tmp_path / "try.yaml"
    text = "profile: tiny\nfixed: {epochs: 3000, mode: none}\ngrid: {seed: [0, 1]}\n"
    path.write_text(text)
    process = subprocess.Popen(
        [sys.executable, "-c", EXPERIMENT, str(path)],
        env={**os.environ, "DDL_RUNS": str(tmp_path / "runs")},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    pattern = "runs/tiny/*/checkpoint.pt"
    while process.poll() is None and len(list(tmp_path.glob(pattern))) < 2:
        time.sleep(0.05)
    moment = time.time()
    os.killpg(process.pid, signal.SIGINT)
    try:
        _, output = process.communicate(timeout=120)
    finally:
        process.terminate()  # where it goes on in spite of it
    assert process.returncode == 130
    assert output == "experiments: stopped; what was finished is kept, run again to go on\n"
    times = [file.stat().st_mtime for file in tmp_path.glob(pattern)]
    assert len(times) == 2 and min(times) > moment
