"""Training: windows, pseudo-anomalies, losses; seeded, logged step by step, resumable."""

from __future__ import annotations

import contextlib
import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from ddllib import checkpoints
from ddllib.data import Prepared
from ddllib.devices import (
    autocast,
    can_compile,
    resolve_device,
    resolve_precision,
    searched_kernels,
)
from ddllib.draws import Draws
from ddllib.errors import DDLError
from ddllib.heldout import split, threshold_parts
from ddllib.losses import DDLLoss, LossTerms, distinction_terms, reconstruction_loss
from ddllib.memory import keep_freed_memory, use_large_pages
from ddllib.models import UNet, build_model, for_scoring
from ddllib.norms import has_kernels
from ddllib.passes import Pairs, as_one, in_turn, side_by_side
from ddllib.pseudo import PseudoAnomalyCreator
from ddllib.settings import VOCABULARY, Settings, recorded
from ddllib.stopping import Stop, stop_between_steps
from ddllib.windows import Windows

HISTORY = (
    "step", "epoch", "total", "reconstruction", "distinction", "p", "q", "sigma", "learning_rate",
)  # fmt: skip
KEEP_SECONDS = 600  # at most so much training is lost to a power cut
SLOW = 1.0  # seconds: a checkpoint that takes longer is not left after every epoch,
SPARING = 20  # but after so many times what the last one took
SMALL = 64  # latent_dim up to which a step's two passes are quicker side by side than as one


@dataclass
class Run:
    """A trained model with its creator and everything logged on the way.

    ``history`` has one list per name of ``HISTORY``, one entry per step; ``epoch`` counts finished
    epochs, ``seconds`` the time they took, ``steps_now`` the steps of this call rather than of an
    earlier one that it took up. Terms that a mode does not use are NaN. ``folder`` is where its
    checkpoint lies, None for a run that is not kept.
    """

    settings: Settings
    model: UNet
    creator: PseudoAnomalyCreator
    history: dict[str, list[float]]
    epoch: int = 0
    seconds: float = 0.0
    steps_now: int = 0
    folder: Path | None = None

    @property
    def precision(self) -> str:
        """float32 or bfloat16, as resolved for the device the model is on."""
        return resolve_precision(self.settings.precision, self.creator.l.device)


def new_run(settings: Settings) -> Run:
    """An untrained run: seeded weights, l = 0."""
    device = resolve_device(settings.device)
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        model = build_model(
            settings.model,
            settings.preset,
            settings.latent_dim,
            settings.channels,
            settings.temporal,
        )
    creator = PseudoAnomalyCreator(learnable=settings.mode == "ddl")
    model.to(device)
    return Run(settings, model, creator.to(device), {name: [] for name in HISTORY})


def load_run(folder: Path | str) -> Run:
    """The trained run whose checkpoint lies in ``folder``, ready to score on this device.

    Settings that do not shape the weights (``patch``, ``ignore``, ``protocol``) are the defaults.
    Raises ``DDLError`` where there is no checkpoint or it cannot be read.
    """
    folder = Path(folder)
    if not checkpoints.exists(folder):
        raise DDLError(f"{folder}: no checkpoint in it; give the folder of a trained run")
    saved = checkpoints.read(folder)
    made = recorded(saved["identity"])
    names = VOCABULARY - {"start_from"}  # its weights are among those read here
    settings = Settings(**{name: value for name, value in made.items() if name in names})
    run = replace(new_run(settings), folder=folder)
    checkpoints.load(folder, saved["parts"][:2], run.model, run.creator)
    _take_progress(run, saved)
    run.epoch = saved["parts"][-1]["epoch"]
    run.model.eval()
    return run


