"""Checkpoints: whole or told, the one before kept, and no code run on loading one."""

import math
import os
import random

import pytest
import torch

from ddllib import DDLError, checkpoints, fit, pipeline, training
from ddllib.training import begin_with, load_run, new_run


class Hostile:
    def __reduce__(self):
        return (print, ("code was run",))


@pytest.fixture
def trained(small_settings, small_data, tmp_path):
    """A folder with the checkpoints of both epochs, and the weights of the last."""
    run = fit(small_settings(), small_data, tmp_path / "run", progress=False)
    return tmp_path / "run", run.model.state_dict()


def last_epoch(folder) -> int:
    return checkpoints.read(folder)["parts"][-1]["epoch"]


def test_the_last_two_are_kept(trained):
    folder, weights = trained
    assert sorted(p.name for p in folder.iterdir()) == [checkpoints.PREVIOUS, checkpoints.NAME]
    values = checkpoints.read(folder)["parts"][0]
    assert all(torch.equal(values[name], weights[name]) for name in weights)
    (folder / checkpoints.NAME).unlink()  # killed between two renames
    assert checkpoints.exists(folder) and last_epoch(folder) == 1


def test_a_slow_one_is_not_left_after_every_epoch(
    small_settings, small_data, tmp_path, monkeypatch
):
    clock, epochs, save = [0.0], [], checkpoints.save

    def slow(folder, who, progress, *parts):
        save(folder, who, progress, *parts)
        epochs.append(parts[-1].epoch)
        clock[0] += 2 * training.SLOW

    def an_epoch(count, *_, **__):
        clock[0] += 15 * training.SLOW
        return batches(count)

    batches = torch.randperm
    monkeypatch.setattr(training.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(checkpoints, "save", slow)
    monkeypatch.setattr(torch, "randperm", an_epoch)
    fit(small_settings(epochs=8, batch_size=99), small_data, tmp_path, progress=False)
    assert epochs == [1, 4, 7, 8]  # some forty seconds apart, and the last


@pytest.mark.parametrize("length", [0, 1000, -1])
def test_of_a_cut_file_the_one_before_is_used(trained, capsys, length):
    folder, _ = trained
    whole = (folder / checkpoints.NAME).read_bytes()
    (folder / checkpoints.NAME).write_bytes(whole[:length])
    assert last_epoch(folder) == 1
    output = capsys.readouterr().out
    assert f"{folder / checkpoints.NAME}: cannot be read" in output
    assert "going on from checkpoint.previous.pt" in output
    assert last_epoch(folder) == 1 and not capsys.readouterr().out  # told once
    assert (folder / "checkpoint.pt.damaged").read_bytes() == whole[:length]


def test_a_changed_byte_is_noticed_wherever_it_counts(trained):
    folder, _ = trained
    path, rng = folder / checkpoints.NAME, random.Random(0)
    whole, checksum = path.read_bytes(), checkpoints.checksum(checkpoints.read(folder))
    noticed = 0
    for _ in range(40):
        place = rng.randrange(len(whole))
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        if last_epoch(folder) == 1:
            noticed += 1
        else:  # in the padding between the arrays
            assert checkpoints.checksum(checkpoints.read(folder)) == checksum
    assert noticed > 20


def test_a_finished_run_with_a_damaged_checkpoint_trains_its_last_epoch_again(
    small_settings, small_data
):
    settings = small_settings()
    first = pipeline.train(settings, small_data, progress=False)
    path = settings.run_folder / checkpoints.NAME
    path.write_bytes(b"half a file")
    again = pipeline.train(settings, small_data, progress=False)
    assert again.steps_now == len(first.history["step"]) / 2
    assert again.history == first.history
    for name, value in first.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name])


def test_without_a_whole_one_all_are_named(trained):
    folder, _ = trained
    for name in (checkpoints.NAME, checkpoints.PREVIOUS):
        (folder / name).write_bytes(b"half a file")
    with pytest.raises(DDLError, match="checkpoint.pt: .*previous.pt: .*remove it and train again"):
        checkpoints.read(folder)


def test_one_with_code_in_it_is_refused_and_not_run(tmp_path, capsys):
    torch.save({"identity": Hostile()}, tmp_path / checkpoints.NAME)
    with pytest.raises(DDLError, match="checkpoint.pt: cannot be read"):
        checkpoints.read(tmp_path)
    assert "code was run" not in capsys.readouterr().out


def test_something_else_under_its_name_is_reported(tmp_path):
    torch.save({"state_dict": {}}, tmp_path / checkpoints.NAME)
    with pytest.raises(DDLError, match="holds no checkpoint of this project"):
        checkpoints.read(tmp_path)


def rewrite(folder, change):
    """Both checkpoints with another content, under a checksum that fits it."""
    for name in (checkpoints.NAME, checkpoints.PREVIOUS):
        content = torch.load(folder / name, weights_only=True)
        del content["checksum"]
        change(content)
        torch.save({**content, "checksum": checkpoints.checksum(content)}, folder / name)


