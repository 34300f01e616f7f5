"""The training loop: seeded, logged at every step, and resumable from checkpoints."""

from __future__ import annotations

import contextlib
import math
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ddllib import checkpoints
from ddllib.data import Prepared
from ddllib.devices import can_compile, resolve_device, searched_kernels
from ddllib.errors import DDLError
from ddllib.fast import processes
from ddllib.fast.divided import divide
from ddllib.io.interrupts import Stop, stop_between_steps
from ddllib.methods import Method, method_of
from ddllib.pseudo_anomalies.held_out import split, threshold_parts
from ddllib.random_state import Draws
from ddllib.runs import LEARNING_RATE, STEP_CURVES, Run
from ddllib.settings import VOCABULARY, Settings, recorded
from ddllib.windows import Sample, Windows

KEEP_SECONDS = 600  # between checkpoints: the most training that a power cut can lose
SLOW = 1.0  # seconds; a checkpoint that takes longer is not saved after every epoch
CHECKPOINT_SPACING = 20  # slow checkpoints are this many times their duration apart


def new_run(settings: Settings) -> Run:
    """An untrained run: seeded weights, l = 0."""
    method, device = method_of(settings), resolve_device(settings.device)
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        models = method.build(settings)
    _check_built(settings, models, method.window(settings))
    names = [*STEP_CURVES, *method.curves, LEARNING_RATE]
    models = {name: model.to(device) for name, model in models.items()}
    history = {name: [] for name in names}
    return Run(settings, models, history, precision=method.precision(settings))


def _check_built(settings: Settings, models, window: int) -> None:
    """Raise ``DDLError`` where a method's ``build`` gives what cannot be trained and scored."""
    model = isinstance(models, dict) and models.get("model")
    lacking = [name for name in ("temporal", "channels") if not hasattr(model, name)]
    if lacking:
        raise DDLError(
            f"method {settings.method}: builds no model with {' and '.join(lacking)}; expected "
            'a dict whose "model" has both'
        )
    if model.temporal != window:
        raise DDLError(
            f"method {settings.method}: its model has temporal {model.temporal}, its window is "
            f"{window}; expected the same"
        )


def load_run(folder: Path | str) -> Run:
    """The trained run whose checkpoint lies in ``folder``, ready to score on this device.

    Settings that do not shape the weights (``touching``: scores, nothing) are the defaults.
    Raises ``DDLError`` where there is no checkpoint or it cannot be read.
    """
    folder = Path(folder)
    if not checkpoints.exists(folder):
        raise DDLError(f"{folder}: no checkpoint in it; give the folder of a trained run")
    checkpoint = checkpoints.read(folder)
    saved_settings = recorded(checkpoint["identity"])
    names = VOCABULARY - {"start_from"}  # its weights are part of this checkpoint
    settings = Settings(**{name: value for name, value in saved_settings.items() if name in names})
    run = replace(new_run(settings), folder=folder)
    checkpoints.load(folder, checkpoint["parts"][: len(run.models)], *run.models.values())
    run.take_progress(checkpoint)
    run.epoch = checkpoint["parts"][-1]["epoch"]
    run.train(False)
    return run


def fit(
    settings: Settings, data: Prepared, folder: Path | None = None, progress: bool = True
) -> Run:
    """Train on ``data.training`` for ``settings.epochs`` epochs.

    With ``folder`` a checkpoint is saved there after every epoch (a slow one less often, so that it
    takes about 5 % of the time), every ten minutes and at Ctrl-C or SIGTERM. Training resumes from
    a checkpoint in ``folder`` with the same result as without an interruption, on a GPU up to
    rounding; ``pipeline.train`` checks that it has the same settings and data. Raises ``DDLError``
    when no window has a track (modes sdl and ddl) or the loss is no longer finite. With no epoch
    there is nothing to keep: the run is as it began, without a checkpoint.
    """
    run, method = replace(new_run(settings), folder=folder), method_of(settings)
    windows = training_windows(settings, data, run.device)
    if method.needs_objects(run) and windows.coverage == 0:
        raise DDLError(
            f"{data.folder / 'tracks.csv'}: no training window has a track in all its frames; "
            "expected some; prepare the data with another detector"
        )
    if not settings.epochs:
        begin(run, method, windows)
        method.finish(run, windows)
        run.train(False)
        return run
    if folder:
        checkpoints.check_place(folder)
    identity = checkpoints.identity(settings, data, run.precision)
    training = _Training(run, method, windows, identity)
    training.resume()
    divide(run.quick, method.divided)
    if settings.compile and training.draws.epoch < settings.epochs and can_compile(run.device):
        for model in run.quick.values():
            model.compile(dynamic=False)
    with stop_between_steps() as stop:
        while training.draws.epoch < settings.epochs:
            training.finish_epoch(stop, progress)
        stop.take()
    run.epoch = training.draws.epoch
    run.train(False)
    return run


