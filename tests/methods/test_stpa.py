"""STPA: its pseudo-anomalies, its target, its score offline and as a stream."""

import shutil

import cv2
import numpy as np
import pytest
import torch

from data_prep import companions
from ddllib import DDLError, fit, pipeline
from ddllib.camera.handover import make_ready
from ddllib.camera.score_table import read_scores
from ddllib.camera.watch_command import main as watch
from ddllib.data import load_prepared
from ddllib.methods import method_of
from ddllib.methods.stpa import STPA, flow_sample, perturbed, window_loss
from ddllib.methods.stpa_scorer import UnifiedScorer
from ddllib.models.spatio_temporal import SCALED
from ddllib.pseudo_anomalies import KINDS
from ddllib.pseudo_anomalies.base import PseudoAnomaly, TorchRandom
from ddllib.random_state import Draws
from ddllib.settings import load_profile
from ddllib.training import load_run, new_run, training_windows
from ddllib.windows import Sample


def settings_of(**values):
    return load_profile("stpa-tiny", **values)


def prepared(small_data, settings):
    method = method_of(settings)
    for split, names in (
        ("training", method.companions(settings)),
        ("testing", method.scoring_companions(settings)),
    ):
        for name in names.values():
            companions.make(small_data.folder, name, split, progress=False)
    return small_data


@pytest.fixture
def data(small_data):
    return prepared(small_data, settings_of())


@pytest.fixture
def own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("DDL_RUNS", str(tmp_path / "runs"))


def a_sample(settings, data, count=4):
    windows = training_windows(settings, data)
    indices = torch.arange(count)
    return windows.sample(indices, windows.draw(indices, torch.Generator().manual_seed(0)))


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


class Recorded:
    """Stands in for an autoencoder: keeps its inputs and gives them back."""

    def __init__(self):
        self.inputs = []

    def __call__(self, x):
        self.inputs.append(x)
        return x


@pytest.mark.parametrize("share", [0, 1])
def test_the_target_is_the_normal_window_whatever_the_input(data, share):
    settings = settings_of(p_s=share, p_t=share)
    run, sample = new_run(settings), a_sample(settings_of(), data)
    run.model.flow_scale.fill_(1.0)
    a_s, a_t = Recorded(), Recorded()
    twin = run.quick["model"]
    object.__setattr__(twin, "_modules", {**twin._modules, "a_s": None, "a_t": None})
    twin.__dict__.update(a_s=a_s, a_t=a_t)
    del twin._modules["a_s"], twin._modules["a_t"]
    losses = STPA().loss(run, sample, rng())
    frames, flow = sample.x[:, :, :16], run.model.flow_input(sample.companions["flow"][:, :, :16])
    distances = [
        (a_s.inputs[0] - (2 * frames - 1)).square().mean(),
        (a_t.inputs[0] - flow).square().mean(),
    ]
    # An identity's loss is what the pseudo-anomaly changed, if the target is the normal window.
    assert torch.allclose(losses["appearance"], distances[0], atol=1e-7)
    assert torch.allclose(losses["motion"], distances[1], atol=1e-7)
    assert all((value > 0) == bool(share) for value in distances)


def test_pseudo_anomalies_come_as_often_as_p_says(data):
    class Everything(PseudoAnomaly):
        def alter(self, sample, random):
            return KINDS["repeated frames"]().alter(sample, random)._replace(x=sample.x + 1)

    x = torch.zeros(4000, 1, 1, 1, 1)
    nothing = Sample(
        x, x, torch.zeros(4000, 1, 4), [np.zeros((9, 1, 1, 1), np.uint8)] * 4000, [0] * 4000
    )
    flags = perturbed(nothing, Everything(), 0.4, TorchRandom(rng()))
    assert flags.mean() == pytest.approx(0.4, abs=0.03)


def test_steal_pushes_altered_windows_away_from_themselves():
    y, normal = torch.rand((2, 3, 1, 2, 4, 4), generator=rng()).unbind(0)
    inputs = normal.clone()
    inputs[1] += 0.5
    errors = [float((y[k] - inputs[k]).square().mean()) for k in range(3)]
    expected = (errors[0] - errors[1] + errors[2]) / 3
    assert float(window_loss(y, normal, inputs, repel=True)) == pytest.approx(expected, rel=1e-5)
    distance = float((y - normal).square().mean())
    assert float(window_loss(y, normal, inputs)) == pytest.approx(distance, rel=1e-5)
    assert float(window_loss(y, normal, normal, repel=True)) == pytest.approx(distance, rel=1e-5)


