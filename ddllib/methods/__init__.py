"""Methods, one per paper: models, loss and scorer. Every file here is imported."""

import sys

from ddllib.methods.base import METHODS, Method, method_of, with_settings
from ddllib.registry import import_all

import_all(sys.modules[__name__])

__all__ = ["METHODS", "Method", "method_of", "with_settings"]
