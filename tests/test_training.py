"""Training: modes, logging, seeds, resuming, and what stops it."""

import math
import os
import signal
from dataclasses import replace

import pandas as pd
import pytest
import torch
from support.windows import a_sample

from ddllib import DDLError, checkpoints, fit, training
from ddllib.devices import can_compile
from ddllib.experiments.after_training import mean_distances
from ddllib.methods import ddl
from ddllib.methods.ddl import batch_loss
from ddllib.random_state import Draws
from ddllib.training import new_run
from ddllib.windows import Windows

CURVES = ["step", "epoch", "total", "reconstruction", "distinction", "p", "q", "sigma"]
CURVES += ["learning_rate"]


def weights(run):
    return torch.cat([p.detach().flatten() for p in run.model.parameters()])


def test_ddl_learns_sigma_and_logs_every_term_of_every_step(small_settings, small_data):
    run = fit(small_settings(), small_data, progress=False)
    steps = 2 * math.ceil(2 * (20 - 2) / 10)
    assert all(len(curve) == steps for curve in run.history.values())
    assert list(run.history) == CURVES
    assert all(math.isfinite(v) for values in run.history.values() for v in values)
    # A row holds the sigma that its terms were computed with: the first is the start, 0.5.
    assert run.history["sigma"][0] == 0.5 and len(set(run.history["sigma"])) > steps // 2
    for total, recon, dist in zip(
        *(run.history[k] for k in ("total", "reconstruction", "distinction")), strict=True
    ):
        assert total == pytest.approx(recon + 0.01 * dist, rel=1e-5)


def test_sigma_may_learn_at_a_rate_of_its_own(small_settings, small_data):
    distances = {
        rate: abs(
            fit(small_settings(sigma_learning_rate=rate), small_data, progress=False).history[
                "sigma"
            ][-1]
            - 0.5
        )
        for rate in (1e-4, 1e-2, None)
    }
    assert 0 < distances[1e-4] < distances[1e-2] / 10
    assert distances[None] == distances[1e-2]  # the same rate as the weights


def test_shared_noise_is_equal_in_all_channels(small_settings):
    outputs = {}
    for noise in ("per_channel", "shared"):
        run = new_run(small_settings(noise=noise))
        x, mask = torch.full((1, 3, 3, 32, 32), 0.5), torch.ones(1, 1, 3, 32, 32)
        run.creator.register_forward_hook(lambda *args, name=noise: outputs.update({name: args[2]}))
        batch_loss(run, a_sample(x, mask), torch.Generator().manual_seed(0))
    assert (outputs["shared"][:, 0] == outputs["shared"][:, 1]).all()
    assert (outputs["per_channel"][:, 0] != outputs["per_channel"][:, 1]).float().mean() > 0.99
    assert outputs["shared"].std() > 0.1


@pytest.mark.slow
def test_a_compiled_model_ends_near_the_plain_one(small_settings, small_data):
    if not can_compile(torch.device("cpu")):
        pytest.skip("no C++ compiler")
    few = {"model": "unet", "mode": "none", "batch_size": 16}  # an epoch's last has but eight
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    plain = fit(small_settings(**few), small_data, progress=False)
    compiled = fit(small_settings(**few, compile=True), small_data, progress=False)
    a, b = plain.history["total"], compiled.history["total"]
    assert a[0] == pytest.approx(b[0], rel=1e-4) and a[-1] == pytest.approx(b[-1], rel=0.05)
    assert list(compiled.model.state_dict()) == list(plain.model.state_dict())
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


def test_training_goes_on_where_compiling_does_not_work(
    small_settings, small_data, monkeypatch, capsys
):
    def broken(function):
        raise RuntimeError("no compiler\nand more")

    can_compile.cache_clear()
    monkeypatch.setattr(torch, "compile", broken)
    assert fit(small_settings(compile=True), small_data, progress=False).epoch == 2
    output = capsys.readouterr().out
    assert "going on without: no compiler" in output and "and more" not in output
    can_compile.cache_clear()


def test_sdl_keeps_sigma_at_half(small_settings, small_data):
    run = fit(small_settings(mode="sdl"), small_data, progress=False)
    assert set(run.history["sigma"]) == {0.5}
    assert all(v > 0 for v in run.history["distinction"])


def test_none_has_the_reconstruction_loss_alone(small_settings, small_data):
    run = fit(small_settings(mode="none"), small_data, progress=False)
    assert run.history["total"] == run.history["reconstruction"]
    assert all(math.isnan(v) for v in run.history["distinction"] + run.history["sigma"])


