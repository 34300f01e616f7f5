"""A pseudo-anomaly, a term of the score and a method more need no change elsewhere."""

import numpy as np
import pytest
import torch
from torch import nn

from data_prep import companions
from ddllib import DDLError, fit, pipeline
from ddllib.calibration import measure
from ddllib.methods import METHODS, Method, base
from ddllib.methods.base import method
from ddllib.methods.ddl import DDL
from ddllib.pseudo_anomalies import KINDS
from ddllib.pseudo_anomalies.base import Altered, PseudoAnomaly, TorchRandom, kind
from ddllib.pseudo_anomalies.mixture import make_pseudo_anomaly
from ddllib.records import read_record
from ddllib.score_terms import TERMS
from ddllib.score_terms.base import ScoreTerm, term
from ddllib.scoring import score_clip
from ddllib.streaming import StreamScorer
from ddllib.training import training_windows
from ddllib.weighted import weighted


@pytest.fixture(autouse=True)
def registries_are_restored():
    registries = [(registry, dict(registry)) for registry in (KINDS, TERMS, METHODS)]
    yield
    for registry, before in registries:
        registry.clear()
        registry.update(before)


def a_sample(small_settings, small_data, count=6, **settings):
    settings = small_settings(**settings)
    for name in DDL().companions(settings).values():
        companions.make(small_data.folder, name, progress=False)
    windows = training_windows(settings, small_data)
    indices = torch.arange(count)
    return windows.sample(indices, windows.draw(indices, torch.Generator().manual_seed(0)))


def black(sample):
    return Altered(sample.x * (1 - sample.mask), sample.mask)


def test_a_new_pseudo_anomaly_trains_a_run_by_its_name(small_settings, small_data):
    @kind("black object")
    class BlackObject(PseudoAnomaly):
        def alter(self, sample, random):
            return black(sample)

    settings = small_settings(pseudo_anomaly="black object", epochs=1)
    assert "pseudo_anomaly-black object" in settings.run_folder.name
    run = fit(settings, small_data, progress=False)
    assert type(run.pseudo_anomaly) is BlackObject
    assert all(np.isfinite(run.history["distinction"])) and np.isnan(run.history["sigma"]).all()


@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_kind_keeps_shape_and_range_and_alters_within_its_mask(
    small_settings, small_data, name
):
    sample = a_sample(small_settings, small_data, pseudo_anomaly=name)
    anomaly = KINDS[name].from_settings(small_settings())
    x, mask = anomaly.alter(sample, TorchRandom(torch.Generator().manual_seed(0)))
    assert x.shape == sample.x.shape and mask.shape == sample.mask.shape
    assert x.min() >= 0 and x.max() <= 1 + 1e-6 and mask.any()
    outside = (mask == 0).expand_as(x)
    assert torch.allclose(x[outside], sample.x[outside])
    assert (x != sample.x).any()


def test_a_mixture_draws_one_kind_for_each_window(small_settings, small_data):
    sample = a_sample(small_settings, small_data)
    settings = small_settings(pseudo_anomaly="0.5 noise + 0.5 repeated frames")
    mixture = make_pseudo_anomaly(settings)
    x, mask = mixture.alter(sample, TorchRandom(torch.Generator().manual_seed(1)))
    whole = mask.flatten(1).mean(dim=1) == 1
    assert whole.any() and not whole.all()
    assert not mixture.needs_object and float(mixture.anomaly_weight.detach()) == 0.5
    x.sum().backward()
    assert mixture.kinds[0].l.grad is not None
    run = fit(settings, small_data, progress=False)
    assert len(set(run.history["sigma"])) > 1


