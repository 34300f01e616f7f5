"""The generated walkway is not trivial: what simple scores reach on it under `demo`."""

import pytest

from ddllib import load_profile, pipeline
from ddllib.experiments.baselines import UNTRAINED, baseline_settings

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DDL_RUNS", str(tmp_path_factory.mktemp("runs")))
        yield load_profile("demo", mode="none")


@pytest.fixture(scope="module")
def data(settings):
    return pipeline.prepare(settings, progress=False)


def auc(settings, data):
    run = pipeline.train(settings, data, progress=False)
    return pipeline.score(settings, data, run, progress=False).auc(settings.protocol)


def test_the_objects_of_nearly_every_window_are_found(data):
    assert data.manifest["coverage"] > 0.9


@pytest.mark.parametrize("name", ["frame difference", UNTRAINED])
def test_what_learns_nothing_does_not_solve_it(name, data, settings):
    assert auc(baseline_settings(settings)[name], data) <= 0.75


def test_reconstruction_alone_learns_something_but_does_not_solve_it(data, settings):
    assert 0.55 <= auc(settings, data) <= 0.9
