"""Train the small model on a folder of pictures: the autoencoder first, then the U-Net.

    <folder>/autoencoder.pt, unet.pt               where training stands; it goes on from there
    <folder>/latent-diffusion-small.safetensors    the weights, float16
    <folder>/latent-diffusion-small.json           settings, curves, the pictures' checksums

Every step draws from a generator of its own number, so that stopped training, when it goes on,
gives the same weights.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss, mse_loss
from tqdm import tqdm

from data_prep.diffusion.chain import STEPS_TRAINED, condition, schedule
from data_prep.diffusion.pictures import Pictures, holes
from data_prep.diffusion.small import NAME, SmallLatentDiffusion
from data_prep.diffusion.weights import built, write_small
from data_prep.preparing.manifest import file_checksum, versions
from ddllib.errors import DDLError
from ddllib.io.files import write_json, writing

SAVE_EVERY, MEAN_OVER = 200, 50  # steps
KL_WEIGHT = 1e-6
LARGEST_GRADIENT = 1.0  # its norm is scaled down to this
EMA_DECAY = 0.999  # at most, of the weights' running mean, which is what is kept
ENCODED = 64  # crops at once


@dataclass(frozen=True)
class Plan:
    """The numbers of a training run."""

    autoencoder_steps: int = 4000
    unet_steps: int = 8000
    autoencoder_batch: int = 16
    unet_batch: int = 32
    unet_crops: int = 8192  # of which each step takes some
    learning_rate: float = 1e-3
    seed: int = 0


@dataclass
class Draws:
    """The random numbers of one step."""

    rng: np.random.Generator
    torch: torch.Generator

    @classmethod
    def of(cls, *numbers: int) -> "Draws":
        rng = np.random.default_rng(numbers)
        return cls(rng, torch.Generator().manual_seed(int(rng.integers(1 << 63))))


def autoencoder_loss(model: nn.Module, x: Tensor, draws: Draws) -> Tensor:
    """How far pictures are from their reconstructions, and a little of the latents' KL term."""
    latents = model.encode(x).latent_dist
    y = model.decode(latents.sample(draws.torch)).sample
    return l1_loss(y, x) + KL_WEIGHT * latents.kl().mean()


def unet_loss(model: SmallLatentDiffusion, z: Tensor, around: Tensor, draws: Draws) -> Tensor:
    """How far predictions are from the truth, at random steps."""
    noise, scheduler = torch.randn(z.shape, generator=draws.torch), schedule(model.prediction)
    t = torch.randint(STEPS_TRAINED, (len(z),), generator=draws.torch)
    noisy, truth = scheduler.add_noise(z, noise, t), scheduler.get_velocity(z, noise, t)
    return mse_loss(model.predict(torch.cat([noisy, around], dim=1), t), truth)