class _Training:
    """The state of a training run that steps change and checkpoints hold."""

    def __init__(self, run: Run, method: Method, windows: Windows, identity: dict):
        self.run, self.method, self.windows, self.identity = run, method, windows, identity
        settings = run.settings
        self.draws = Draws(len(windows), settings.batch_size, settings.seed, run.device)
        self.optimiser = new_optimiser(run)
        self.schedule = _schedule(self.optimiser, settings, self.draws.steps)
        self.state = (*run.models.values(), self.optimiser, self.schedule, self.draws)
        self.saved_at, self.save_seconds = time.perf_counter(), 0.0  # of the last checkpoint

    def resume(self) -> None:
        """Resume from the checkpoint if there is one, else start from ``start_from``'s weights."""
        if self.run.folder and checkpoints.exists(self.run.folder):
            self.run.take_progress(checkpoints.restore(self.run.folder, *self.state))
        else:
            begin(self.run, self.method, self.windows)
        steps = len(self.run.history["step"])
        if steps < processes.highest(steps):
            raise DDLError(
                f"{self.run.folder}: has not the checkpoint that another process of this run has; "
                "expected one folder of runs for all machines; set DDL_RUNS to it"
            )

    def save(self) -> None:
        """Save a checkpoint; raises ``DDLError`` instead where a weight is not finite."""
        for name, part in self.run.models.items():
            if not all(torch.isfinite(value).all() for value in part.state_dict().values()):
                raise DDLError(
                    f"training: values of the {name} are not finite after step "
                    f"{len(self.run.history['step'])}; the checkpoint before is kept; lower "
                    "learning_rate or sigma_learning_rate"
                )
        started = time.perf_counter()
        if self.run.folder and processes.is_first():
            run_progress = {"seconds": self.run.seconds, "history": self.run.history}
            checkpoints.save(self.run.folder, self.identity, run_progress, *self.state)
        self.saved_at = time.perf_counter()
        self.save_seconds = self.saved_at - started

    def finish_epoch(self, stop: Stop, progress: bool) -> None:
        """Train to the end of the epoch and save a checkpoint, in a long epoch also before.

        Slow checkpoints are saved less often.
        """
        run, draws = self.run, self.draws
        run.train()
        name = f"epoch {draws.epoch + 1}/{run.settings.epochs}"
        with tqdm(total=draws.steps, desc=name, disable=not progress, mininterval=1.0) as bar:
            bar.update(draws.step)
            while draws.step < draws.steps:
                started = time.perf_counter()
                self.step(bar)
                draws.step += 1
                bar.update()
                run.seconds += time.perf_counter() - started
                stop.signal = processes.highest(stop.signal or 0) or None
                must_stop = bool(stop)
                if must_stop or started - self.saved_at > KEEP_SECONDS:
                    self.save()
                if must_stop:
                    processes.wait()  # until the first has saved
                    stop.take()
        draws.start(draws.epoch + 1)
        age = time.perf_counter() - self.saved_at
        too_soon = self.save_seconds > SLOW and age < CHECKPOINT_SPACING * self.save_seconds
        is_last = draws.epoch >= run.settings.epochs
        if is_last:
            self.run.train(False)
            self.method.finish(run, self.windows)
        if is_last or not too_soon:
            self.save()

    def step(self, bar: tqdm) -> None:
        """One step on the next batch, skipped if the method needs objects and it has none."""
        run, draws = self.run, self.draws
        indices = draws.batches[draws.step]
        boxes = self.windows.draw(indices, draws.rng)
        if self.method.needs_objects(run) and not boxes.any():
            self._skip_batch()
            return
        sample = self.windows.sample(indices, boxes)
        with self._kernels(len(indices)):
            values = train_step(run, sample, self.optimiser, draws.noise)
        _log(run, values, draws.epoch, self.schedule.get_last_lr()[0])
        self.schedule.step()
        postfix = {name: f"{values[name]:.4g}" for name in ("total", "sigma") if name in values}
        bar.set_postfix(postfix)

    def _skip_batch(self) -> None:
        """Advance the learning rate schedule, which counts skipped batches too."""
        with warnings.catch_warnings():  # PyTorch warns if the first step is skipped
            warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
            self.schedule.step()

    def _kernels(self, windows: int) -> contextlib.AbstractContextManager:
        """Search cuDNN's kernels for full batches only.

        For an epoch's smaller last batch neither the search nor compiling again is worth it.
        """
        if windows == len(self.draws.batches[0]):
            return searched_kernels(self.run.precision)
        if self.run.settings.compile:
            return torch.compiler.set_stance("force_eager")
        return contextlib.nullcontext()


def begin(run: Run, method: Method, windows: Windows) -> None:
    """What comes before the first step: the method's own, and the weights of ``start_from``."""
    method.begin(run, windows)
    if run.settings.start_folder:
        begin_with(run, run.settings.start_folder)


