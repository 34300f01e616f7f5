"""The small model: 64 x 64 pixels, 3.5 million parameters, trained by `training`."""

import torch
from torch import Tensor, nn

NAME = "latent-diffusion-small"
SIDE = 64  # pixels


def autoencoder() -> nn.Module:
    """Pictures to latents of a quarter of the side, three channels; 0.65 million parameters."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 32, 64),
        latent_channels=3,
        norm_num_groups=8,
        mid_block_add_attention=False,
    )


def unet() -> nn.Module:
    """From 7 channels at 16 x 16 to 3; 2.9 million parameters."""
    from diffusers import UNet2DModel

    return UNet2DModel(
        sample_size=SIDE // 4,
        in_channels=7,
        out_channels=3,
        block_out_channels=(64, 96, 96),
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        attention_head_dim=32,
    )


class SmallLatentDiffusion(nn.Module):
    """The small model, see `chain.LatentDiffusion`; its latents have standard deviation 1.

    It predicts v (Salimans and Ho 2022): from nearly pure noise that is the picture, which tells a
    small model's fillings how bright they are to be; errors in predicted noise are 60 times larger
    in the picture there.
    """

    prediction = "v_prediction"

    def __init__(self):
        super().__init__()
        self.autoencoder, self.unet = autoencoder(), unet()
        self.register_buffer("deviation", torch.ones(()))  # of the autoencoder's latents

    def encode(self, x: Tensor) -> Tensor:
        return self.autoencoder.encode(x).latent_dist.mode() / self.deviation

    def decode(self, z: Tensor) -> Tensor:
        return self.autoencoder.decode(z * self.deviation).sample

    def predict(self, z: Tensor, t: Tensor) -> Tensor:
        return self.unet(z, t).sample
