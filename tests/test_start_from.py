"""Training that begins with another run's weights: quicker, part of the identity, same model."""

import dataclasses

import numpy as np
import pytest
import torch

from ddllib import DDLError, fit, pipeline
from ddllib.experiments.baselines import baseline_name
from ddllib.training import begin_with, new_run


@pytest.fixture
def trained(small_settings, small_data):
    settings = small_settings(epochs=3)
    return settings, fit(settings, small_data, settings.run_folder, progress=False)


def same(one, other):
    pairs = zip(one.model.state_dict().values(), other.model.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_training_begins_with_the_weights_and_l_of_the_other_run(
    trained, small_settings, small_data
):
    settings, first = trained
    run = new_run(small_settings())
    begin_with(run, settings.run_folder)
    assert same(run, first) and torch.equal(run.creator.l, first.creator.l)
    name = f"tiny/{settings.run_folder.name}"
    scratch = fit(small_settings(epochs=1), small_data, progress=False)
    again = fit(small_settings(epochs=1, start_from=name), small_data, progress=False)
    loss = "reconstruction"
    assert again.history[loss][0] < 0.8 * scratch.history[loss][0]
    assert not same(again, first)


def test_without_an_epoch_the_other_run_is_scored_as_it_is(trained, small_settings, small_data):
    settings, first = trained
    unchanged = small_settings(epochs=0, start_from=str(settings.run_folder))
    run = pipeline.train(unchanged, small_data, progress=False)
    assert same(run, first)
    record = pipeline.score(unchanged, small_data, run, progress=False)
    assert record.is_trained and baseline_name(record) is None
    scores = pipeline.score(settings, small_data, first, progress=False).scores
    assert all(np.array_equal(record.scores[name], scores[name]) for name in scores)


def test_a_resumed_run_does_not_begin_anew(trained, small_settings, small_data):
    start = str(trained[0].run_folder)
    settings = small_settings(epochs=2, start_from=start)
    whole = fit(settings, small_data, settings.run_folder, progress=False)
    taken_up = fit(settings, small_data, settings.run_folder, progress=False)
    assert taken_up.steps_now == 0 and same(whole, taken_up)


def test_the_start_is_part_of_what_a_run_is(trained, small_settings, small_data, capsys):
    first, _ = trained
    settings = small_settings(epochs=1, start_from=f"tiny/{first.run_folder.name}")
    assert settings.run_folder != small_settings(epochs=1).run_folder
    pipeline.train(settings, small_data, progress=False)
    assert pipeline.train(settings, small_data, progress=False).steps_now == 0
    for path in first.run_folder.iterdir():
        path.unlink()
    fit(dataclasses.replace(first, seed=5), small_data, first.run_folder, progress=False)
    assert pipeline.train(settings, small_data, progress=False).steps_now > 0
    assert "had another start_from" in capsys.readouterr().out


def test_weights_of_another_model_and_a_folder_of_none_are_refused(
    trained, small_settings, small_data, tmp_path
):
    start = str(trained[0].run_folder)
    with pytest.raises(DDLError, match="its latent_dim is 8, that of this run 16"):
        fit(small_settings(latent_dim=16, start_from=start), small_data, progress=False)
    with pytest.raises(DDLError, match="nowhere: not found"):
        fit(small_settings(start_from="nowhere"), small_data, progress=False)
    with pytest.raises(DDLError, match="no trained run"):
        begin_with(new_run(small_settings()), tmp_path)
