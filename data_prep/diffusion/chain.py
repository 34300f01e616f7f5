"""The chain from noise to a picture whose hole is filled: what goes in, each step, what comes out.

Pictures are B x 3 x H x W in [-1, 1], holes B x 1 x H x W with 1 where the picture is filled.
"""

from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import interpolate

STEPS_TRAINED = 1000  # of the noise that both models were trained on
FIRST_BETA, LAST_BETA = 0.0015, 0.0205


class LatentDiffusion(Protocol):
    """A model of either size; z are latents B x 3 x h x w."""

    prediction: str  # what it predicts: "epsilon", the noise, or "v_prediction"

    def encode(self, x: Tensor) -> Tensor:
        """The latents of pictures."""

    def decode(self, z: Tensor) -> Tensor:
        """The pictures of latents, not clipped."""

    def predict(self, z: Tensor, t: Tensor) -> Tensor:
        """Its prediction for noisy latents and their condition (7 channels) at steps t, B."""


def schedule(prediction: str):
    """How much noise each step has, and diffusers' step of DDIM without added noise (eta 0).

    The betas are the squares of evenly spaced numbers; the chain's steps end at 1, and the last
    goes to the level of step 0 (Song et al. 2021, equation 12).
    """
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        STEPS_TRAINED,
        FIRST_BETA,
        LAST_BETA,
        "scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="leading",
        prediction_type=prediction,
    )


def condition(model: LatentDiffusion, x: Tensor, hole: Tensor) -> Tensor:
    """The latents of pictures whose holes are black, and the holes: B x 4 x h x w.

    The hole is scaled to [-1, 1] as pictures are, and resized without smoothing.
    """
    z = model.encode(torch.where(hole > 0, -1.0, x))
    return torch.cat([z, interpolate(hole * 2 - 1, size=z.shape[-2:])], dim=1)


@torch.inference_mode()
def filled(
    model: LatentDiffusion, x: Tensor, hole: Tensor, steps: int, generator: torch.Generator
) -> Tensor:
    """Pictures in [-1, 1] whose holes hold what the model makes of noise drawn from `generator`.

    Outside the holes they are x. The same for a state of the generator.
    """
    around, scheduler = condition(model, x, hole), schedule(model.prediction)
    scheduler.set_timesteps(steps)
    z = torch.randn(around[:, :3].shape, generator=generator).to(x.device)
    for t in scheduler.timesteps:
        predicted = model.predict(torch.cat([z, around], dim=1), t.expand(len(z)).to(x.device))
        z = scheduler.step(predicted, t, z, eta=0.0).prev_sample
    return torch.where(hole > 0, model.decode(z).clamp(-1, 1), x)
