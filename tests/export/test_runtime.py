"""A watch whose model OpenVINO computes has the scores and events of one by PyTorch."""

import json

import numpy as np
import pytest
from support.footage import walk, write_video
from support.scoring import a_model
from torch import nn

from ddllib import Conv3DSkipUNet, DDLError, UNet
from ddllib.camera.event_file import read_events
from ddllib.camera.score_table import read_scores
from ddllib.camera.watch_command import main
from ddllib.export.runtime import OpenVinoModel
from ddllib.models.unet import build_model
from ddllib.streaming import StreamScorer, push_together

PATCH = 8
SIZE = 32, 48  # height and width that differ


def a_scorer(model, by_openvino):
    scorer = StreamScorer(model, PATCH, score="distance + motion")
    if by_openvino:
        scorer.model = OpenVinoModel(model, SIZE)
    return scorer


def answers_of(scorer, frames):
    answers = [scorer.push(frame) for frame in frames] + scorer.finish()
    return [one for answer in answers if answer for one in answer.each()]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("model", [a_model(Conv3DSkipUNet), a_model(UNet), "five frames"])
def test_scores_maps_and_reconstructions_are_those_of_pytorch(model, channels):
    model = build_model("c3dsu", "paper", 8, 3, 5).eval() if isinstance(model, str) else model
    frames = np.random.default_rng(0).integers(0, 256, (9, channels, *SIZE), dtype=np.uint8)
    plain, quick = (answers_of(a_scorer(model, by), frames) for by in (False, True))
    assert [a.index for a in plain] == [a.index for a in quick] == list(range(9))
    for one, other in zip(plain, quick, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-5)
        assert np.allclose(one.map, other.map, atol=1e-5)
        difference = one.reconstruction.astype(int) - other.reconstruction
        assert np.abs(difference).max() <= 1  # grey levels, rounded


def test_cameras_that_share_a_model_are_scored_as_alone():
    model = a_model(Conv3DSkipUNet)
    clips = np.random.default_rng(0).integers(0, 256, (2, 5, 1, *SIZE), dtype=np.uint8)
    alone = [answers_of(a_scorer(model, True), clip)[1].score for clip in clips]
    scorers = [a_scorer(model, True), a_scorer(model, True)]
    scorers[1].model = scorers[0].model
    rounds = [push_together(scorers, frames) for frames in zip(*clips, strict=True)]
    assert [answer.score for answer in rounds[2]] == pytest.approx(alone, abs=1e-6)


def test_a_model_that_takes_whole_windows_is_refused_in_a_line():
    with pytest.raises(DDLError, match="encode each frame by itself"):
        OpenVinoModel(nn.Conv3d(3, 3, 3), SIZE)


def watched(folder):
    """The scores of a watch, and where its events begin and end."""
    spans = [(event.start, event.end) for event in read_events(folder)[0]]
    return read_scores(folder)["score"].to_numpy(), spans


def test_the_command_watches_by_openvino_one_camera_and_many(watchable, tmp_path, capsys):
    write_video(tmp_path / "yard.avi", walk())
    camera = {"source": str(tmp_path / "yard.avi"), "run": str(watchable), "alarms": 600}
    args = ["--run", camera["run"], "--source", camera["source"], "--alarms", "600"]
    for name, more in (("pytorch", []), ("openvino", ["--backend", "openvino"])):
        assert main([*args, "--precision", "float32", "--to", str(tmp_path / name), *more]) == 0
    quick = {**camera, "precision": "float32", "backend": "openvino"}
    cameras = {"one": quick, "two": quick, "three": {**quick, "backend": "pytorch"}}
    (tmp_path / "cameras.yaml").write_text(json.dumps({"cameras": cameras, "to": "to"}))
    assert main(["--config", str(tmp_path / "cameras.yaml")]) == 0
    expected = watched(tmp_path / "pytorch")
    for folder in ("openvino", "to/one", "to/two", "to/three"):
        scores, spans = watched(tmp_path / folder)
        assert np.allclose(scores, expected[0], atol=1e-5) and spans == expected[1], folder


def test_a_backend_that_is_not_known_is_told(watchable, tmp_path, capsys):
    cameras = {"one": {"source": "yard.avi", "run": str(watchable), "backend": "tensorrt"}}
    (tmp_path / "cameras.yaml").write_text(json.dumps({"cameras": cameras}))
    assert main(["--config", str(tmp_path / "cameras.yaml")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "backend: 'tensorrt'; expected one of pytorch, openvino" in line