def fit(
    settings: Settings, data: Prepared, folder: Path | None = None, progress: bool = True
) -> Run:
    """Train on ``data.training`` for ``settings.epochs`` epochs.

    With ``folder`` a checkpoint is left there after every epoch (a large one so seldom that it
    takes about a twentieth of the time), every ten minutes and at Ctrl-C or SIGTERM, and training
    goes on from the one that is there, step for step as if it had never stopped, on a GPU but for
    rounding (``road.train`` sees to it that it is of the same settings and data). Raises
    ``DDLError`` when no window has a track (modes sdl and ddl) or the loss is no longer finite.
    """
    run = replace(new_run(settings), folder=folder)
    device = next(run.model.parameters()).device
    windows = training_windows(settings, data, device)
    if settings.mode != "none" and windows.coverage == 0:
        raise DDLError(
            f"{data.folder / 'tracks.csv'}: no training window has a track in all its frames; "
            "expected some; prepare the data with another detector"
        )
    if folder:
        checkpoints.check_place(folder)
    training = _Training(run, windows, checkpoints.identity(settings, data))
    training.take_up()
    if settings.compile and training.draws.epoch < settings.epochs and can_compile(device):
        run.model.compile(dynamic=False)
    with stop_between_steps() as stop, keep_freed_memory():
        while training.draws.epoch < settings.epochs:
            training.finish_epoch(stop, progress)
        stop.take()
    run.epoch = training.draws.epoch
    run.model.eval()
    return run


class _Training:
    """A run in the making: what a step changes, kept together in checkpoints."""

    def __init__(self, run: Run, windows: Windows, who: dict):
        self.run, self.windows, self.who = run, windows, who
        settings = run.settings
        self.draws = Draws(len(windows), settings.batch_size, settings.seed, run.creator.l.device)
        self.optimiser = new_optimiser(run)
        self.schedule = _schedule(self.optimiser, settings, self.draws.steps)
        self.state = (run.model, run.creator, self.optimiser, self.schedule, self.draws)
        self.kept, self.keeping = time.perf_counter(), 0.0  # the last checkpoint: when, how long

    def take_up(self) -> None:
        """Go on from the checkpoint where there is one, else begin with another run's weights."""
        if self.run.folder and checkpoints.exists(self.run.folder):
            _take_progress(self.run, checkpoints.restore(self.run.folder, *self.state))
        elif self.run.settings.start_folder:
            begin_with(self.run, self.run.settings.start_folder)

    def keep(self) -> None:
        """Leave a checkpoint, but none of weights, statistics or an l that have gone wrong."""
        for name, part in (("the weights are", self.run.model), ("sigma's l is", self.run.creator)):
            if not all(torch.isfinite(value).all() for value in part.state_dict().values()):
                raise DDLError(
                    f"training: {name} not finite after step {len(self.run.history['step'])}; the "
                    "checkpoint before is kept; lower learning_rate or sigma_learning_rate"
                )
        started = time.perf_counter()
        if self.run.folder:
            done = {"seconds": self.run.seconds, "history": self.run.history}
            checkpoints.save(self.run.folder, self.who, done, *self.state)
        self.kept = time.perf_counter()
        self.keeping = self.kept - started

    def finish_epoch(self, stop: Stop, progress: bool) -> None:
        """Train to the end of the epoch and leave a checkpoint; one in between if it is long.

        None where the one before is so young, and so slow to write, that it would cost too much.
        """
        run, draws = self.run, self.draws
        run.model.train()
        name = f"epoch {draws.epoch + 1}/{run.settings.epochs}"
        with tqdm(total=draws.steps, desc=name, disable=not progress, mininterval=1.0) as bar:
            bar.update(draws.step)
            while draws.step < draws.steps:
                started = time.perf_counter()
                self.step(bar)
                draws.step += 1
                bar.update()
                run.seconds += time.perf_counter() - started
                stopping = bool(stop)
                if stopping or started - self.kept > KEEP_SECONDS:
                    self.keep()
                if stopping:
                    stop.take()
        draws.start(draws.epoch + 1)
        spared = self.keeping > SLOW and time.perf_counter() - self.kept < SPARING * self.keeping
        if draws.epoch >= run.settings.epochs or not spared:
            self.keep()

    def step(self, bar: tqdm) -> None:
        """One step on the next batch; none where the mode needs objects and it has none."""
        run, draws = self.run, self.draws
        indices = draws.batches[draws.step]
        boxes = self.windows.draw(indices, draws.rng)
        if run.settings.mode != "none" and not boxes.any():
            self._pass_over()
            return
        x, mask = self.windows.batch(indices, boxes)
        with self._kernels(len(x)):
            values = train_step(run, x, mask, self.optimiser, draws.noise)
        _log(run, values, draws.epoch, self.schedule.get_last_lr()[0])
        self.schedule.step()
        bar.set_postfix(loss=f"{values['total']:.4f}", sigma=f"{values['sigma']:.3f}")

    def _pass_over(self) -> None:
        """Let the learning rate go on, so that it ends where it does with a step on each batch."""
        with warnings.catch_warnings():  # PyTorch warns where the very first step is passed over
            warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
            self.schedule.step()

    def _kernels(self, windows: int) -> contextlib.AbstractContextManager:
        """A whole batch is worth a search for its kernels, an epoch's last one, if smaller, is not.

        Nor is it worth compiling the model once more.
        """
        if windows == len(self.draws.batches[0]):
            return searched_kernels(self.run.precision)
        if self.run.settings.compile:
            return torch.compiler.set_stance("force_eager")
        return contextlib.nullcontext()


