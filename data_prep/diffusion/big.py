"""The paper's model: CompVis' `inpainting_big` (Rombach et al. 2022), by diffusers' classes."""

from torch import Tensor, nn

NAME = "latent-diffusion"
HEADS = 8  # of attention, at every level


class BigLatentDiffusion(nn.Module):
    """387 million parameters that predict noise, 53 million of an autoencoder of 8192 codes.

    See `chain.LatentDiffusion`. Latents have a quarter of the picture's side, which must be a
    multiple of 32. Only the tests take other widths.
    """

    prediction = "epsilon"

    def __init__(
        self,
        widths: tuple[int, ...] = (256, 512, 768, 1024),
        autoencoder_widths: tuple[int, ...] = (128, 256, 512),
        codes: int = 8192,
    ):
        super().__init__()
        self.autoencoder, self.unet = autoencoder(autoencoder_widths, codes), unet(widths)

    def encode(self, x: Tensor) -> Tensor:
        """Not rounded to codes; only decoding does that."""
        return self.autoencoder.encode(x).latents

    def decode(self, z: Tensor) -> Tensor:
        return self.autoencoder.decode(z).sample

    def predict(self, z: Tensor, t: Tensor) -> Tensor:
        return self.unet(z, t).sample


def autoencoder(widths: tuple[int, ...], codes: int) -> nn.Module:
    from diffusers import VQModel

    return VQModel(
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        block_out_channels=widths,
        layers_per_block=2,
        latent_channels=3,
        num_vq_embeddings=codes,
        mid_block_add_attention=False,
    )


def unet(widths: tuple[int, ...]) -> nn.Module:
    """Attention at every level but the first; sides are halved and doubled in residual blocks."""
    from diffusers import UNet2DModel
    from diffusers.models.attention_processor import Attention

    deeper = len(widths) - 1
    model = UNet2DModel(
        in_channels=7,
        out_channels=3,
        block_out_channels=widths,
        down_block_types=("ResnetDownsampleBlock2D", *("AttnDownBlock2D",) * deeper),
        up_block_types=(*("AttnUpBlock2D",) * deeper, "ResnetUpsampleBlock2D"),
        layers_per_block=2,
        downsample_type="resnet",
        upsample_type="resnet",
    )
    # diffusers can only be told the channels of a head, not the number of heads.
    for part in model.modules():
        if isinstance(part, Attention):
            part.heads = HEADS
            part.scale = (part.inner_dim // HEADS) ** -0.5
    return model