def test_a_run_of_steal_is_another_run(data):
    settings = settings_of(p_s=1.0, p_t=1.0)
    runs = [new_run(settings_of(p_s=1.0, p_t=1.0, repel=repel)) for repel in (False, True)]
    sample = a_sample(settings, prepared(data, settings))
    plain, repelled = (STPA().loss(run, sample, rng()) for run in runs)
    assert repelled["total"] < 0 < plain["total"]


def test_an_inpainted_object_equals_the_clip_outside_its_silhouette(small_data):
    settings = settings_of(silhouettes="background")
    sample = a_sample(settings, prepared(small_data, settings))
    x, mask = KINDS["inpainted object"]().alter(sample, TorchRandom(rng()))
    same = (mask == 0).expand_as(x)
    assert torch.equal(x[same], sample.x[same]) and (x != sample.x).any()
    assert 0 < mask.sum() <= sample.mask.sum() and not (mask * (1 - sample.mask)).any()


@pytest.mark.parametrize("kind", ["mixup", "mixup in silhouette"])
def test_mixed_flow_is_a_convex_combination_of_two_places_of_a_field(small_data, kind):
    settings = settings_of(silhouettes="background", flow_pseudo_anomaly=kind)
    run, sample = new_run(settings), a_sample(settings, prepared(small_data, settings))
    normal = flow_sample(run.model, sample)
    x, mask = KINDS[kind]().alter(normal, TorchRandom(rng(3)))
    same = (mask == 0).expand_as(x)
    assert torch.equal(x[same], normal.x[same]) and (x != normal.x).any()
    lowest, highest = normal.x.amin((3, 4), keepdim=True), normal.x.amax((3, 4), keepdim=True)
    assert (x >= lowest - 1e-6).all() and (x <= highest + 1e-6).all()


def test_the_weight_of_the_mixing_is_drawn_from_beta():
    # One pixel of 1 in a field of 0: what is left of it is lambda.
    x = torch.zeros(4000, 1, 1, 8, 8)
    x[..., 2, 2] = 1
    boxes = torch.tensor([2 / 8, 2 / 8, 3 / 8, 3 / 8]).expand(4000, 1, 4)
    mixture = (
        KINDS["mixup"]()
        .alter(Sample(x, x.clone(), boxes), TorchRandom(rng()))
        .x[..., 2, 2]
        .flatten()
    )
    weights = mixture[mixture < 1]  # elsewhere the other place was this one
    assert weights.mean() == pytest.approx(0.5, abs=0.03)
    assert weights.var() == pytest.approx(0.25 / (2 * 0.4 + 1), abs=0.01)


def test_training_goes_on_after_a_stop_with_the_same_bits(data, tmp_path, monkeypatch):
    settings = settings_of(epochs=2, batch_size=3)
    whole = fit(settings, data, tmp_path / "whole", progress=False)
    folder, start = tmp_path / "stopped", Draws.start

    def killed(self, epoch):
        start(self, epoch)
        if epoch == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Draws, "start", killed)
    with pytest.raises(KeyboardInterrupt):
        fit(settings, data, folder, progress=False)
    monkeypatch.undo()
    second_run = fit(settings, data, folder, progress=False)
    assert second_run.steps_now < len(second_run.history["step"])
    one, two = whole.model.state_dict(), second_run.model.state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert torch.isfinite(one["means"]).all() and (one["deviations"] > 0).all()


def test_one_indicator_alone_learns_what_it_learns_beside_the_other(data):
    both = fit(settings_of(p_s=0.0, p_t=0.0), data, progress=False)
    values = {"indicators": "motion", "score": "flow error"}
    alone = fit(settings_of(p_s=0.0, p_t=0.0, **values), data, progress=False)
    assert np.isnan(alone.history["appearance"]).all()
    assert np.allclose(alone.history["motion"], both.history["motion"], rtol=1e-5)


def test_a_run_is_scored_and_recorded_with_the_curve_of_each_term(own_folders, data):
    settings = settings_of()
    run = fit(settings, data, settings.run_folder, progress=False)
    record = pipeline.score(settings, data, run, progress=False)
    assert {name.split("/")[0] for name in record.terms} == {"psnr", "flow error"}
    means, deviations = (
        [values[SCALED.index(t)] for t in ("psnr", "flow error")]
        for values in (run.model.means.tolist(), run.model.deviations.tolist())
    )
    for name, scores in record.scores.items():
        assert len(scores) == len(data.testing[name])
        parts = [record.terms[f"{term}/{name}"] for term in ("psnr", "flow error")]
        expected = sum((p - m) / d for p, m, d in zip(parts, means, deviations, strict=True))
        assert np.allclose(scores, expected, rtol=1e-3, atol=1e-3)
    again = pipeline.score(settings, data, load_run(settings.run_folder), progress=False)
    assert all(np.array_equal(again.scores[name], record.scores[name]) for name in record.scores)