@pytest.mark.parametrize("model", ["c3dsu", "unet"])
def test_training_lowers_the_loss(small_settings, small_data, model):
    run = fit(small_settings(model=model, epochs=9), small_data, progress=False)
    losses = run.history["reconstruction"]
    assert sum(losses[-4:]) < 0.6 * sum(losses[:4])


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(small_settings, small_data):
    first, again = (fit(small_settings(), small_data, progress=False) for _ in range(2))
    assert torch.equal(weights(first), weights(again)) and first.history == again.history
    other = fit(small_settings(seed=1), small_data, progress=False)
    assert not torch.equal(weights(first), weights(other))


def test_the_callers_random_state_is_left_alone(small_settings, small_data):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fit(small_settings(), small_data, progress=False)
    assert torch.equal(torch.rand(3), expected)


def test_a_run_stopped_within_an_epoch_ends_as_one_that_was_not(
    small_settings, small_data, tmp_path, monkeypatch
):
    settings = small_settings(epochs=3)
    whole = fit(settings, small_data, progress=False)
    step, steps = training.train_step, []

    def interrupted_in_the_sixth(*args):
        steps.append(args)
        if len(steps) == 6:  # the second of the second epoch
            os.kill(os.getpid(), signal.SIGINT)
        return step(*args)

    monkeypatch.setattr(training, "train_step", interrupted_in_the_sixth)
    with pytest.raises(KeyboardInterrupt):
        fit(settings, small_data, tmp_path, progress=False)
    assert len(steps) == 6  # the step was finished, and no other begun
    second_run = fit(settings, small_data, tmp_path, progress=False)
    assert second_run.steps_now == len(second_run.history["step"]) - 6
    assert torch.equal(weights(whole), weights(second_run))
    assert whole.history == second_run.history
    assert float(whole.creator.l.detach()) == float(second_run.creator.l.detach())


def test_long_epochs_leave_checkpoints_on_the_way(
    small_settings, small_data, tmp_path, monkeypatch
):
    calls, save = [], training.checkpoints.save
    monkeypatch.setattr(training, "KEEP_SECONDS", 0)
    monkeypatch.setattr(
        training.checkpoints, "save", lambda *args: calls.append(save(*args)) or None
    )
    run = fit(small_settings(), small_data, tmp_path, progress=False)
    assert len(calls) == len(run.history["step"]) + run.epoch


def test_a_finished_run_is_not_trained_again(small_settings, small_data, tmp_path):
    fit(small_settings(), small_data, tmp_path, progress=False)
    assert fit(small_settings(), small_data, tmp_path, progress=False).steps_now == 0


def test_a_batchs_loss_is_written_out(small_settings, small_data):
    settings = small_settings(distinction_weight=0.5)
    run = new_run(settings)
    run.train()
    rng = torch.Generator().manual_seed(0)
    x = torch.rand(2, 3, 3, 32, 32, generator=rng)
    mask = (torch.rand(2, 1, 3, 32, 32, generator=rng) > 0.7).float()  # unlike in every frame
    terms = batch_loss(run, a_sample(x, mask), torch.Generator().manual_seed(1))

    twin = new_run(settings)
    twin.model.train()
    noise = torch.rand(x.shape, generator=torch.Generator().manual_seed(1))
    x_a = x + mask * torch.sigmoid(twin.creator.l) * (noise - x)
    y, y_a = twin.model(x)[:, :, 0], twin.model(x_a)[:, :, 0]
    norm = [
        ((a - b) ** 2).sum(1).sqrt() / 3**0.5
        for a, b in ((x[:, :, 1], y), (x[:, :, 1], y_a), (x_a[:, :, 1], y_a))
    ]
    inside = mask[:, 0, 1] > 0
    recon, p, q = norm[0].mean(), norm[1][inside], norm[2][inside]
    dist = ((p + 1e-6) / (q + 1e-6)).mean()
    expected = (recon + 0.5 * dist, recon, dist, p.mean(), q.mean())
    for term, value in zip(terms, expected, strict=True):
        assert float(term.detach()) == pytest.approx(float(value.detach()), rel=1e-4)
    terms.total.backward()
    expected[0].backward()
    assert float(run.creator.l.grad) == pytest.approx(float(twin.creator.l.grad), rel=1e-3)


def test_p_and_q_after_training_are_means_under_the_mask(small_settings, small_data):
    run = fit(small_settings(), small_data, progress=False)
    windows = training.training_windows(run.settings, small_data)
    p, q = mean_distances(run, windows)
    assert 0 < p < 1 and 0 < q < 1 and not run.model.training
    run.creator.l.data.fill_(-30.0)  # X_A is X, so both are the distance from the same frame
    p, q = mean_distances(run, windows)
    assert p == pytest.approx(q, rel=1e-5)


