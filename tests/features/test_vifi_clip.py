"""ViFi-CLIP's checkpoints: read safely, mapped rightly, and refused where they are none."""

import pickle
import sys
import types

import pytest
import torch
import torch.nn.functional as F

from ddllib import DDLError
from ddllib.features import EXTRACTORS
from ddllib.features.base import cropped

WIDTH, HEADS, BLOCKS, SIDE = 768, 12, 12, 224


def clip_shaped_weights():
    """Random weights under the names and in the shapes of CLIP's ViT-B/16."""
    rng = torch.Generator().manual_seed(0)

    def around(mean, *shape):
        return mean + torch.randn(shape, generator=rng) / shape[-1] ** 0.5

    state = {
        "class_embedding": around(0, WIDTH),
        "positional_embedding": around(0, (SIDE // 16) ** 2 + 1, WIDTH),
        "proj": around(0, WIDTH, 512),
        "conv1.weight": around(0, WIDTH, 3, 16, 16),
    }
    norms = ["ln_pre", "ln_post"]
    for k in range(BLOCKS):
        block = f"transformer.resblocks.{k}."
        norms += [f"{block}ln_1", f"{block}ln_2"]
        for name, wide, narrow in (
            ("attn.in_proj_", 3 * WIDTH, WIDTH),
            ("attn.out_proj.", WIDTH, WIDTH),
            ("mlp.c_fc.", 4 * WIDTH, WIDTH),
            ("mlp.c_proj.", WIDTH, 4 * WIDTH),
        ):
            state[f"{block}{name}weight"] = around(0, wide, narrow)
            state[f"{block}{name}bias"] = around(0, wide)
    for name in norms:
        state[f"{name}.weight"], state[f"{name}.bias"] = around(1, WIDTH), around(0, WIDTH)
    return state


def literal_clip(state, x):
    """CLIP's forward pass as its paper and code define it: N x 3 x 224 x 224 -> N x 512."""

    def normed(x, name):
        return F.layer_norm(x, (WIDTH,), state[f"{name}.weight"], state[f"{name}.bias"])

    def linear(x, name):
        return x @ state[f"{name}weight"].T + state[f"{name}bias"]

    patches = F.conv2d(x, state["conv1.weight"], stride=16).flatten(2).transpose(1, 2)
    token = state["class_embedding"].expand(len(x), 1, WIDTH)
    x = normed(torch.cat([token, patches], 1) + state["positional_embedding"], "ln_pre")
    for k in range(BLOCKS):
        block = f"transformer.resblocks.{k}."
        whole = linear(normed(x, f"{block}ln_1"), f"{block}attn.in_proj_")
        queries, keys, values = (
            part.unflatten(2, (HEADS, -1)).transpose(1, 2) for part in whole.split(WIDTH, dim=2)
        )
        attention = (queries @ keys.transpose(2, 3) / (WIDTH // HEADS) ** 0.5).softmax(3)
        mixture = (attention @ values).transpose(1, 2).flatten(2)
        x = x + linear(mixture, f"{block}attn.out_proj.")
        hidden = linear(normed(x, f"{block}ln_2"), f"{block}mlp.c_fc.")
        x = x + linear(hidden * torch.sigmoid(1.702 * hidden), f"{block}mlp.c_proj.")
    return normed(x[:, 0], "ln_post") @ state["proj"]


def save(path, content, monkeypatch):
    """As ViFi-CLIP's training saves: with settings of a class of the package yacs."""
    config = types.ModuleType("yacs.config")
    config.CfgNode = type("CfgNode", (dict,), {"__module__": "yacs.config"})
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "yacs", types.ModuleType("yacs"))
        patch.setitem(sys.modules, "yacs.config", config)
        node = config.CfgNode(MODEL=config.CfgNode(ARCH="ViT-B/16"))
        node.__dict__["__immutable__"] = True
        torch.save({**content, "config": node}, path)
    assert "yacs" not in sys.modules
    return str(path)


@pytest.fixture(scope="module")
def weights():
    return clip_shaped_weights()


@pytest.fixture(scope="module")
def checkpoint(weights, tmp_path_factory):
    state = {f"module.image_encoder.{name}": value for name, value in weights.items()}
    state |= {"module.logit_scale": torch.ones(()), "module.text_encoder.proj": torch.ones(2, 2)}
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("clip") / "vifi.pth"
        yield save(path, {"model": state, "epoch": 10, "optimizer": {"state": {}}}, patch)


@torch.no_grad()
def test_a_checkpoint_gives_the_features_of_clips_own_forward_pass(weights, checkpoint):
    assert len(weights) == 152
    extractor = EXTRACTORS["vifi-clip"](checkpoint)
    frames = torch.rand(1, 3, 240, 360, generator=torch.Generator().manual_seed(1))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = (cropped(frames) - mean[:, None, None]) / std[:, None, None]
    expected, features = literal_clip(weights, x), extractor(frames)
    assert torch.allclose(extractor.network(x), expected, atol=1e-5 * float(expected.abs().max()))
    assert features.shape == (1, extractor.dimension) == (1, 512)
    assert torch.allclose(features, F.normalize(expected), atol=1e-6)


class Dangerous:
    def __reduce__(self):
        return (print, ("run",))


def test_files_that_are_no_such_checkpoint_are_named(tmp_path, monkeypatch, capsys):
    path = tmp_path / "weights.pth"

    def fault():
        with pytest.raises(DDLError) as error:
            EXTRACTORS["vifi-clip"](str(path))
        assert str(path) in str(error.value) and "ViFi-CLIP" in str(error.value)
        return str(error.value)

    path.mkdir()
    assert "no file" in fault()
    path.rmdir()
    path.write_bytes(b"PK\x03\x04 not a checkpoint")
    assert "cannot be read" in fault()
    path.write_bytes(pickle.dumps(Dangerous(), 2))
    assert "cannot be read" in fault()
    torch.save([1, 2], path)
    assert "no table" in fault()
    torch.save({"model": {"backbone.weight": torch.ones(3)}}, path)
    assert "0 tensors" in fault()
    save(path, {"model": {f"image_encoder.{k}": torch.ones(1) for k in range(152)}}, monkeypatch)
    assert "other weights" in fault()
    assert "run" not in capsys.readouterr().out


def test_without_a_path_it_says_that_one_is_needed():
    with pytest.raises(DDLError, match="feature_weights"):
        EXTRACTORS["vifi-clip"]()
    with pytest.raises(DDLError, match="no-such-file.pth: not found"):
        EXTRACTORS["vifi-clip"]("no-such-file.pth")
