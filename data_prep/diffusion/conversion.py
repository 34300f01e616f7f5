"""Names of CompVis' weights for diffusers' names.

CompVis numbers the blocks of its U-Net along the way; diffusers has levels, with residual blocks
and attention in each.
"""

import re
from collections.abc import Iterator, Mapping

from torch import Tensor, nn

from data_prep.diffusion.big import HEADS, BigLatentDiffusion

LAYERS = 2  # residual blocks of a level; one more on the way up
QKV = ("to_q", "to_k", "to_v")  # which CompVis keeps in one tensor
OUTSIDE = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
INSIDE = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
    "group_norm": "norm",
    "to_out.0": "proj_out",
    **dict.fromkeys(QKV, "qkv"),
}
MIDDLE = {"resnets.0": 0, "attentions.0": 1, "resnets.1": 2}
AUTOENCODER = (
    (r"\.mid_block\.resnets\.0\.", ".mid.block_1."),
    (r"\.mid_block\.resnets\.1\.", ".mid.block_2."),
    (r"\.down_blocks\.(\d)\.resnets\.", r".down.\1.block."),
    (r"\.down_blocks\.(\d)\.downsamplers\.0\.", r".down.\1.downsample."),
    (r"\.up_blocks\.(\d)\.resnets\.", r".up.\1.block."),
    (r"\.up_blocks\.(\d)\.upsamplers\.0\.", r".up.\1.upsample."),
    (r"\.conv_norm_out\.", ".norm_out."),
    (r"\.conv_shortcut\.", ".nin_shortcut."),
)


def converted(state: Mapping[str, Tensor], model: BigLatentDiffusion) -> dict[str, Tensor]:
    """CompVis' weights under the model's own names; KeyError names one that is not there.

    Of the U-Net the running means (EMA) are taken where the file has them.
    """
    has_means = any(name.startswith("model_ema.") for name in state)
    parts = {
        **{f"unet.{name}": value for name, value in unet(state, model.unet, has_means)},
        **{f"autoencoder.{name}": value for name, value in autoencoder(state, model.autoencoder)},
    }
    return parts


def unet(
    state: Mapping[str, Tensor], model: nn.Module, has_means: bool
) -> Iterator[tuple[str, Tensor]]:
    for name in model.state_dict():
        theirs = f"diffusion_model.{unet_name(name)}"
        # A mean's name has no dots: those of a module's buffers may have none.
        key = f"model_ema.{theirs.replace('.', '')}" if has_means else f"model.{theirs}"
        value = state[key]
        if ".attentions." in name and "group_norm" not in name:
            value = value.flatten(1) if value.ndim > 1 else value  # convolutions of width 1
        own = name.rsplit(".", 2)[-2]
        yield name, third(value, QKV.index(own)) if own in QKV else value


def third(qkv: Tensor, number: int) -> Tensor:
    """Queries, keys or values of CompVis' tensor; its rows go by head, q/k/v, channel."""
    rows = qkv.unflatten(0, (HEADS, 3, -1))
    return rows[:, number].flatten(0, 1).contiguous()


def unet_name(name: str) -> str:
    """CompVis' name of a weight of diffusers' UNet2DModel."""
    path, _, kind = name.rpartition(".")
    if path in OUTSIDE:
        return f"{OUTSIDE[path]}.{kind}"
    middle = re.fullmatch(r"mid_block\.(\w+\.\d)\.(.+)", path)
    if middle:
        return f"middle_block.{MIDDLE[middle[1]]}.{INSIDE[middle[2]]}.{kind}"
    way, level, part, number, inside = re.fullmatch(
        r"(down|up)_blocks\.(\d)\.(\w+)\.(\d)\.(.+)", path
    ).groups()
    block = int(level) * (LAYERS + 1) + int(number)
    if part in ("downsamplers", "upsamplers"):
        block += LAYERS
    block, blocks = (block + 1, "input") if way == "down" else (block, "output")
    place = {"attentions": 1, "upsamplers": 2}.get(part, 0)
    return f"{blocks}_blocks.{block}.{place}.{INSIDE[inside]}.{kind}"


def autoencoder(state: Mapping[str, Tensor], model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    levels = len(model.config.block_out_channels)
    for name in model.state_dict():
        theirs = name
        for pattern, replacement in AUTOENCODER:
            theirs = re.sub(pattern, replacement, theirs)
        # CompVis counts the levels of the decoder from the finest.
        theirs = re.sub(r"\.up\.(\d)\.", lambda m: f".up.{levels - 1 - int(m[1])}.", theirs)
        yield name, state[f"first_stage_model.{theirs}"]