def _take_progress(run: Run, saved: dict) -> None:
    """Go on counting and logging where a checkpoint was left."""
    lacking = [name for name in HISTORY if name not in saved["history"]]
    if lacking:
        raise DDLError(
            f"{run.folder}: its checkpoint has no history of {lacking[0]}; remove "
            f"{checkpoints.NAME} and {checkpoints.PREVIOUS} there and train again"
        )
    run.seconds, run.history = saved["seconds"], saved["history"]


def begin_with(run: Run, folder: Path) -> None:
    """Give an untrained run the weights and l of another, to train on for other footage.

    Raises ``DDLError`` where ``folder`` has no checkpoint or that of another model.
    """
    if not checkpoints.exists(folder):
        raise DDLError(f"{folder}: no trained run; expected the folder of one as start_from")
    saved, settings = checkpoints.read(folder), run.settings.asdict()
    for name in ("model", "preset", "latent_dim", "channels", "temporal"):
        if saved["identity"].get(name) != settings[name]:
            raise DDLError(
                f"{folder}: its {name} is {saved['identity'].get(name)}, that of this run "
                f"{settings[name]}; expected the same model; leave start_from out or set {name}"
            )
    checkpoints.load(folder, saved["parts"][:2], run.model, run.creator)


def new_optimiser(run: Run) -> torch.optim.Adam:
    """Adam over the model's weights and l, each at its learning rate."""
    rate, own = run.settings.learning_rate, run.settings.sigma_learning_rate
    weights, weight_of_noise = list(run.model.parameters()), list(run.creator.parameters())
    groups = [{"params": weights, "lr": rate}, {"params": weight_of_noise, "lr": own}]
    if own is None:
        groups = [{"params": weights + weight_of_noise, "lr": rate}]
    return torch.optim.Adam(groups, fused=True)


def training_windows(settings: Settings, data: Prepared, device="cpu") -> Windows:
    """The windows of all training clips but what is held out: whole clips, or their ends."""
    clips, _ = split(data, settings.held_out)
    ours = (data.tracks["split"] == "training") & data.tracks["clip"].isin(list(clips))
    tracks = data.tracks[ours]
    if settings.threshold_share:
        clips, ends = threshold_parts(clips, settings.threshold_share)
        first = tracks["clip"].map({name: len(clip) for name, clip in clips.items()})
        after = first + tracks["clip"].map({name: len(clip) for name, clip in ends.items()})
        tracks = tracks[(tracks["frame"] < first) | (tracks["frame"] >= after)]
    return Windows(clips, tracks, settings.window, settings.channels, device)


def _schedule(optimiser, settings: Settings, steps: int):
    if settings.schedule == "one-cycle":
        total = steps * settings.epochs
        peaks = [group["lr"] for group in optimiser.param_groups]
        return torch.optim.lr_scheduler.OneCycleLR(optimiser, peaks, total)
    drop = round(0.8 * settings.epochs) * steps
    return torch.optim.lr_scheduler.MultiStepLR(optimiser, [drop], gamma=0.5)


def train_step(
    run: Run, x: Tensor, mask: Tensor, optimiser: torch.optim.Optimizer, rng: torch.Generator
) -> dict[str, float]:
    """One step on a batch: X, B x C x T x H x W in [0, 1], and M, B x 1 x T x H x W of 0 and 1.

    ``rng`` draws the noise, on the device of X. What comes back are the terms of the loss and the
    sigma of this step, read before the weights change: the device is waited for once, and the next
    batch is made ready while it goes backward. Raises ``DDLError`` when the loss is not finite;
    weights and optimiser are then as before.
    """
    terms = batch_loss(run, x, mask, rng)._asdict()
    with torch.no_grad():
        read = torch.stack([*terms.values(), run.creator.anomaly_weight]).tolist()
    values = dict(zip([*terms, "sigma"], read, strict=True))
    if not math.isfinite(values["total"]):
        told = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        raise DDLError(
            f"training: the loss is not finite at step {len(run.history['step'])} ({told}); "
            "lower learning_rate"
        )
    optimiser.zero_grad(set_to_none=True)
    terms["total"].backward()
    optimiser.step()
    if x.device.type == "cpu":
        use_large_pages()
    return values