def test_a_new_term_counts_by_its_weight_and_has_a_curve(small_settings, small_data):
    @term("brightness")
    class Brightness(ScoreTerm):
        def maps(self, frames, reconstructions):
            return frames.mean(dim=1)

    plain = small_settings()
    both = small_settings(score="distance + 0.5 brightness")
    run = fit(plain, small_data, progress=False)
    one = pipeline.score(plain, small_data, run, progress=False)
    two = pipeline.score(both, small_data, run, progress=False)
    assert one.folder != two.folder and not one.terms
    again = read_record(two.folder)
    for name, scores in two.scores.items():
        curves = {
            term_name: again.terms[f"{term_name}/{name}"]
            for term_name in ("distance", "brightness")
        }
        assert np.allclose(curves["distance"], one.scores[name])
        assert np.allclose(scores, curves["distance"] + 0.5 * curves["brightness"])
        assert len(curves["brightness"]) == len(small_data.testing[name])


class Mean(nn.Module):
    """Rebuilds frame 2 of four as their mean, which it may shift."""

    temporal, channels = 4, 3

    def __init__(self):
        super().__init__()
        self.shift = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        windows = x.unfold(2, self.temporal, 1).mean(dim=-1)
        frames = windows.transpose(1, 2)
        return torch.sigmoid(
            self.shift(frames.flatten(0, 1)).unflatten(0, frames.shape[:2]).transpose(1, 2).float()
        )