FAULTS = {
    "identity": lambda c: c.update(identity=[1]),
    "parts": lambda c: c.update(parts=[]),
    "parts are no list": lambda c: c.update(parts=[1, 2]),
    "epoch": lambda c: c["parts"][-1].update(epoch="x"),
    "step": lambda c: c["parts"][-1].update(step=-1),
    "seconds": lambda c: c.update(seconds="x"),
    "history": lambda c: c.pop("history"),
    "equally long": lambda c: c["history"]["total"].pop(),
    "lists of numbers": lambda c: c["history"].update(total=["x"] * len(c["history"]["step"])),
    "not finite": lambda c: c["parts"][0]["encoder.conv_1.batch_norm_1.bias"].fill_(math.nan),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_values_of_another_kind_under_a_fitting_checksum_are_reported(trained, fault):
    folder, _ = trained
    rewrite(folder, FAULTS[fault])
    with pytest.raises(DDLError, match=f"checkpoint.pt: damaged .*{fault}.*train again") as error:
        load_run(folder)
    assert "\n" not in str(error.value)


def test_another_kind_of_values_in_the_last_one_is_as_damage_to_it(trained):
    folder, _ = trained
    before = (folder / checkpoints.PREVIOUS).read_bytes()
    rewrite(folder, FAULTS["epoch"])
    (folder / checkpoints.PREVIOUS).write_bytes(before)
    assert last_epoch(folder) == 1 and (folder / "checkpoint.pt.damaged").is_file()


UNFIT = {
    "another shape": lambda c: c["parts"][0].update(
        {"encoder.conv_1.batch_norm_1.bias": torch.zeros(99)}
    ),
    "a part missing": lambda c: c["parts"].__delitem__(slice(0, 4)),
    "another l": lambda c: c["parts"][1].update(l=torch.zeros(3)),
    "no curve": lambda c: c["history"].pop("sigma"),
}


def test_moments_of_another_shape_are_reported_before_a_step(trained, small_settings, small_data):
    folder, _ = trained
    rewrite(folder, lambda c: c["parts"][2]["state"][0].update(exp_avg=torch.zeros(3)))
    with pytest.raises(DDLError, match=r"does not fit this run \(exp_avg of \(3,\)"):
        fit(small_settings(), small_data, folder, progress=False)


@pytest.mark.parametrize("fault", UNFIT)
def test_a_checkpoint_that_does_not_fit_the_run_ends_in_one_line(
    trained, small_settings, small_data, fault
):
    folder, _ = trained
    rewrite(folder, UNFIT[fault])
    ways = {
        "loading": lambda: load_run(folder),
        "going on": lambda: fit(small_settings(), small_data, folder, progress=False),
    }
    if fault != "no curve":  # which a run that only begins with its weights does not take
        ways["beginning"] = lambda: begin_with(new_run(small_settings()), folder)
    for way in ways.values():
        with pytest.raises(DDLError, match="its checkpoint .*train again") as error:
            way()
        assert str(folder) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", [checkpoints.NAME, checkpoints.PREVIOUS])
def test_a_folder_in_its_place_is_reported_before_training(
    small_settings, small_data, tmp_path, monkeypatch, name
):
    (tmp_path / name / "something").mkdir(parents=True)
    monkeypatch.setattr(training, "train_step", None)  # not come to
    with pytest.raises(DDLError, match=f"{name}: is a folder; .*move it away"):
        fit(small_settings(), small_data, tmp_path, progress=False)


def test_a_folder_come_into_its_place_meanwhile_ends_in_one_line(trained):
    folder, _ = trained
    (folder / checkpoints.NAME).unlink()
    (folder / checkpoints.NAME).mkdir()
    with pytest.raises(DDLError, match="checkpoint.pt: cannot be written"):
        checkpoints.save(folder, {}, {})


def test_halves_left_by_killed_processes_are_removed(trained):
    folder, _ = trained
    half, other = folder / "checkpoint.new.pt.99999999.tmp", folder / "x.99999999.tmp"
    half.write_bytes(b"half"), other.write_bytes(b"another's")
    os.utime(half, (1e9, 1e9))
    checkpoints.save(folder, {}, {})
    assert not half.exists() and other.exists()


def test_a_full_disk_keeps_the_one_that_was_there(trained, monkeypatch):
    folder, _ = trained
    before = (folder / checkpoints.NAME).read_bytes()

    def full(content, file):
        file.write(b"the beginning")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(DDLError, match="No space left on device.*make room"):
        checkpoints.save(folder, {}, {})
    assert (folder / checkpoints.NAME).read_bytes() == before and len(list(folder.iterdir())) == 2


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(13, "Permission denied"),
        MemoryError("no more"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"),
    ],
)
def test_one_that_cannot_be_read_now_is_no_damaged_one(trained, monkeypatch, error):
    folder, _ = trained

    def fail(*_, **__):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.torch, "load", fail)
        with pytest.raises(DDLError, match="checkpoint.pt: cannot be read now .*; mend that and"):
            checkpoints.read(folder)
    assert not list(folder.glob("*.damaged"))
    assert checkpoints.read(folder)
