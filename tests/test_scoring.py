"""Scoring against a slow literal version; nothing of training leaks into it."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from support.scoring import a_clip, a_model, literal_patch_score

from ddllib import Conv3DSkipUNet, DDLError, UNet, score_clip
from ddllib.fast import accelerate
from ddllib.fast.accelerate import for_scoring
from ddllib.patches import patch_scores
from ddllib.score_terms.distance import distance_map
from ddllib.scoring import Scorer


def literal_scores(model, clip, patch):
    """Window by window: reconstruct, distance, patches, edges."""
    model.eval()
    scores, half = [], model.temporal // 2
    for t in range(half, len(clip) - half):
        window = clip[t - half : t + half + 1].astype(np.float32) / 255
        x = torch.from_numpy(np.repeat(window, 3 // window.shape[1], axis=1))
        with torch.inference_mode():
            y = model(x.transpose(0, 1)[None])[0, :, 0]
        error = np.sqrt(((x[half] - y).numpy() ** 2).sum(0)) / np.sqrt(3)
        scores.append(literal_patch_score(error, patch))
    return np.array([scores[0]] * half + scores + [scores[-1]] * half)


@pytest.mark.parametrize("kind", [Conv3DSkipUNet, UNet])
@pytest.mark.parametrize("channels", [1, 3])
def test_scores_equal_the_literal_version(kind, channels):
    model, clip = a_model(kind), a_clip(channels=channels)
    scores = score_clip(model, clip, patch=4)
    assert scores.shape == (len(clip),)
    assert np.allclose(scores, literal_scores(model, clip, 4), atol=1e-5)


@pytest.mark.parametrize("shape, patch", [((32, 32), 8), ((20, 28), 8), ((16, 16), 16)])
def test_patches_equal_the_literal_version(shape, patch):
    maps = torch.rand(3, *shape, generator=torch.Generator().manual_seed(0))
    expected = [literal_patch_score(m.numpy(), patch) for m in maps]
    assert np.allclose(patch_scores(maps, patch), expected, atol=1e-6)


def test_the_second_grid_catches_what_lies_on_the_seams_of_the_first():
    error = torch.zeros(1, 32, 32)
    error[0, 12:20, 12:20] = 1  # in the middle of four patches of 8 of the first grid
    assert float(patch_scores(error, 8)) == pytest.approx(1)


def test_the_distance_is_divided_by_root_three_whatever_the_channels():
    x, y = torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2)
    assert torch.allclose(distance_map(x, y), torch.full((1, 2, 2), 3**-0.5))
    three = distance_map(x.expand(1, 3, 2, 2), y.expand(1, 3, 2, 2))
    assert torch.allclose(three, torch.ones(1, 2, 2))


def test_scoring_uses_and_keeps_the_learnt_statistics():
    model, clip = a_model().train(), a_clip()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    scores = score_clip(model, clip, 4)
    assert model.training
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert np.allclose(scores, score_clip(model.eval(), clip, 4))


def test_many_clips_are_scored_by_one_copy_of_the_model(monkeypatch):
    model, clips = a_model(), {"01": a_clip(), "02": a_clip(frames=9)}
    alone = {name: score_clip(model, clip, 4) for name, clip in clips.items()}
    copies, twin = [], accelerate.accelerate
    monkeypatch.setattr(accelerate, "accelerate", lambda *args: copies.append(args) or twin(*args))
    together = Scorer(model, 4).clips(clips)
    assert len(copies) == 1
    assert all(np.array_equal(together[name], scores) for name, scores in alone.items())


def test_a_copy_for_scoring_is_made_anew_for_another_precision():
    copy = for_scoring(a_model())
    assert for_scoring(copy) is copy
    other = for_scoring(copy, "bfloat16")
    assert next(other.parameters()).dtype == torch.bfloat16
    assert other.encoder.conv_1.batch_norm_1.running_var.dtype == torch.float32
    assert next(copy.parameters()).dtype == torch.float32


def test_chunks_do_not_show(monkeypatch):
    model, clip = a_model(), a_clip(frames=12)
    whole = torch.cat([y for _, y in Scorer(model, 4).rebuild(clip, chunk=100)])
    parts = torch.cat([y for _, y in Scorer(model, 4).rebuild(clip, chunk=3)])
    assert torch.allclose(whole, parts, atol=1e-6)


def test_maps_are_handed_over_with_their_frame():
    model, clip = a_model(), a_clip(frames=20)
    maps = {}
    scores = score_clip(
        model, clip, 4, on_maps=lambda t, m: maps.update(dict(enumerate(m, start=t)))
    )
    assert sorted(maps) == list(range(1, 19))
    assert float(patch_scores(torch.from_numpy(maps[7])[None], 4)) == pytest.approx(scores[7])


def test_edges_repeat_the_nearest_score():
    scores = score_clip(a_model(), a_clip(), 4)
    assert scores[0] == scores[1] and scores[-1] == scores[-2] and scores[1] != scores[2]


def test_what_cannot_be_scored_is_reported():
    with pytest.raises(DDLError, match="at least 3"):
        score_clip(a_model(), a_clip(frames=2), 4)
    with pytest.raises(DDLError, match="patch is 64"):
        score_clip(a_model(), a_clip(), 64)


PEAK = """
import sys
import numpy as np
from ddllib.models.unet import build_model
from ddllib.scoring import score_clip
clip = np.load(sys.argv[1], mmap_mode="r")
score_clip(build_model("c3dsu", "released", 16, 3, 3), clip, 4)
print(next(line.split()[1] for line in open("/proc/self/status") if "VmHWM" in line))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells a process's highest memory")
@pytest.mark.slow
def test_a_clip_ten_times_as_long_takes_no_more_memory(tmp_path):
    # Blocks above 64 KB are given back at once: what is measured is held, not left over.
    given_back = dict(os.environ, MALLOC_MMAP_THRESHOLD_="65536", MALLOC_TRIM_THRESHOLD_="65536")
    peaks = []
    for frames in (60, 600):
        path = tmp_path / f"{frames}.npy"
        np.save(path, np.random.default_rng(0).integers(0, 255, (frames, 1, 128, 128), np.uint8))
        process = subprocess.run(
            [sys.executable, "-c", PEAK, path],
            env=given_back, capture_output=True, text=True, check=True,
        )  # fmt: skip
        peaks.append(int(process.stdout) * 1024)
    one_map_a_frame = 600 * 128 * 128 * 4
    assert peaks[1] - peaks[0] < one_map_a_frame / 2
