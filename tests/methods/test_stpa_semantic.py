"""The third indicator of STPA: D is trained on features, scores, streams and is recorded."""

import numpy as np
import pytest
import torch
from torch import nn

from data_prep import companions
from ddllib import DDLError, fit, pipeline
from ddllib.evaluation import evaluate_lntra
from ddllib.experiments.unified import unified
from ddllib.features import EXTRACTORS
from ddllib.features.base import FeatureExtractor, extractor
from ddllib.methods import method_of, stpa_semantic
from ddllib.methods.stpa_scorer import UnifiedScorer
from ddllib.methods.stpa_semantic import pairs
from ddllib.models.spatio_temporal import SCALED
from ddllib.random_state import Draws
from ddllib.records import read_record
from ddllib.settings import load_profile
from ddllib.training import load_run, new_run, training_windows

ALL = "appearance + motion + semantic"
SCORE = "psnr + flow error + semantic"
GRID = 4  # means of a frame, a side


@pytest.fixture(autouse=True)
def grid_of_means():
    """An extractor of its own, for speed: what is there by name is found by ``features``."""

    @extractor("grid of means")
    class GridOfMeans(FeatureExtractor):
        dimension = GRID * GRID
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)

        def default_weights(self):
            return None

        def load(self, path):
            return nn.Sequential(nn.AdaptiveAvgPool2d(GRID), nn.Flatten(2))

        def describe(self, x):
            return self.network(x).mean(dim=1)

    yield GridOfMeans
    del EXTRACTORS["grid of means"]


def settings_of(**changed):
    values = {"indicators": ALL, "score": SCORE, "features": "grid of means", **changed}
    return load_profile("stpa-tiny", **values)


@pytest.fixture
def data(small_data, tmp_path, monkeypatch):
    monkeypatch.setenv("DDL_RUNS", str(tmp_path / "runs"))
    method, settings = method_of(settings_of()), settings_of()
    for split, names in (
        ("training", method.companions(settings)),
        ("testing", method.scoring_companions(settings)),
    ):
        for name in names.values():
            companions.make(small_data.folder, name, split, progress=False)
    return small_data


def weights_of(run):
    return run.model.state_dict()


@pytest.fixture
def run(data):
    return fit(settings_of(), data, settings_of().run_folder, progress=False)


@pytest.mark.parametrize("moment", ["before it", "while it learns"])
def test_a_stop_leaves_the_same_bits(data, run, tmp_path, monkeypatch, moment):
    def killed(*arguments):
        raise KeyboardInterrupt

    place = (Draws, "start") if moment == "before it" else (stpa_semantic, "descend")
    start = Draws.start
    at_last = {"start": lambda self, epoch: killed() if epoch else start(self, epoch)}
    monkeypatch.setattr(*place, at_last.get(place[1], killed))
    folder = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        fit(settings_of(), data, folder, progress=False)
    monkeypatch.undo()
    second_run = fit(settings_of(), data, folder, progress=False)
    one, two = weights_of(run), weights_of(second_run)
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_it_leaves_what_the_autoencoders_learn_alone(data, run):
    without = fit(settings_of(indicators="appearance + motion", score="psnr"), data, progress=False)
    with_it = weights_of(run)
    assert all(
        torch.equal(value, with_it[n])
        for n, value in weights_of(without).items()
        if n != "means" and n != "deviations"
    )
    assert "discriminator.layers.0.weight" in with_it.keys() - weights_of(without).keys()


def test_its_answers_for_normal_windows_scale_its_term(data, run):
    place = SCALED.index("semantic")
    mean, deviation = float(run.model.means[place]), float(run.model.deviations[place])
    windows = training_windows(settings_of(), data)
    rng = torch.Generator().manual_seed(0)
    numbers = torch.arange(len(windows))
    normal, _ = pairs(run, windows, numbers, stpa_semantic.extractor_of(run), rng)
    with torch.no_grad():
        answers = run.model.discriminator.probability(normal[-round(len(normal) / 5) :])
    assert mean == pytest.approx(float(answers.mean()), rel=1e-4)
    assert deviation == pytest.approx(float(answers.std(correction=0)), rel=1e-3)


@pytest.mark.parametrize("of", ["window", "frame"])
def test_a_pair_is_a_window_and_the_same_window_altered(data, grid_of_means, of):
    settings = settings_of(features_of=of)
    own_run, windows = new_run(settings), training_windows(settings, data)
    rng = torch.Generator().manual_seed(0)
    normal, altered = pairs(own_run, windows, torch.tensor([0]), grid_of_means(), rng)
    frames = torch.from_numpy(np.array(data.training["01"][:16])) / 255
    painted = torch.from_numpy(np.array(data.companion("inpainted-telea-boxes")["01"][:16])) / 255
    for features, pictures in ((normal, frames), (altered, painted)):
        each = grid_of_means()(pictures)
        expected = each.mean(0) if of == "window" else each[8]
        assert torch.allclose(features[0], expected, atol=1e-5)
    assert not torch.allclose(normal, altered, atol=1e-3)


def test_windows_that_are_not_altered_do_not_count(data, grid_of_means):
    settings = settings_of()
    windows = training_windows(settings, data)
    windows.boxes[1:4] = [[]] * 3
    own_run, rng = new_run(settings), torch.Generator().manual_seed(0)
    normal, altered = pairs(own_run, windows, torch.arange(6), grid_of_means(), rng)
    assert len(normal) == len(altered) == 3
    windows.boxes = [[]] * len(windows)
    with pytest.raises(DDLError, match="'inpainted object' alters 0 training windows"):
        stpa_semantic.train_discriminator(own_run, windows, torch.arange(6))