@torch.no_grad()
def encoded(
    model: SmallLatentDiffusion, pictures: Pictures, count: int, seed: int
) -> tuple[Tensor, Tensor]:
    """The latents of random crops, and the condition that random holes in them give.

    Encoded once, as encoding takes as long as a step of the U-Net. The latents' standard deviation
    becomes 1.
    """
    z, around = [], []
    draws = Draws.of(seed, 2)
    for _ in range(count // ENCODED):
        x = pictures.crops(ENCODED, draws.rng)
        z.append(model.encode(x))
        around.append(condition(model, x, holes(ENCODED, draws.rng)))
    latents, conditions = torch.cat(z), torch.cat(around)
    model.deviation.copy_(latents.std())
    conditions[:, :3] /= model.deviation
    return latents / model.deviation, conditions


class Stage:
    """The training of one part: its weights, their running mean, Adam's state, the curve."""

    def __init__(self, path: Path, part: nn.Module, rate: float, identity: dict):
        self.path, self.part, self.mean = path, part, deepcopy(part).requires_grad_(False)
        self.adam = torch.optim.Adam(part.parameters(), rate)
        self.identity, self.step, self.curve, self.seconds = identity, 0, [], 0.0
        if path.exists():
            self.load()

    def load(self) -> None:
        """Go to where the file stands; raises DDLError if it is damaged or of another plan."""
        remedy = "remove it and train again"
        try:
            state = torch.load(self.path, weights_only=True)
            if state["identity"] != self.identity:
                raise ValueError("of other pictures or another plan")
            self.part.load_state_dict(state["part"])
            self.mean.load_state_dict(state["mean"])
            self.adam.load_state_dict(state["adam"])
            self.step, self.curve, self.seconds = (
                state[key] for key in ("step", "curve", "seconds")
            )
        except Exception as error:  # a damaged file can raise almost anything
            reason = str(error).partition("\n")[0][:120]
            raise DDLError(f"{self.path}: cannot go on from it ({reason}); {remedy}") from None

    def save(self) -> None:
        state = {
            "identity": self.identity,
            "part": self.part.state_dict(),
            "mean": self.mean.state_dict(),
            "adam": self.adam.state_dict(),
            "step": self.step,
            "curve": self.curve,
            "seconds": self.seconds,
        }
        with writing(self.path) as file:
            torch.save(state, file)

    def run(self, steps: int, loss: Callable[[int], Tensor], progress: bool = True) -> None:
        """Train up to `steps` steps in all; saved every SAVE_EVERY steps and at the end."""
        bar = tqdm(total=steps, initial=self.step, desc=self.path.stem, disable=not progress)
        losses, start = [], perf_counter()
        while self.step < steps:
            losses.append(self.update(loss(self.step)))
            self.step += 1
            bar.update()
            if len(losses) == MEAN_OVER or self.step == steps:
                self.curve.append(sum(losses) / len(losses))
                losses = []
            if self.step % SAVE_EVERY == 0 or self.step == steps:
                self.seconds, start = self.seconds + perf_counter() - start, perf_counter()
                self.save()
        bar.close()

    def update(self, loss: Tensor) -> float:
        self.adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.part.parameters(), LARGEST_GRADIENT)
        self.adam.step()
        decay = min(EMA_DECAY, (self.step + 1) / (self.step + 10))
        for mean, value in zip(self.mean.parameters(), self.part.parameters(), strict=True):
            mean.lerp_(value.detach(), 1 - decay)
        return loss.item()


def train(pictures_folder: Path, folder: Path, plan: Plan, progress: bool = True) -> Path:
    """Train both parts, or go on with it, and write weights and record; the weights' path.

    Raises DDLError for pictures that cannot be read, and for a file of another training.
    """
    pictures, folder = Pictures(pictures_folder), Path(folder)
    torch.manual_seed(plan.seed)
    model = built(SmallLatentDiffusion, NAME)
    who = {"seed": plan.seed, "rate": plan.learning_rate, "pictures": pictures.checksums}
    identity = {**who, "batch": plan.autoencoder_batch}
    first = Stage(folder / "autoencoder.pt", model.autoencoder, plan.learning_rate, identity)

    def loss_of_first(step: int) -> Tensor:
        draws = Draws.of(plan.seed, 0, step)
        x = pictures.crops(plan.autoencoder_batch, draws.rng)
        return autoencoder_loss(model.autoencoder, x, draws)

    first.run(plan.autoencoder_steps, loss_of_first, progress)
    model.autoencoder = first.mean
    z, around = encoded(model, pictures, plan.unet_crops, plan.seed)

    identity = {**who, "batch": plan.unet_batch, "crops": plan.unet_crops}
    identity["autoencoder"] = file_checksum(first.path)
    second = Stage(folder / "unet.pt", model.unet, plan.learning_rate, identity)

    def loss_of_second(step: int) -> Tensor:
        draws = Draws.of(plan.seed, 1, step)
        picked = torch.from_numpy(draws.rng.choice(len(z), plan.unet_batch, replace=False))
        return unet_loss(model, z[picked], around[picked], draws)

    second.run(plan.unet_steps, loss_of_second, progress)
    model.unet = second.mean
    weights = folder / f"{NAME}.safetensors"
    write_small(model, weights)
    record = {
        "plan": asdict(plan),
        "loss of the autoencoder": first.curve,
        "loss of the U-Net": second.curve,
        "steps a point": MEAN_OVER,
        "seconds": {"autoencoder": first.seconds, "U-Net": second.seconds},
        "pictures": pictures.checksums,
        "versions": {**versions(), "diffusers": version("diffusers")},
        "sha256": file_checksum(weights),
    }
    write_json(weights.with_suffix(".json"), record)
    return weights
