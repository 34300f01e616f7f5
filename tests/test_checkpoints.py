"""Checkpoints: whole or told, the one before kept, and no code run on loading one."""

import random

import pytest
import torch

from ddllib import DDLError, checkpoints, fit, road


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
    saved = checkpoints.read(folder)["parts"][0]
    assert all(torch.equal(saved[name], weights[name]) for name in weights)
    (folder / checkpoints.NAME).unlink()  # killed between two renames
    assert checkpoints.exists(folder) and last_epoch(folder) == 1


@pytest.mark.parametrize("cut", [0, 1000, -1])
def test_of_a_cut_file_the_one_before_is_used(trained, capsys, cut):
    folder, _ = trained
    whole = (folder / checkpoints.NAME).read_bytes()
    (folder / checkpoints.NAME).write_bytes(whole[:cut])
    assert last_epoch(folder) == 1
    told = capsys.readouterr().out
    assert f"{folder / checkpoints.NAME}: cannot be read" in told
    assert "going on from checkpoint.previous.pt" in told
    assert last_epoch(folder) == 1 and not capsys.readouterr().out  # told once
    assert (folder / "checkpoint.pt.damaged").read_bytes() == whole[:cut]


def test_a_changed_byte_is_noticed_wherever_it_counts(trained):
    folder, _ = trained
    path, rng = folder / checkpoints.NAME, random.Random(0)
    whole, known = path.read_bytes(), checkpoints.checksum(checkpoints.read(folder))
    noticed = 0
    for _ in range(40):
        place = rng.randrange(len(whole))
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        if last_epoch(folder) == 1:
            noticed += 1
        else:  # in the padding between the arrays
            assert checkpoints.checksum(checkpoints.read(folder)) == known
    assert noticed > 20


def test_a_finished_run_with_a_damaged_checkpoint_trains_its_last_epoch_again(
    small_settings, small_data
):
    settings = small_settings()
    first = road.train(settings, small_data, progress=False)
    path = settings.run_folder / checkpoints.NAME
    path.write_bytes(b"half a file")
    again = road.train(settings, small_data, progress=False)
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


def test_something_else_under_its_name_is_told(tmp_path):
    torch.save({"state_dict": {}}, tmp_path / checkpoints.NAME)
    with pytest.raises(DDLError, match="holds no checkpoint of this project"):
        checkpoints.read(tmp_path)


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
