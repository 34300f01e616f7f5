"""Find, read and write the weights of both models; reading a file can never run code."""

import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from data_prep.diffusion import big, small
from data_prep.diffusion.conversion import converted
from ddllib.errors import DDLError
from ddllib.io.files import writing
from ddllib.paths import model_folders

SMALL = Path(__file__).parent / "weights" / f"{small.NAME}.safetensors"
FOLDER = "inpainting_big"  # of the paper's weights in a folder of models
BIG = (f"{FOLDER}/last.ckpt", f"{FOLDER}.ckpt", f"{FOLDER}.safetensors", f"{FOLDER}/unet")
DIFFUSERS = {"unet": "unet", "autoencoder": "vqvae"}  # its folders of both parts
IN_FOLDER = "diffusion_pytorch_model.safetensors"
INERT = "pytorch_lightning."  # CompVis' file holds names of its classes beside the weights
OTHERS = f"use inpainter: {small.NAME} or telea"


class Inert:
    """What stands for an object of pytorch_lightning."""


def write_small(model: small.SmallLatentDiffusion, path: Path) -> None:
    """Write the small model's weights as float16."""
    from safetensors.torch import save

    halves = {name: value.to(torch.float16) for name, value in model.state_dict().items()}
    with writing(path) as file:
        file.write(save(halves))


def small_model(path: Path = SMALL) -> small.SmallLatentDiffusion:
    """The small model with its weights; raises DDLError where they cannot be read."""
    return filled(without_memory(small.SmallLatentDiffusion, small.NAME), path, read_file(path))


def big_model(path: Path, **widths) -> big.BigLatentDiffusion:
    """The paper's model with weights of CompVis' names, or those of a diffusers folder.

    Raises DDLError where they are not whole, or are those of another model.
    """
    model = without_memory(lambda: big.BigLatentDiffusion(**widths), big.NAME)
    if not path.is_dir():
        tensors = read_file(path)
        try:
            return filled(model, path, converted(tensors, model))
        except KeyError as error:
            raise DDLError(another_model(path, f"without {error}")) from None
    parts = {part: read_file(path / name / IN_FOLDER) for part, name in DIFFUSERS.items()}
    tensors = {f"{part}.{name}": value for part in parts for name, value in parts[part].items()}
    return filled(model, path, tensors)


def find_big() -> Path:
    """The paper's weights on this machine; raises DDLError where there are none."""
    for folder in model_folders():
        for path in (folder / name for name in BIG):
            if path.exists():
                return path.parent if path.name == "unet" else path
    raise DDLError(
        f"inpainter {big.NAME}: its weights are not here; put {BIG[0]}, {BIG[2]} or the folder "
        f"{FOLDER} of diffusers into {model_folders()[0]}, or {OTHERS}"
    )


def without_memory(build: Callable[[], nn.Module], name: str) -> nn.Module:
    """A model whose weights take no memory yet: they come from a file."""
    with torch.device("meta"):
        return built(build, name)


def built(build: Callable[[], nn.Module], name: str) -> nn.Module:
    """A model; raises DDLError where diffusers is missing."""
    try:
        return build()
    except ImportError:
        raise DDLError(
            f"inpainter {name}: diffusers is not installed; pip install diffusers, or use "
            "inpainter: telea"
        ) from None


def read_file(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file, else of one of PyTorch; raises DDLError for any fault."""
    if not path.is_file():
        raise DDLError(f"{path}: not there; expected the weights of an in-painter, or {OTHERS}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        unknown = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        inert = [(Inert, name) for name in unknown if name.startswith(INERT)]
        with torch.serialization.safe_globals(inert):
            content = torch.load(path, "cpu", weights_only=True, mmap=True)
        tensors = content.get("state_dict", content)
        return {name: value for name, value in tensors.items() if isinstance(value, Tensor)}
    except Exception as error:  # a damaged file can raise almost anything
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise DDLError(
            f"{path}: no weights that can be read ({reason}); fetch them again, or {OTHERS}"
        ) from None


def filled(model: nn.Module, path: Path, tensors: Mapping[str, Tensor]) -> nn.Module:
    """The model with these weights, float32, to be used and not to be trained."""
    try:
        values = {name: value.float() for name, value in tensors.items()}
        model.load_state_dict(values, assign=True)
    except RuntimeError as error:  # its lines name what is missing, too much or of another shape
        reason = " ".join(str(error).split())[:160]
        raise DDLError(another_model(path, reason)) from None
    return model.eval().requires_grad_(False)


def another_model(path: Path, reason: str) -> str:
    return f"{path}: the weights of another model ({reason}); give others, or {OTHERS}"


@cache
def checksum(path: Path) -> str:
    """SHA-256 over the weights file, or over those of a diffusers folder."""
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*.safetensors")) if path.is_dir() else [path]:
        with open(file, "rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()
