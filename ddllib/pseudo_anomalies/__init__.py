"""Alterations of normal footage, to train with and to evaluate with.

A file defines one kind or several similar ones; every file here is imported and its kinds are
listed in ``KINDS`` by name.
"""

import sys

from ddllib.pseudo_anomalies.base import KINDS
from ddllib.registry import import_all

import_all(sys.modules[__name__])

__all__ = ["KINDS"]
