"""Terms of the score: each gives a map and a number for every frame.

A file defines one term or several similar ones; every file here is imported and its terms are
listed in ``TERMS`` by name. ``settings.score`` is a weighted sum of them.
"""

import sys

from ddllib.registry import import_all
from ddllib.score_terms.base import TERMS

import_all(sys.modules[__name__])

__all__ = ["TERMS"]
