"""The API's pages: one for each room of the packages, with every public module."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("ddllib", "data_prep")


def api_pages(root: Path) -> dict[str, str]:
    """The pages in Markdown by name, such as ``ddllib-camera``; a room holds its subpackages."""
    packages = [init.parent for top in PACKAGES for init in (root / top).rglob("__init__.py")]
    packages.sort(
        key=lambda package: (PACKAGES.index(_parts(root, package)[0]), _parts(root, package))
    )
    rooms: dict[tuple[str, ...], list[Path]] = {}
    for package in packages:
        rooms.setdefault(_parts(root, package)[:2], []).append(package)
    return {"-".join(room): "\n".join(_page(root, room, rooms[room])) for room in rooms}


def _page(root: Path, room: tuple[str, ...], packages: list[Path]) -> Iterator[str]:
    yield from (f"# {'.'.join(room)}", "")
    for package in packages:
        if _parts(root, package) != room:
            yield from (f"## {'.'.join(_parts(root, package))}", "")
        yield from _module(root, package / "__init__.py")
        for path in sorted(package.glob("*.py")):
            if not path.stem.startswith("_"):
                yield from (f"## {'.'.join(_parts(root, path))}", "")
                yield from _module(root, path)


def _module(root: Path, path: Path) -> Iterator[str]:
    name = ".".join(part for part in _parts(root, path) if part != "__init__")
    yield from ("```{eval-rst}", f".. automodule:: {name}")
    # For a package list only what it defines, not what it imports from its modules.
    if path.stem == "__init__" and not re.search(r"^(def|class) ", path.read_text("utf-8"), re.M):
        yield "   :no-members:"
    yield from ("```", "")


def _parts(root: Path, path: Path) -> tuple[str, ...]:
    return path.relative_to(root).with_suffix("").parts