def batch_loss(run: Run, x: Tensor, mask: Tensor, rng: torch.Generator) -> LossTerms:
    """Equation 3 for one batch, by the normal and the pseudo-anomalous pass.

    X is B x C x T x H x W in [0, 1], M is B x 1 x T x H x W of 0 and 1; scalar tensors come back.
    """
    settings, middle = run.settings, run.model.temporal // 2

    def rebuilt(given: Tensor) -> Tensor:
        with autocast(x.device, run.precision):
            return run.model(given)[:, :, 0]

    if settings.mode == "none":
        loss = reconstruction_loss(x[:, :, middle], rebuilt(x))
        nan = loss.new_full((), math.nan)
        return LossTerms(loss, loss, nan, nan, nan)

    def pseudo_anomalies() -> Tensor:
        return run.creator(x, mask, draw_noise(settings, x.shape, rng))

    with autocast(x.device, run.precision):  # around both: in turn, weights are converted once
        (_, y), (x_a, y_a) = _way(run)(rebuilt, lambda: x, pseudo_anomalies)
    loss = DDLLoss(settings.distinction_weight, settings.distinction_form)
    return loss(x[:, :, middle], y, x_a[:, :, middle], y_a, mask[:, :, middle])


def draw_noise(settings: Settings, shape: Sequence[int], rng: torch.Generator) -> Tensor:
    """N for windows of this shape, B x C x T x H x W; one channel for all where noise is shared.

    Uniform in [0, 1], on the device of ``rng``.
    """
    channels = 1 if settings.noise == "shared" else shape[1]
    return torch.rand(shape[0], channels, *shape[2:], generator=rng, device=rng.device)


def _way(run: Run) -> Callable[..., Pairs]:
    """The quickest way for both passes (``ddllib.passes``); by each the same is learnt.

    ``torch.compile`` knows one thread alone, and only kernels of our own keep passes apart in one
    batch at no cost.
    """
    if run.creator.l.device.type != "cpu" or run.settings.compile:
        return in_turn
    small = run.settings.latent_dim <= SMALL
    if small and torch.get_num_threads() > 1 and torch.is_grad_enabled():
        return side_by_side
    return as_one if has_kernels() else in_turn


def _log(run: Run, values: dict[str, float], epoch: int, learning_rate: float) -> None:
    row = {
        **values,
        "step": len(run.history["step"]),
        "epoch": epoch,
        "learning_rate": learning_rate,
    }
    if run.settings.mode == "none":
        row["sigma"] = math.nan
    for name in HISTORY:
        run.history[name].append(row[name])
    run.steps_now += 1


@torch.inference_mode()
def mean_distances(run: Run, windows: Windows, count: int = 200) -> tuple[float, float]:
    """Means of P and Q under the mask after training (supplement 7.1.1).

    Measured in evaluation mode on ``count`` windows drawn by the run's seed, with pseudo-anomalies
    at the run's final sigma.
    """
    rng = torch.Generator().manual_seed(run.settings.seed)
    device, middle = run.creator.l.device, run.model.temporal // 2
    totals, model = torch.zeros(3), for_scoring(run.model)
    for indices in torch.randperm(len(windows), generator=rng).split(run.settings.batch_size):
        if count <= 0:
            break
        x, mask = windows.gather(indices[:count], rng)
        count -= len(indices)
        x_a = run.creator(x, mask, draw_noise(run.settings, x.shape, rng).to(device))
        y_a = model(x_a)[:, :, 0]
        m = mask[:, :, middle]
        p, q = distinction_terms(x[:, :, middle], x_a[:, :, middle], y_a)
        totals += torch.stack([(m * p).sum(), (m * q).sum(), m.sum()]).cpu()
    return float(totals[0] / totals[2]), float(totals[1] / totals[2])
