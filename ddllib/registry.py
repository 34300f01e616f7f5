"""Registration of classes by name, and import of all modules of a package."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from types import ModuleType

from ddllib.errors import DDLError


def register(known: dict[str, type], name: str) -> Callable[[type], type]:
    """A decorator that registers a class as ``name``; a name in use raises ``DDLError``."""

    def add(cls: type) -> type:
        if "+" in name or not name[:1].isalpha():  # texts such as "0.5 noise + another" name it
            raise DDLError(f"{cls}: {name!r} is no name; expected a letter first, and no +")
        if name in known:
            raise DDLError(f"{cls}: the name {name!r} is taken by {known[name]}; choose another")
        known[name] = cls
        return cls

    return add


def import_all(package: ModuleType) -> None:
    """Import every module of a package, so that their classes are registered."""
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