def test_both_passes_run_in_training_mode(small_settings, small_data):
    run = new_run(small_settings())
    run.train()
    modes = []
    block = run.quick["model"].encoder.conv_1
    norm = block.batch_norm_1
    block.register_forward_hook(lambda *_: modes.append(norm.training))
    windows = Windows(small_data.training, small_data.tracks.query("split == 'training'"), 3)
    rng = torch.Generator().manual_seed(0)
    indices = torch.arange(4)
    batch_loss(run, windows.sample(indices, windows.draw(indices, rng)), rng)
    assert modes and all(modes) and int(norm.num_batches_tracked) == 2


def test_footage_without_tracks_is_refused_but_for_plain_reconstruction(small_settings, small_data):
    small_data.tracks = pd.DataFrame(columns=small_data.tracks.columns)
    with pytest.raises(DDLError, match="no training window has a track"):
        fit(small_settings(), small_data, progress=False)
    fit(small_settings(mode="none", epochs=1), small_data, progress=False)


def test_a_loss_that_is_not_finite_stops_the_run_with_its_terms(
    small_settings, small_data, tmp_path, monkeypatch
):
    settings = small_settings()
    whole = fit(settings, small_data, progress=False)
    epoch, loss, calls = len(whole.history["step"]) // 2, ddl.batch_loss, []

    def nan_in_the_second_epoch(*args):
        calls.append(args)
        terms = loss(*args)
        wrong = terms.total * math.nan if len(calls) > epoch + 1 else terms.total
        return terms._replace(total=wrong, distinction=wrong)

    with monkeypatch.context() as patch:
        patch.setattr(ddl, "batch_loss", nan_in_the_second_epoch)
        sigma = f"{whole.history['sigma'][epoch + 1]:.4g}"
        step = f"at step {epoch + 1} "
        with pytest.raises(DDLError, match=f"{step}.*distinction nan.*, sigma {sigma}.; lower"):
            fit(settings, small_data, tmp_path / "run", progress=False)
    checkpoint = checkpoints.read(tmp_path / "run")
    assert checkpoint["parts"][-1]["epoch"] == 1 and len(checkpoint["history"]["step"]) == epoch
    second_run = fit(settings, small_data, tmp_path / "run", progress=False)
    assert second_run.steps_now == epoch and torch.equal(weights(second_run), weights(whole))


def test_no_checkpoint_is_left_of_an_l_that_is_not_finite(small_settings, small_data, tmp_path):
    wild = small_settings(sigma_learning_rate=1e300)
    with pytest.raises(DDLError, match="pseudo_anomaly are not finite .*sigma_learning_rate"):
        fit(wild, small_data, tmp_path, progress=False)
    assert not checkpoints.exists(tmp_path)


def test_a_checkpoint_before_stays_where_statistics_are_not_finite(
    small_settings, small_data, tmp_path, monkeypatch
):
    step = training.train_step

    def spoilt_in_the_second_epoch(run, *args):
        if checkpoints.exists(tmp_path):
            run.model.encoder.conv_1.batch_norm_1.running_mean.fill_(math.inf)
        return step(run, *args)

    monkeypatch.setattr(training, "train_step", spoilt_in_the_second_epoch)
    with pytest.raises(DDLError, match="of the model are not finite .*checkpoint before is kept"):
        fit(small_settings(), small_data, tmp_path, progress=False)
    assert checkpoints.read(tmp_path)["parts"][-1]["epoch"] == 1


@pytest.mark.parametrize("schedule", ["step", "one-cycle"])
@pytest.mark.slow
def test_the_learning_rate_ends_alike_where_batches_have_no_object(
    small_settings, small_data, recwarn, schedule
):
    settings = small_settings(epochs=5, batch_size=2, schedule=schedule)
    rates = {}
    for name, tracks in (("all", small_data.tracks), ("few", small_data.tracks[:4])):
        run = fit(settings, replace(small_data, tracks=tracks), progress=False)
        history = run.history
        rates[name] = dict(zip(history["epoch"], history["learning_rate"], strict=True))
        count = len(history["step"])
    assert count < len(small_data.training) * 5 * 3  # most steps were passed over
    assert rates["few"][4] == pytest.approx(rates["all"][4], abs=0.2 * settings.learning_rate)
    assert rates["few"][4] < 0.6 * max(rates["few"].values())
    assert not [w for w in recwarn if "lr_scheduler" in str(w.message)]


def test_a_run_goes_on_where_the_noise_is_drawn_on_another_device():
    here, there = Draws(20, 4, 0, "cpu"), Draws(20, 4, 0, "cpu")
    there.start(3)
    state = {**there.state_dict(), "noise": torch.zeros(16, dtype=torch.uint8)}  # as of a GPU
    here.load_state_dict({**state, "step": 2})
    assert (here.epoch, here.step) == (3, 2)
    assert all(torch.equal(a, b) for a, b in zip(here.batches, there.batches, strict=True))
    assert torch.equal(here.noise.get_state(), there.noise.get_state())