def a_toy_method():
    @method("toy")
    class Toy(Method):
        curves = ("brightness",)

        def window(self, settings):
            return Mean.temporal

        def build(self, settings):
            return {"model": Mean()}

        def loss(self, run, sample, rng):
            rebuilt = run.quick["model"](sample.x)[:, :, 0]
            target = sample.x[:, :, Mean.temporal // 2]
            return {"total": (rebuilt - target).square().mean(), "brightness": rebuilt.mean()}

    return Toy


def test_a_new_method_of_even_t_is_trained_scored_and_watched(small_settings, small_data):
    a_toy_method()
    settings = small_settings(method="toy", temporal=4, epochs=3, learning_rate=0.05)
    assert settings.run_folder.name.startswith("toy-seed0")
    run = pipeline.train(settings, small_data, progress=False)
    assert run.history["total"][-1] < run.history["total"][0]
    assert len(run.history["brightness"]) == len(run.history["total"])
    assert pipeline.train(settings, small_data, progress=False).steps_now == 0
    record = pipeline.score(settings, small_data, run, progress=False)
    for name, clip in small_data.testing.items():
        scorer = base.method_of(settings).scorer(run)
        assert (scorer.before, scorer.delay) == (2, 1) and type(scorer) is StreamScorer
        results = [scorer.push(frame) for frame in clip]
        answers = [one for s in [*results, *scorer.finish()] if s for one in s.each()]
        assert [one.index for one in answers] == list(range(len(clip)))
        assert np.allclose([one.score for one in answers], record.scores[name], atol=1e-5)
        assert np.allclose(score_clip(run.model, clip, settings.patch_size), record.scores[name])


def test_unknown_names_are_reported_with_those_there_are(small_settings):
    for changes, words in (
        ({"pseudo_anomaly": "nois"}, "nois.*did you mean 'noise'"),
        ({"score": "ssim + psnr"}, "ssim.*expected some of distance"),
        ({"score": "0 distance"}, "weight above 0"),
    ):
        with pytest.raises(DDLError, match=words):
            small_settings(**changes)
    with pytest.raises(DDLError, match="method is 'dll'; expected one of .*ddl"):
        pipeline.prepare(small_settings(method="dll"))
    with pytest.raises(DDLError, match="temporal is 4 and frame_step 1.*no middle one"):
        pipeline.prepare(small_settings(temporal=4))
    with pytest.raises(DDLError, match="'noise' is taken"):
        kind("noise")(PseudoAnomaly)


def test_a_class_that_lacks_what_its_base_asks_for_is_not_registered():
    with pytest.raises(DDLError, match="derives from PseudoAnomaly"):
        kind("underived")(object)
    with pytest.raises(DDLError, match="has no method alter; expected one, see PseudoAnomaly"):
        kind("empty")(type("Empty", (PseudoAnomaly,), {}))
    with pytest.raises(DDLError, match="has no method maps or judge"):
        term("empty")(type("Empty", (ScoreTerm,), {}))
    with pytest.raises(DDLError, match="has no method build"):
        method("empty")(type("Empty", (Method,), {}))
    assert not {"underived", "empty"} & (KINDS.keys() | TERMS.keys() | METHODS.keys())


@pytest.mark.parametrize(
    "answer, words",
    [
        (lambda x, mask: (x, mask), r"gives tuple; expected Altered\(x, mask\)"),
        (lambda x, mask: Altered(x[:, :, :2], mask), "gives x and mask of"),
        (lambda x, mask: Altered(x, mask[:, :, 0]), "gives x and mask of"),
    ],
    ids=["no Altered", "another x", "another mask"],
)
def test_a_pseudo_anomaly_of_another_shape_is_reported(small_settings, small_data, answer, words):
    class Wrong(PseudoAnomaly):
        def alter(self, sample, random):
            return answer(sample.x, sample.mask)

    with pytest.raises(DDLError, match=f"Wrong: alter {words}"):
        Wrong().alter_checked(a_sample(small_settings, small_data), TorchRandom(torch.Generator()))


def test_a_term_whose_maps_are_not_as_large_as_frames_is_reported():
    class Narrow(ScoreTerm):
        def maps(self, frames, reconstructions):
            return (frames - reconstructions).mean(dim=1)[..., 1:]

    frames = torch.zeros(2, 3, 32, 32)
    with pytest.raises(DDLError, match=r"maps of Narrow gives \(2, 32, 31\).*\(2, 32, 32\)"):
        Narrow().judge(frames, frames, 8)


@pytest.mark.parametrize("constant", [0, -1.0, np.nan, np.inf])
def test_a_term_cannot_measure_a_constant_that_does_not_divide(
    small_settings, small_data, constant
):
    @term("measured")
    class Measured(ScoreTerm):
        needs_footage = True

        def maps(self, frames, reconstructions):
            return (frames - reconstructions).abs().mean(dim=1)

        def measure(self, frames, patch, ignore):
            return constant

    settings = small_settings(score="measured")
    scorer = base.method_of(settings).scorer(fit(settings, small_data, progress=False))
    with pytest.raises(DDLError, match="Measured measures.*expected a number above 0"):
        measure(scorer, small_data.training)
    del Measured.measure
    with pytest.raises(DDLError, match="has needs_footage, but no method measure"):
        measure(scorer, small_data.training)


@pytest.mark.parametrize(
    "name, replacement, words",
    [
        ("build", lambda self, settings: {"net": Mean()}, "no model with temporal and channels"),
        ("build", lambda self, settings: Mean(), "no model with temporal and channels"),
        ("window", lambda self, settings: 3, "has temporal 4, its window is 3"),
        ("curves", (), "gives brightness, which its curves do not name"),
        ("loss", Method.loss, "has no method loss"),
        ("loss", lambda self, run, sample, rng: torch.zeros(()), "no dict with a total"),
        ("loss", lambda self, run, sample, rng: {"total": 1.0}, "total as no scalar tensor"),
        ("loss", lambda self, run, sample, rng: run.pseudo_anomaly, "builds no pseudo_anomaly"),
    ],
)
def test_what_a_method_lacks_is_reported(small_settings, small_data, name, replacement, words):
    setattr(a_toy_method(), name, replacement)
    with pytest.raises(DDLError, match=f"method toy: .*{words}"):
        fit(small_settings(method="toy"), small_data, progress=False)


def test_weights_are_read_from_text():
    names = ("noise", "noise 0.2", "skipped frames")
    text = "0.7 noise + 2e-1 noise 0.2 + skipped frames"
    weights = weighted("pseudo_anomaly", text, names, "kinds")
    assert weights == {"noise": 0.7, "noise 0.2": 0.2, "skipped frames": 1}
