"""Load the weights that the authors released into our model (preset ``released``)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ddllib.errors import DDLError
from ddllib.models.unet import UNet

# In the authors' state dictionaries, but unused by their model.
_UNUSED = "decoder.conv_4.batch_norm_2."


def load_released_checkpoint(state: Mapping[str, Tensor], model: UNet) -> None:
    """Copy a state dictionary of the authors' code into ``model`` (preset ``released``), in place.

    Keys may carry the prefix ``module.`` that data-parallel training leaves. Raises ``DDLError``
    naming every tensor that is missing, left over or of another shape; the model is then unchanged.
    """
    weights = {key.removeprefix("module."): value for key, value in state.items()}
    weights = {key: value for key, value in weights.items() if not key.startswith(_UNUSED)}
    expected = model.state_dict()
    faults = [f"missing {key}" for key in expected if key not in weights]
    faults += [f"left over {key}" for key in weights if key not in expected]
    faults += [
        f"{key} is {tuple(weights[key].shape)}, expected {tuple(expected[key].shape)}"
        for key in expected
        if key in weights and weights[key].shape != expected[key].shape
    ]
    if faults:
        raise DDLError("checkpoint does not fit the model: " + "; ".join(faults))
    model.load_state_dict(weights)
