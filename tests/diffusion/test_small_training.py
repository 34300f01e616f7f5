"""Training of the small in-painter: it resumes with the same bits and leaves weights and record."""

import json

import cv2
import numpy as np
import pytest
import torch

from data_prep.__main__ import main
from data_prep.diffusion import training, weights
from data_prep.diffusion.pictures import Pictures, holes
from data_prep.diffusion.training import Plan
from ddllib import DDLError

PLAN = Plan(4, 4, autoencoder_batch=2, unet_batch=2, unet_crops=64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two pictures, one of them in a folder of its own."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    (folder / "more").mkdir()
    for name, size in (("one.png", (80, 100, 3)), ("more/two.jpg", (90, 70, 3))):
        cv2.imwrite(str(folder / name), rng.integers(0, 256, size, np.uint8))
    return folder


@pytest.fixture(autouse=True)
def often(monkeypatch):
    for name in ("SAVE_EVERY", "MEAN_OVER"):
        monkeypatch.setattr(training, name, 2)


def stopped_at(step, monkeypatch):
    """Ctrl-C at a step of the stage that is running."""

    def update(self, loss, update=training.Stage.update):
        if self.step == step:
            raise KeyboardInterrupt
        return update(self, loss)

    monkeypatch.setattr(training.Stage, "update", update)


def test_stopped_training_goes_on_to_the_same_weights(folder, tmp_path, monkeypatch):
    whole = training.train(folder, tmp_path / "whole", PLAN, progress=False)
    for step in (3, 1):  # of the autoencoder; then of the U-Net, after the autoencoder's end
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            stopped_at(step, patch)
            training.train(folder, tmp_path / "stopped", PLAN, progress=False)
    again = training.train(folder, tmp_path / "stopped", PLAN, progress=False)
    assert again.read_bytes() == whole.read_bytes()
    records = [json.loads(path.with_suffix(".json").read_text()) for path in (whole, again)]
    for record in records:
        del record["seconds"]
    assert records[0] == records[1]
    assert set(records[0]["pictures"]) == {"one.png", "more/two.jpg"}
    assert len(records[0]["loss of the U-Net"]) == 2


def test_the_weights_are_those_that_are_read(folder, tmp_path):
    path = training.train(folder, tmp_path, PLAN, progress=False)
    model = weights.small_model(path)
    state = torch.load(tmp_path / "unet.pt", weights_only=True)["mean"]
    for name, value in model.unet.state_dict().items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, state[name], atol=1e-3, rtol=1e-3)
    x = Pictures(folder).crops(64, np.random.default_rng(1))
    assert model.encode(x).std() == pytest.approx(1, abs=0.2)


def test_checkpoints_of_other_pictures_or_damaged_ones_are_refused(folder, tmp_path):
    training.train(folder, tmp_path, PLAN, progress=False)
    with pytest.raises(DDLError, match="autoencoder.pt.*another plan"):
        training.train(folder / "more", tmp_path, PLAN, progress=False)
    (tmp_path / "unet.pt").write_bytes(b"nothing")
    with pytest.raises(DDLError, match="unet.pt"):
        training.train(folder, tmp_path, PLAN, progress=False)


def test_a_folder_without_pictures_ends_in_one_line(tmp_path, capsys):
    assert main(["train-inpainter", str(tmp_path), str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_crops_are_grey_as_often_as_in_colour_and_holes_leave_something(folder):
    crops = Pictures(folder).crops(400, np.random.default_rng(0))
    assert crops.shape == (400, 3, 64, 64) and crops.min() >= -1 and crops.max() <= 1
    grey = (crops == crops[:, :1]).all(dim=3).all(dim=2).all(dim=1)
    assert grey.float().mean() == pytest.approx(0.5, abs=0.1)
    shares = holes(400, np.random.default_rng(0)).mean(dim=(1, 2, 3))
    assert shares.min() > 0 and shares.max() < 0.7
