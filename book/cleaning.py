"""Remove progress bars and local paths from executed chapters."""

from __future__ import annotations

import os
import re
import sys
from functools import partial
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from ddllib.errors import DDLError

NUMBERS = "application/vnd.ddl.numbers+json"

# tqdm's "45%|####  | 9/20", and its form without a total, "9frame [00:01, 8.10frame/s]".
_BAR = re.compile(r"\d+%\|.*\||\b\d+ ?[a-z]+ \[\d\d:\d\d|\d(it/s|s/it)\b|\?it/s")
_CURSOR = re.compile(r"\x1b\[[ABJK]")
# An embedded image or video; searching it for paths would take minutes.
_EMBEDDED = re.compile(r"(data:[\w/+.-]+;base64,[A-Za-z0-9+/=]+)")
_CELL_FILE = re.compile(r"[^\s\"'(<>]*ipykernel_\d+/\d+\.py")


def clean(notebook: NotebookNode, root: Path) -> NotebookNode:
    """Remove from an executed notebook, in place, what depends on the machine.

    Papermill's metadata (absolute paths, times) and progress bars are removed; paths in text
    outputs become relative to the project's root or to a named folder (``$DDL_DATA``, ``~``).
    """
    notebook.metadata.pop("papermill", None)
    places = _places(root)
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.metadata.tags.append("remove-cell")
        if cell.cell_type == "code":
            outputs = [_without_bars(output) for output in cell.outputs]
            cell.outputs = [_relative(output, places) for output in outputs if output is not None]
    return notebook


def stored_numbers(executed: Path | NotebookNode) -> dict:
    """The numbers that a chapter stored in outputs of the type ``NUMBERS``, merged.

    Raises ``DDLError`` where two outputs give the same name.
    """
    is_notebook = isinstance(executed, NotebookNode)
    notebook = executed if is_notebook else nbformat.read(executed, as_version=4)
    numbers = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            for name, value in output.get("data", {}).get(NUMBERS, {}).items():
                if name in numbers:
                    source = executed.name if isinstance(executed, Path) else "notebook"
                    raise DDLError(f"{source}: the number {name!r} is stored twice; name it anew")
                numbers[name] = value
    return numbers


def _without_bars(output: NotebookNode) -> NotebookNode | None:
    """The output without progress bars; None where nothing else was in it."""
    if output.output_type != "stream" or output.name != "stderr":
        return output
    lines = []
    for line in output.text.splitlines(keepends=True):
        # A bar is redrawn with carriage returns; a warning may be between two redraws.
        if "\r" in line or _BAR.search(line) or _CURSOR.search(line):
            line = "".join(p for p in re.split(r"[\r\n]", line) if p and not _is_bar(p))
            line = line and line + "\n"
        lines.append(line)
    output.text = "".join(lines).lstrip("\n")
    return output if output.text.strip() else None


def _is_bar(part: str) -> bool:
    return bool(_BAR.search(part)) or not _CURSOR.sub("", part).strip()


def _places(root: Path) -> list[tuple[re.Pattern, str]]:
    """Patterns of the local folders, longest first, each with its replacement."""
    named = {
        str(root): ".",
        sys.prefix: ".venv",
        sys.base_prefix: "python",
        str(Path.home()): "~",
    }
    for variable in ("DDL_DATA", "DDL_RUNS"):
        if variable in os.environ:
            folder = os.path.abspath(root / os.environ[variable])
            named.setdefault(folder, f"${variable}")
    named.pop("/", None)
    ordered = sorted(named.items(), key=lambda item: -len(item[0]))
    # Not inside a longer path or a URL, and only whole folder names.
    return [(re.compile(rf"(?<![\w.~/-]){re.escape(p)}(?![\w-])(/?)"), n) for p, n in ordered]


def _stand_in(name: str, match: re.Match) -> str:
    """The replacement text: ``./runs`` becomes ``runs``, the project's root alone ``.``."""
    return "" if name == "." and match[1] else name + match[1]


def _rewritten(text: str, places) -> str:
    text = _CELL_FILE.sub("cell", text)
    for pattern, name in places:
        text = pattern.sub(partial(_stand_in, name), text)
    return text


def _relative(value, places):
    """``value`` with every text in it rewritten; images are left as they are."""
    if isinstance(value, str):
        parts = _EMBEDDED.split(value)  # every second part is embedded data
        parts[::2] = [_rewritten(part, places) for part in parts[::2]]
        return "".join(parts)
    if isinstance(value, list):
        return [_relative(item, places) for item in value]
    if isinstance(value, dict):
        for key, item in value.items():
            if not key.startswith("image/") or key == "image/svg+xml":
                value[key] = _relative(item, places)
    return value