def begin_with(run: Run, folder: Path) -> None:
    """Copy the weights and l of a trained run into an untrained one, to train on other footage.

    Raises ``DDLError`` where ``folder`` has no checkpoint or that of another model.
    """
    if not checkpoints.exists(folder):
        raise DDLError(f"{folder}: no trained run; expected the folder of one as start_from")
    checkpoint, settings = checkpoints.read(folder), run.settings.asdict()
    saved_settings = recorded(checkpoint["identity"])
    for name in ("method", "model", "preset", "latent_dim", "channels", "temporal"):
        if saved_settings.get(name) != settings[name]:
            raise DDLError(
                f"{folder}: its {name} is {saved_settings.get(name)}, that of this run "
                f"{settings[name]}; expected the same model; leave start_from out or set {name}"
            )
    checkpoints.load(folder, checkpoint["parts"][: len(run.models)], *run.models.values())


def new_optimiser(run: Run) -> torch.optim.Adam:
    """Adam over the method's parameter groups."""
    groups = method_of(run.settings).groups(run.models, run.settings)
    return torch.optim.Adam(groups, lr=run.settings.learning_rate, fused=True)


def training_clips(
    settings: Settings, data: Prepared
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """What is trained on, without held-out clips, and the clips' ends, kept for thresholds."""
    clips, _ = split(data, settings.held_out)
    return threshold_parts(clips, settings.threshold_share)


def training_windows(settings: Settings, data: Prepared, device="cpu") -> Windows:
    """The windows of ``training_clips``."""
    clips, ends = training_clips(settings, data)
    is_used = (data.tracks["split"] == "training") & data.tracks["clip"].isin(list(clips))
    tracks = data.tracks[is_used]
    if settings.threshold_share:
        cut = tracks["clip"].map({name: len(clip) for name, clip in clips.items()})
        clip_end = cut + tracks["clip"].map({name: len(clip) for name, clip in ends.items()})
        tracks = tracks[(tracks["frame"] < cut) | (tracks["frame"] >= clip_end)]
    method = method_of(settings)
    companions = {role: data.companion(name) for role, name in method.companions(settings).items()}
    return Windows(clips, tracks, method.window(settings), settings.channels, device, companions)


def _schedule(optimiser, settings: Settings, steps: int):
    if settings.schedule == "one-cycle":
        total = steps * settings.epochs
        peaks = [group["lr"] for group in optimiser.param_groups]
        return torch.optim.lr_scheduler.OneCycleLR(optimiser, peaks, total)
    if settings.schedule == "constant":
        return torch.optim.lr_scheduler.ConstantLR(optimiser, factor=1)
    drop = round(0.8 * settings.epochs) * steps
    return torch.optim.lr_scheduler.MultiStepLR(optimiser, [drop], gamma=0.5)


def train_step(
    run: Run, sample: Sample, optimiser: torch.optim.Optimizer, rng: torch.Generator
) -> dict[str, float]:
    """One step on a batch of windows; ``rng`` draws on their device.

    Returns the loss and the method's curves at this step. They are read before the backward pass,
    so that the CPU waits for the device once and prepares the next batch during that pass.
    Raises ``DDLError`` when the loss is not finite; weights and optimiser are then as before.
    """
    terms = method_of(run.settings).loss(run, sample, rng)
    _check_terms(run, terms)
    with torch.no_grad():
        numbers = torch.stack([value.detach() for value in terms.values()]).tolist()
    values = dict(zip(terms, numbers, strict=True))
    _check_finite(values, step=len(run.history["step"]))
    optimiser.zero_grad(set_to_none=True)
    terms["total"].backward()
    processes.average_gradients(optimiser)
    optimiser.step()
    return values


def _check_terms(run: Run, terms) -> None:
    """Raise ``DDLError`` where a loss is no dictionary of scalars that its curves name."""
    method = f"method {run.settings.method}"
    if not isinstance(terms, dict) or "total" not in terms:
        raise DDLError(f"{method}: its loss gives no dict with a total")
    for name, value in terms.items():
        if not isinstance(value, Tensor) or value.dim():
            raise DDLError(f"{method}: its loss gives {name} as no scalar tensor")
        if name not in run.history:
            raise DDLError(f"{method}: its loss gives {name}, which its curves do not name")


def _check_finite(values: dict[str, float], step: int) -> None:
    if not math.isfinite(values["total"]):
        text = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        raise DDLError(
            f"training: the loss is not finite at step {step} ({text}); lower learning_rate"
        )


def _log(run: Run, values: dict[str, float], epoch: int, learning_rate: float) -> None:
    step = {"step": len(run.history["step"]), "epoch": epoch, LEARNING_RATE: learning_rate}
    for name, curve in run.history.items():
        curve.append({**values, **step}.get(name, math.nan))
    run.steps_now += 1
