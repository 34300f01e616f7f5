"""Frame features: what a pre-trained network says of one frame (STPA, section 3.5).

Every file here is imported and its extractors are listed in ``EXTRACTORS`` by name.
"""

import sys

from ddllib.features.base import EXTRACTORS
from ddllib.registry import import_all

import_all(sys.modules[__name__])

__all__ = ["EXTRACTORS"]
