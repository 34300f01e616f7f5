"""In-painters: a region of a frame filled from what surrounds it.

A file defines one in-painter or several similar ones; every file here is imported and its
in-painters are listed in ``INPAINTERS`` by name.
"""

import sys

from data_prep.companions.inpainting.base import INPAINTERS
from ddllib.registry import import_all

import_all(sys.modules[__name__])

__all__ = ["INPAINTERS"]