def test_held_out_clips_keep_the_curve_of_each_term(own_folders, data):
    settings = settings_of(held_out=1, temporal=8)
    record = pipeline.score(settings, data, fit(settings, data, progress=False), progress=False)
    names = {f"{term}/{name}" for term in ("psnr", "flow error") for name in record.scores}
    assert set(record.terms) == names
    longer = settings_of(held_out=1)
    with pytest.raises(DDLError, match="held-out clip 'skipped frames.* has 16 frames; expected"):
        pipeline.score(longer, data, fit(longer, data, progress=False), progress=False)


@pytest.mark.parametrize("stride", [1, 3, 4])
@pytest.mark.parametrize("length", [17, 18, 20])
def test_a_stream_gives_the_scores_of_the_clip(data, stride, length):
    settings = settings_of(window_stride=stride)
    scorer = UnifiedScorer(new_run(settings))
    clip = data.testing["01"][:length]
    expected = scorer.clip(clip).scores
    for first in (0, length):  # a second clip after the first
        answers = [scorer.push(frame) for frame in clip]
        answers = [a for answer in answers if answer for a in answer.each()]
        answers += [a for answer in scorer.finish() for a in answer.each()]
        assert [a.index for a in answers] == list(range(first, first + length))
        assert np.allclose([a.score for a in answers], expected, rtol=1e-3)


def test_flow_that_is_given_is_scored_as_flow_that_is_computed(data):
    scorer, clip = UnifiedScorer(new_run(settings_of())), data.testing["01"]
    beside = {"flow": data.companion("flow-dis", "testing")["01"]}
    with_companion, without_companion = scorer.clip(clip, companions=beside), scorer.clip(clip)
    assert np.allclose(with_companion.scores, without_companion.scores, rtol=1e-3)


def test_each_term_sees_the_middle_frame_and_its_field(data):
    settings = settings_of()
    run = new_run(settings)
    scorer, clip = UnifiedScorer(run), data.testing["01"]
    flow, t = data.companion("flow-dis", "testing")["01"], 11
    window = slice(t - 8, t + 8)
    model = scorer.model
    with torch.no_grad():
        x = (
            torch.from_numpy(clip[window] / np.float32(255))
            .expand(-1, 3, -1, -1)
            .transpose(0, 1)[None]
        )
        frame = ((model.rebuild_frames(x) - x)[0, :, 8] * 2).square().mean()
        field = model.flow_input(torch.from_numpy(flow[window]).transpose(0, 1)[None])
        error = (model.a_t(field) - field)[0, :, 8].square().mean()
    terms = scorer.clip(clip, companions={"flow": flow}).terms
    assert terms["psnr"][t] == pytest.approx(10 * float(frame.log10()), rel=1e-4)
    assert terms["flow error"][t] == pytest.approx(float(error), rel=1e-4)


def test_a_copied_run_watches_and_gives_the_scores_of_the_clip(
    data, own_folders, tmp_path, monkeypatch
):
    settings = settings_of(threshold_share=0.5, batch_size=2, temporal=8)
    shutil.copytree(data.folder, settings.prepared_folder)
    own = prepared(load_prepared(settings.prepared_folder), settings)
    run = fit(settings, own, settings.run_folder, progress=False)
    make_ready(settings, own, run)
    copy = shutil.copytree(settings.run_folder, tmp_path / "copy")
    clip, frames = own.testing["01"], tmp_path / "frames"
    frames.mkdir()
    for t, frame in enumerate(clip[:, 0]):
        cv2.imwrite(str(frames / f"{t:03d}.png"), frame)
    arguments = ["--run", copy, "--source", frames, "--to", tmp_path / "watched", "--no-alarms"]
    monkeypatch.setenv("DDL_RUNS", str(tmp_path / "elsewhere"))
    assert watch(list(map(str, arguments))) == 0
    expected = UnifiedScorer(run).clip(clip).scores
    assert np.allclose(read_scores(tmp_path / "watched")["score"], expected, rtol=1e-3, atol=1e-3)


def test_what_does_not_fit_is_named():
    with pytest.raises(DDLError, match="temporal is 3; expected a multiple of 8"):
        method_of(settings_of(temporal=3))
    with pytest.raises(
        DDLError, match="the term 'flow error' needs flow, which method ddl does not"
    ):
        method_of(load_profile("tiny", score="flow error"))
    with pytest.raises(DDLError, match="did you mean 'motion'"):
        settings_of(indicators="motoin")


def test_bfloat16_is_used_on_a_cpu_only_where_it_is_asked_for(monkeypatch):
    monkeypatch.delenv("DDL_PRECISION", raising=False)
    assert STPA().precision(settings_of(device="cpu")) == "float32"
    assert STPA().precision(settings_of(device="cpu", precision="bfloat16")) == "bfloat16"
