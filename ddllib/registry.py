"""Registration of classes by name, and import of all modules of a package."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from types import ModuleType

from ddllib.errors import DDLError


def register(
    known: dict[str, type], name: str, base: type, methods: Sequence[str] = ()
) -> Callable[[type], type]:
    """A decorator that registers a class as ``name``.

    ``methods`` are those of ``base`` that the class has to write itself, such as ``maps or judge``.
    Raises ``DDLError`` for a name in use, for another base, and for a method that is missing.
    """

    def add(cls: type) -> type:
        if "+" in name or not name[:1].isalpha():  # texts such as "0.5 noise + another" name it
            raise DDLError(f"{cls}: {name!r} is no name; expected a letter first, and no +")
        if name in known:
            raise DDLError(f"{cls}: the name {name!r} is taken by {known[name]}; choose another")
        if not issubclass(cls, base):
            raise DDLError(f"{cls}: expected a class that derives from {base.__name__}")
        for choice in methods:
            if not any(_writes(cls, base, method) for method in choice.split(" or ")):
                raise DDLError(f"{cls}: has no method {choice}; expected one, see {base.__name__}")
        known[name] = cls
        return cls

    return add


def _writes(cls: type, base: type, method: str) -> bool:
    """Whether the class has a method of its own in place of that of its base."""
    return getattr(cls, method) is not getattr(base, method)


def import_all(package: ModuleType) -> None:
    """Import every module of a package, so that their classes are registered."""
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
