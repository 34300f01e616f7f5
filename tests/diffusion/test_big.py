"""The paper's in-painter against CompVis' model written out literally, on small random weights."""

import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import save_file
from support.compvis import Literal

from data_prep.companions.inpainting import INPAINTERS
from data_prep.diffusion import big, weights
from data_prep.diffusion.chain import filled
from ddllib import DDLError

SMALL = {"widths": (32, 64, 96, 128), "autoencoder_widths": (32, 64, 64), "codes": 50}


@pytest.fixture(scope="module")
def literal():
    return Literal(**SMALL)


@pytest.fixture(scope="module")
def ckpt(literal, tmp_path_factory):
    path = tmp_path_factory.mktemp("compvis") / "last.ckpt"
    torch.save({"state_dict": literal.checkpoint(), "global_step": 7}, path)
    return path


@pytest.fixture(scope="module")
def model(ckpt):
    return weights.big_model(ckpt, **SMALL)


def pictures(seed=0):
    rng = torch.Generator().manual_seed(seed)
    hole = torch.zeros(2, 1, 64, 64)
    hole[:, :, 20:40, 16:50] = 1
    return torch.rand(2, 3, 64, 64, generator=rng) * 2 - 1, hole


def test_the_papers_model_has_as_many_parameters_as_compvis():
    with torch.device("meta"):
        model = big.BigLatentDiffusion()
    counts = [sum(p.numel() for p in part.parameters()) for part in (model.unet, model.autoencoder)]
    assert counts == [387_245_827, 53_219_486]


@torch.no_grad()
def test_noise_and_latents_are_those_of_the_literal_model(model, literal):
    z = torch.randn(2, 7, 16, 16, generator=torch.Generator().manual_seed(1))
    t = torch.tensor([3, 700])
    expected = literal.noise(z, t)
    assert expected.std() > 0.1
    torch.testing.assert_close(model.predict(z, t), expected, atol=1e-5, rtol=0)
    x, _ = pictures()
    torch.testing.assert_close(model.encode(x), literal.encode(x), atol=1e-5, rtol=0)


def test_a_filled_picture_is_that_of_the_literal_chain(model, literal):
    x, hole = pictures()
    z = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        expected = literal.fill((x + 1) / 2, hole, 20, z)
    y = filled(model, x, hole, 20, torch.Generator().manual_seed(5))
    torch.testing.assert_close((y + 1) / 2, expected, atol=1e-4, rtol=0)
    outside = (hole == 0).expand_as(x)
    assert torch.equal(y[outside], x[outside]) and (y != x)[~outside].float().mean() > 0.9


@torch.no_grad()
def test_with_one_head_a_level_the_noise_would_be_another(ckpt, literal):
    model = weights.big_model(ckpt, **SMALL)
    for part in model.unet.modules():
        if hasattr(part, "heads"):
            part.heads = 1
    z, t = torch.ones(1, 7, 16, 16), torch.tensor([9])
    assert not torch.allclose(model.predict(z, t), literal.noise(z, t), atol=1e-4)


def test_safetensors_and_a_folder_of_diffusers_give_the_same_weights(model, literal, tmp_path):
    path = tmp_path / "inpainting_big.safetensors"
    save_file({name: v.contiguous() for name, v in literal.checkpoint().items()}, path)
    folder = tmp_path / "inpainting_big"
    for part, name in weights.DIFFUSERS.items():
        (folder / name).mkdir(parents=True)
        save_file(getattr(model, part).state_dict(), folder / name / weights.IN_FOLDER)
    for place in (path, folder):
        other = weights.big_model(place, **SMALL).state_dict()
        assert all(torch.equal(value, other[name]) for name, value in model.state_dict().items())


def test_a_file_without_running_means_gives_its_weights(literal, model, tmp_path):
    path = tmp_path / "pruned.ckpt"
    state = {f"model.diffusion_model.{name}": value for name, value in literal.ema.items()}
    state |= {f"first_stage_model.{name}": value for name, value in literal.first_stage.items()}
    torch.save({"state_dict": state}, path)
    other = weights.big_model(path, **SMALL)
    assert torch.equal(other.unet.conv_in.weight, model.unet.conv_in.weight)


def foreign(path, ckpt, literal):
    torch.save({"state_dict": {"conv1.weight": torch.zeros(3)}}, path)


def of_another_width(path, ckpt, literal):
    torch.save({"state_dict": Literal((32, 32, 64, 64), (32, 32, 64), 50).checkpoint()}, path)


def cut_off(path, ckpt, literal):
    path.write_bytes(ckpt.read_bytes()[:-10_000])


def no_weights(path, ckpt, literal):
    path.write_text("<html>not found</html>")


@pytest.mark.parametrize("fault", [foreign, of_another_width, cut_off, no_weights])
@pytest.mark.parametrize("name", ["last.ckpt", "inpainting_big.safetensors"])
def test_other_files_are_refused_in_one_line_that_names_them(fault, name, ckpt, literal, tmp_path):
    path = tmp_path / name
    fault(path, ckpt, literal)
    with pytest.raises(DDLError, match=name) as error:
        weights.big_model(path, **SMALL)
    assert "\n" not in str(error.value) and "telea" in str(error.value)


def test_missing_weights_are_reported_with_where_to_put_them(monkeypatch, tmp_path):
    monkeypatch.setenv("DDL_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("DDL_RUNS", str(tmp_path / "runs"))
    with pytest.raises(DDLError, match="last.ckpt.*models.*telea"):
        INPAINTERS[big.NAME]().identity()
    folder = tmp_path / "data" / "models" / "inpainting_big"
    (folder / "unet").mkdir(parents=True)
    assert weights.find_big() == folder
    (folder / "last.ckpt").touch()
    assert weights.find_big() == folder / "last.ckpt"


class Command:
    """What unpickling would run."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_code_in_a_file_of_weights_is_never_run(literal, tmp_path):
    path, trace = tmp_path / "last.ckpt", tmp_path / "trace"
    torch.save({"state_dict": literal.checkpoint(), "callbacks": Command(trace)}, path)
    with pytest.raises(DDLError, match="last.ckpt: no weights that can be read"):
        weights.big_model(path, **SMALL)
    assert not trace.exists()


def test_objects_of_lightning_beside_the_weights_are_passed_over(literal, tmp_path, monkeypatch):
    name, path = "pytorch_lightning.callbacks.model_checkpoint", tmp_path / "last.ckpt"
    module = ModuleType(name)
    module.ModelCheckpoint = type("ModelCheckpoint", (), {"__module__": name})
    with monkeypatch.context() as patch:
        for part in ("pytorch_lightning", "pytorch_lightning.callbacks"):
            patch.setitem(sys.modules, part, ModuleType(part))
        patch.setitem(sys.modules, name, module)
        callbacks = {module.ModelCheckpoint: {"best": 0.1, "object": module.ModelCheckpoint()}}
        torch.save({"state_dict": literal.checkpoint(), "callbacks": callbacks}, path)
    assert weights.big_model(path, **SMALL).unet.conv_in.weight.shape == (32, 7, 3, 3)


def test_without_diffusers_a_line_says_what_to_install(ckpt, monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(DDLError, match="pip install diffusers.*telea"):
        weights.big_model(ckpt, **SMALL)
