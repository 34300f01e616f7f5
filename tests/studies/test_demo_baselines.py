"""The generated walkway is not trivial: what simple scores reach on it under `demo`."""

import pytest

from ddllib import evaluate, load_profile, pipeline, score_clip
from ddllib.experiments.baselines import frame_difference_scores
from ddllib.training import new_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DDL_RUNS", str(tmp_path_factory.mktemp("runs")))
        yield load_profile("demo", mode="none")


@pytest.fixture(scope="module")
def data(settings):
    return pipeline.prepare(settings, progress=False)


def auc(scores, data, settings):
    return evaluate(scores, data.labels, settings.protocol).auc


def test_the_objects_of_nearly_every_window_are_found(data):
    assert data.manifest["coverage"] > 0.9


def test_frame_difference_does_not_solve_it(data, settings):
    side = settings.patch_size
    scores = {n: frame_difference_scores(c, side) for n, c in data.testing.items()}
    assert auc(scores, data, settings) <= 0.75


def test_an_untrained_network_does_not_solve_it(data, settings):
    model = new_run(settings).model
    scores = {n: score_clip(model, c, settings.patch_size) for n, c in data.testing.items()}
    assert auc(scores, data, settings) <= 0.75


def test_reconstruction_alone_learns_something_but_does_not_solve_it(data, settings):
    record = pipeline.score(
        settings, data, pipeline.train(settings, data, progress=False), progress=False
    )
    assert 0.55 <= record.auc(settings.protocol) <= 0.9