def test_a_run_is_scored_by_all_three_and_says_what_d_learnt(data, run):
    settings = settings_of()
    data.labels = {name: np.arange(20) >= 11 for name in data.labels}
    record = pipeline.score(settings, data, run, progress=False)
    assert {name.split("/")[0] for name in record.terms} == {"psnr", "flow error", "semantic"}
    assert record.facts["trained"]["discriminator"] == run.model.discriminator.facts
    terms = dict.fromkeys(("psnr", "flow error", "semantic"))
    for term in terms:
        terms[term] = {clip: record.terms[f"{term}/{clip}"] for clip in record.scores}
        assert all(len(c) == len(data.testing[clip]) for clip, c in terms[term].items())
    assert all((0 <= curve).all() and (curve <= 1).all() for curve in terms["semantic"].values())
    again = pipeline.score(settings, data, load_run(settings.run_folder), progress=False)
    assert all(np.array_equal(again.scores[name], record.scores[name]) for name in record.scores)
    expected = evaluate_lntra(terms, dict.fromkeys(terms, 1.0), data.labels).auc
    assert record.auc("lntra") == unified([read_record(record.folder)]).auc == expected


@pytest.mark.parametrize("of", ["window", "frame"])
def test_the_term_is_ds_answer_for_the_features_of_the_window(data, of):
    settings = settings_of(features_of=of)
    own_run = new_run(settings)
    terms = UnifiedScorer(own_run).clip(data.testing["01"]).terms["semantic"]
    t, reader = 11, stpa_semantic.extractor_of(own_run)
    features = reader(torch.from_numpy(np.array(data.testing["01"][t - 8 : t + 8])) / 255)
    feature = features.mean(0) if of == "window" else features[8]
    with torch.no_grad():
        expected = own_run.model.discriminator.eval().probability(feature[None])
    assert terms[t] == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("stride, length", [(1, 17), (1, 20), (3, 20)])
@pytest.mark.parametrize("score", [SCORE, "semantic"])
def test_a_stream_gives_the_scores_of_the_clip(data, run, stride, length, score):
    settings = settings_of(window_stride=stride, score=score)
    scorer = method_of(settings).scorer(pipeline.with_settings(run, settings))
    clip = data.testing["01"][:length]
    expected = scorer.clip(clip).scores
    assert length == 17 or expected.std() > 0
    for first in (0, length):  # a second clip after the first
        answers = [scorer.push(frame) for frame in clip]
        answers = [a for answer in answers if answer for a in answer.each()]
        answers += [a for answer in scorer.finish() for a in answer.each()]
        assert [a.index for a in answers] == list(range(first, first + length))
        assert np.allclose([a.score for a in answers], expected, rtol=1e-3, atol=1e-4)


def test_the_scorers_identity_depends_on_d(run):
    before = UnifiedScorer(run).identity
    run.model.discriminator.layers[0].weight.data += 1
    assert UnifiedScorer(run).identity != before


def test_other_weights_of_the_extractor_are_refused(data, run):
    run.model.discriminator.source += 1
    with pytest.raises(DDLError, match="other weights"):
        UnifiedScorer(run)
    plain = pipeline.with_settings(run, settings_of(score="psnr"))
    assert UnifiedScorer(plain).clip(data.testing["01"]).scores.std() > 0  # needs no features


def test_weights_that_are_missing_are_reported_before_training(data):
    settings = settings_of(features="vifi-clip")
    with pytest.raises(DDLError, match="vifi-clip.*feature_weights"):
        fit(settings, data, settings.run_folder, progress=False)
    assert not settings.run_folder.exists()


def test_the_stand_in_trains_a_run_by_its_name(data, capsys):
    settings = settings_of(features="efficientnet-lite0", features_of="frame")
    trained = fit(settings, data, progress=False)
    assert "efficientnet-lite0" in capsys.readouterr().out
    facts = method_of(settings).facts(trained)["discriminator"]
    assert 0 <= facts["accuracy"] <= 1 and facts["spread"] > 0


def test_without_pseudo_anomalies_there_is_no_d():
    settings = settings_of(score="0.25 semantic + psnr+0.5 flow error")
    plain = method_of(settings).without_pseudo_anomalies(settings)
    assert (plain.indicators, plain.score) == ("appearance + motion", "psnr + 0.5 flow error")
    assert "discriminator.source" not in new_run(plain).model.state_dict()
    assert method_of(plain).scoring_companions(plain) == {"flow": "flow-dis"}


def test_what_does_not_fit_is_named():
    for values, words in (
        ({"indicators": "semantic", "score": "semantic"}, "expected appearance or motion"),
        ({"indicators": "appearance", "score": "semantic"}, "needs the indicator semantic"),
        ({"channels": 2}, "channels is 2"),
    ):
        with pytest.raises(DDLError, match=words):
            method_of(settings_of(**values))
    with pytest.raises(DDLError, match="features is 'resnet'; expected one of .*vifi-clip"):
        settings_of(features="resnet")
    with pytest.raises(DDLError, match="semantic.*which method ddl does not have"):
        method_of(load_profile("tiny", score="semantic"))
