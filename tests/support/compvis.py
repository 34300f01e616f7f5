"""CompVis' in-painting model written out step by step, on weights of its own names.

It shares no code with the project: torch's functions and the facts of the model's layout alone.
Weights are drawn where they are first asked for, so that a forward pass makes them all.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

HEADS, GROUPS, LAYERS = 8, 32, 2


class Weights(dict):
    """Tensors by name; one that is missing is drawn."""

    def __init__(self, seed: int):
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)

    def get(self, name: str, *shape: int) -> Tensor:
        if name not in self:
            spread = 0.7 / math.sqrt(math.prod(shape[1:]) or 1)
            self[name] = torch.randn(shape, generator=self.generator) * spread
        return self[name]


class Literal:
    """The U-Net and the autoencoder; `ema` are the running means of the U-Net's weights."""

    def __init__(self, widths=(32, 64, 96, 128), autoencoder_widths=(32, 64, 64), codes=50, seed=0):
        self.widths, self.autoencoder_widths, self.codes = widths, autoencoder_widths, codes
        self.ema, self.first_stage = Weights(seed), Weights(seed + 1)
        self.noise(torch.zeros(1, 7, 8, 8), torch.ones(1))
        self.decode(self.encode(torch.zeros(1, 3, 8, 8)))

    def checkpoint(self) -> dict[str, Tensor]:
        """All weights as the file of CompVis has them; those in training are others."""
        state = {f"first_stage_model.{name}": value for name, value in self.first_stage.items()}
        for name, value in self.ema.items():
            state[f"model.diffusion_model.{name}"] = torch.randn(value.shape)
            state["model_ema." + f"diffusion_model.{name}".replace(".", "")] = value
        state["model_ema.decay"] = torch.tensor(0.9999)
        return state

    # Layers.

    def conv(self, w, name, x, out, kernel=3, **options):
        weight = w.get(f"{name}.weight", out, x.shape[1], kernel, kernel)
        return F.conv2d(x, weight, w.get(f"{name}.bias", out), **options)

    def norm(self, w, name, x, eps):
        scale, shift = (w.get(f"{name}.{kind}", x.shape[1]) for kind in ("weight", "bias"))
        return F.group_norm(x, GROUPS, scale, shift, eps)

    def linear(self, w, name, x, out):
        return F.linear(x, w.get(f"{name}.weight", out, x.shape[1]), w.get(f"{name}.bias", out))

    # The U-Net.

    def residual(self, name, x, emb, out, resize=None):
        h = F.silu(self.norm(self.ema, f"{name}.in_layers.0", x, 1e-5))
        if resize:
            h, x = resize(h), resize(x)
        h = self.conv(self.ema, f"{name}.in_layers.2", h, out, padding=1)
        h = h + self.linear(self.ema, f"{name}.emb_layers.1", F.silu(emb), out)[:, :, None, None]
        h = F.silu(self.norm(self.ema, f"{name}.out_layers.0", h, 1e-5))
        h = self.conv(self.ema, f"{name}.out_layers.3", h, out, padding=1)
        if x.shape[1] != out:
            x = self.conv(self.ema, f"{name}.skip_connection", x, out, kernel=1)
        return x + h

    def attention(self, name, x):
        b, c, height, width = x.shape
        flat = self.norm(self.ema, f"{name}.norm", x, 1e-5).reshape(b, c, -1)
        qkv = F.conv1d(
            flat,
            self.ema.get(f"{name}.qkv.weight", 3 * c, c, 1),
            self.ema.get(f"{name}.qkv.bias", 3 * c),
        )
        heads, size = [], c // HEADS
        for number in range(HEADS):  # each head has its q, k and v in a row
            q, k, v = qkv[:, 3 * size * number : 3 * size * (number + 1)].split(size, dim=1)
            weight = torch.softmax(q.transpose(1, 2) @ k / math.sqrt(size), dim=-1)
            heads.append(v @ weight.transpose(1, 2))
        out = F.conv1d(
            torch.cat(heads, dim=1),
            self.ema.get(f"{name}.proj_out.weight", c, c, 1),
            self.ema.get(f"{name}.proj_out.bias", c),
        )
        return x + out.reshape(b, c, height, width)

    def embedding(self, t):
        half = self.widths[0] // 2
        angles = t[:, None].float() * 10000 ** (-torch.arange(half) / half)
        emb = torch.cat([angles.cos(), angles.sin()], dim=1)
        emb = F.silu(self.linear(self.ema, "time_embed.0", emb, 4 * self.widths[0]))
        return self.linear(self.ema, "time_embed.2", emb, 4 * self.widths[0])

    def noise(self, x, t):
        """B x 7 x h x w and B to the noise B x 3 x h x w."""
        emb, levels = self.embedding(t), len(self.widths)
        h = self.conv(self.ema, "input_blocks.0.0", x, self.widths[0], padding=1)
        skips, number = [h], 1
        for level, width in enumerate(self.widths):
            for _ in range(LAYERS):
                h = self.residual(f"input_blocks.{number}.0", h, emb, width)
                if level > 0:
                    h = self.attention(f"input_blocks.{number}.1", h)
                skips.append(h)
                number += 1
            if level < levels - 1:
                shrink = lambda h: F.avg_pool2d(h, 2)  # noqa: E731
                h = self.residual(f"input_blocks.{number}.0", h, emb, width, shrink)
                skips.append(h)
                number += 1
        h = self.residual("middle_block.0", h, emb, width)
        h = self.attention("middle_block.1", h)
        h = self.residual("middle_block.2", h, emb, width)
        number = 0
        for level, width in reversed(list(enumerate(self.widths))):
            for layer in range(LAYERS + 1):
                h = torch.cat([h, skips.pop()], dim=1)
                h = self.residual(f"output_blocks.{number}.0", h, emb, width)
                if level > 0:
                    h = self.attention(f"output_blocks.{number}.1", h)
                if level > 0 and layer == LAYERS:
                    enlarge = lambda h: F.interpolate(h, scale_factor=2)  # noqa: E731
                    h = self.residual(f"output_blocks.{number}.2", h, emb, width, enlarge)
                number += 1
        h = F.silu(self.norm(self.ema, "out.0", h, 1e-5))
        return self.conv(self.ema, "out.2", h, 3, padding=1)

    # The autoencoder.

    def block(self, name, x, out):
        w = self.first_stage
        h = F.silu(self.norm(w, f"{name}.norm1", x, 1e-6))
        h = self.conv(w, f"{name}.conv1", h, out, padding=1)
        h = F.silu(self.norm(w, f"{name}.norm2", h, 1e-6))
        h = self.conv(w, f"{name}.conv2", h, out, padding=1)
        if x.shape[1] != out:
            x = self.conv(w, f"{name}.nin_shortcut", x, out, kernel=1)
        return x + h

    def encode(self, x):
        """B x 3 x H x W to latents B x 3 x H/4 x W/4, not rounded to codes."""
        w, last = self.first_stage, len(self.autoencoder_widths) - 1
        h = self.conv(w, "encoder.conv_in", x, self.autoencoder_widths[0], padding=1)
        for level, width in enumerate(self.autoencoder_widths):
            for layer in range(LAYERS):
                h = self.block(f"encoder.down.{level}.block.{layer}", h, width)
            if level < last:
                name = f"encoder.down.{level}.downsample.conv"
                h = self.conv(w, name, F.pad(h, (0, 1, 0, 1)), width, stride=2)
        h = self.block("encoder.mid.block_2", self.block("encoder.mid.block_1", h, width), width)
        h = F.silu(self.norm(w, "encoder.norm_out", h, 1e-6))
        h = self.conv(w, "encoder.conv_out", h, 3, padding=1)
        return self.conv(w, "quant_conv", h, 3, kernel=1)

    def decode(self, z):
        """Latents, rounded to the nearest codes, to pictures."""
        w = self.first_stage
        codes = w.get("quantize.embedding.weight", self.codes, 3)
        distances = (z.permute(0, 2, 3, 1)[..., None, :] - codes).square().sum(-1)
        z = codes[distances.argmin(-1)].permute(0, 3, 1, 2)
        h = self.conv(w, "post_quant_conv", z, 3, kernel=1)
        h = self.conv(w, "decoder.conv_in", h, self.autoencoder_widths[-1], padding=1)
        width = self.autoencoder_widths[-1]
        h = self.block("decoder.mid.block_2", self.block("decoder.mid.block_1", h, width), width)
        for level, width in reversed(list(enumerate(self.autoencoder_widths))):
            for layer in range(LAYERS + 1):
                h = self.block(f"decoder.up.{level}.block.{layer}", h, width)
            if level > 0:
                h = F.interpolate(h, scale_factor=2)
                h = self.conv(w, f"decoder.up.{level}.upsample.conv", h, width, padding=1)
        h = F.silu(self.norm(w, "decoder.norm_out", h, 1e-6))
        return self.conv(w, "decoder.conv_out", h, 3, padding=1)

    # The chain.

    def fill(self, x, hole, steps, z):
        """Pictures in [0, 1] with their holes filled, from noise z, as the script of CompVis."""
        masked = self.encode((1 - hole) * x * 2 - 1)
        around = torch.cat([masked, F.interpolate(hole * 2 - 1, masked.shape[-2:])], dim=1)
        betas = torch.linspace(0.0015**0.5, 0.0205**0.5, 1000, dtype=torch.float64) ** 2
        levels = torch.cumprod(1 - betas, 0)
        times = [t + 1 for t in range(0, 1000, 1000 // steps)]
        before = [levels[0], *(levels[t] for t in times[:-1])]
        for t, previous in reversed(list(zip(times, before, strict=True))):
            noise = self.noise(torch.cat([z, around], dim=1), torch.full((len(z),), t))
            clean = (z - (1 - levels[t]).sqrt() * noise) / levels[t].sqrt()
            z = (previous.sqrt() * clean + (1 - previous).sqrt() * noise).float()
        picture = ((self.decode(z) + 1) / 2).clamp(0, 1)
        return hole * picture + (1 - hole) * x
