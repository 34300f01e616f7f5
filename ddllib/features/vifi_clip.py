"""ViFi-CLIP's frame features (Rasheed et al., CVPR 2023), those of the paper: 512 numbers."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from ddllib.errors import DDLError
from ddllib.features.base import FeatureExtractor, extractor, fill, read_state, timm_model

NETWORK = "vit_base_patch16_clip_quickgelu_224"
PREFIX = "image_encoder."  # of the tensors of the frames' network; the others are of the text's
TENSORS = 152
EXPECTED = "a checkpoint of ViFi-CLIP with ViT-B/16"


@extractor("vifi-clip")
class ViFiCLIP(FeatureExtractor):
    """The vision transformer of a ViFi-CLIP checkpoint as its authors publish it."""

    dimension = 512
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

    def default_weights(self) -> Path:
        raise DDLError(
            "features vifi-clip: no weights; set feature_weights to the path of a ViFi-CLIP "
            "checkpoint, or features to efficientnet-lite0, a stand-in"
        )

    def load(self, path: Path) -> nn.Module:
        state = visual_state(read_state(path, EXPECTED))
        if len(state) != TENSORS:
            raise DDLError(
                f"{path}: {len(state)} tensors of a network for frames, not {TENSORS}; expected "
                f"{EXPECTED}; set feature_weights"
            )
        network = timm_model(NETWORK, num_classes=self.dimension)
        from timm.models.vision_transformer import checkpoint_filter_fn

        return fill(network, checkpoint_filter_fn(state, network), path, EXPECTED)


def visual_state(content: dict) -> dict[str, Tensor]:
    """The weights of the frames' network under the names of CLIP, ``visual.*``, as float32."""
    state = content.get("model", content)
    if not isinstance(state, dict):
        return {}
    named = {str(name).removeprefix("module."): value for name, value in state.items()}
    return {
        name.replace(PREFIX, "visual.", 1): value.float()
        for name, value in named.items()
        if name.startswith(PREFIX) and isinstance(value, Tensor)
    }
