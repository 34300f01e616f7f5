"""An exported window gives the scores and maps of the project's own scorer."""

import numpy as np
import pytest
from support.scoring import a_clip, a_model

from ddllib import Conv3DSkipUNet, DDLError, UNet
from ddllib.export.command import TOLERANCE, largest_difference
from ddllib.export.formats import FORMATS
from ddllib.export.window import ScoredWindow, as_onnx, check_exportable
from ddllib.models.unet import build_model
from ddllib.scoring import Scorer
from ddllib.settings import load_profile

ODD = 32, 48  # height and width that differ
PATCH = 5  # which divides neither


def ignored(size):
    mask = np.zeros(size, bool)
    mask[:20, 10:30] = True
    return mask


def a_scorer(model, score="distance", ignore=None):
    scorer = Scorer(model, PATCH, ignore=ignore, score=score)
    if scorer.terms.needs_calibration:
        scorer.terms.calibrate({"contrast": {"constant": 0.1}})
    return scorer


def exported(model, scorer, kind, folder, channels=1, size=ODD):
    """A file of the model and its score, opened."""
    path = folder / f"run{FORMATS[kind].suffix}"
    graph = as_onnx(ScoredWindow(model, scorer), channels, size)
    FORMATS[kind].write(graph, {"run": "a run"}, path)
    return FORMATS[kind].opened(path)


def frames_of(channels=1, size=ODD, frames=6):
    shape = frames, channels, *size
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("model", [Conv3DSkipUNet, UNet])
def test_every_window_of_a_clip_scores_as_offline(model, kind, tmp_path):
    model = a_model(model)
    scorer = a_scorer(model, ignore=ignored(ODD))
    ask = exported(model, scorer, kind, tmp_path)
    assert largest_difference(ask, scorer, frames_of()) < TOLERANCE
    # Another mask is another score: the one that is in the file counts.
    assert largest_difference(ask, a_scorer(model), frames_of()) > TOLERANCE


@pytest.mark.parametrize("kind", FORMATS)
def test_a_score_of_several_terms_and_colour_are_exported(kind, tmp_path):
    model = build_model("c3dsu", "paper", 8, 3, 5).eval()
    scorer = a_scorer(model, "0.5 distance + 0.5 contrast + 0.01 psnr", ignored(ODD))
    ask = exported(model, scorer, kind, tmp_path, channels=3)
    assert largest_difference(ask, scorer, frames_of(channels=3, frames=7)) < TOLERANCE


def test_contrast_of_grey_frames_is_exported(tmp_path):
    model = a_model()
    scorer = a_scorer(model, "contrast")
    ask = exported(model, scorer, "onnx", tmp_path)
    assert largest_difference(ask, scorer, frames_of()) < TOLERANCE


@pytest.mark.parametrize("kind", FORMATS)
def test_windows_of_several_cameras_are_one_batch(kind, tmp_path):
    model, clip = a_model(), a_clip(frames=8)
    scorer = a_scorer(model)
    ask = exported(model, scorer, kind, tmp_path, size=(32, 32))
    scores, maps = ask(np.stack([clip[k : k + 3] for k in range(6)]))
    assert scores.shape == (6,) and maps.shape == (6, 32, 32)
    assert np.allclose(scores, scorer.clip(clip).scores[1:-1], atol=TOLERANCE / 10)


def test_what_a_window_does_not_decide_is_refused_in_one_line():
    check_exportable(load_profile("tiny"), "runs/a")
    with pytest.raises(DDLError, match="runs/a: method stpa"):
        check_exportable(load_profile("stpa-tiny"), "runs/a")
    with pytest.raises(DDLError, match="runs/a: the term 'motion'"):
        check_exportable(load_profile("tiny", score="distance + 0.5 motion"), "runs/a")
