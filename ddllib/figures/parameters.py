"""The settings of a chapter: the profile with the parameters that papermill or the reader set."""

from __future__ import annotations

import ast
import contextlib
import sys
from collections.abc import Mapping, Sequence

from data_prep.preparing.advise import OWN_CAMERA, kept_advice
from ddllib.errors import DDLError
from ddllib.ignore import path_or_boxes
from ddllib.settings import VOCABULARY, Settings, check_names, load_profile


def chapter_settings(namespace: Mapping, method: str | None = None) -> Settings:
    """The settings of a chapter: its profile, overridden by parameters set in the notebook.

    ``namespace`` is the notebook's ``globals()``. Parameters left at None keep the profile's
    value; a parameter injected by papermill under a name that is not known raises ``DDLError``,
    and so does a value of a wrong type. With the profile ``own-camera`` settings that are left
    open are proposed from the footage (``advise``). ``method`` is the one that the chapter tells
    of, if it is one only; a profile of another raises ``DDLError``. From here on a ``DDLError`` in
    the notebook is shown in one line.
    """
    tell_in_one_line()
    cells = namespace.get("In", ())
    injected_names = _assigned_names(
        [cell for cell in cells if cell.startswith("# Parameters\n")][-1:]
    )
    check_names(injected_names, "parameters")
    reader_names = _assigned_names(
        [cell for cell in cells if "profile" in _assigned_names([cell])][-1:]
    )
    for name in injected_names | (reader_names & VOCABULARY):
        _check_value(name, namespace.get(name))
    values = {
        name: namespace[name]
        for name in VOCABULARY
        if isinstance(namespace.get(name), str | int | float | list)
    }
    if isinstance(values.get("ignore"), str):  # papermill passes a list as text
        values["ignore"] = path_or_boxes(values["ignore"])
    profile = values.pop("profile", "demo")
    if profile == OWN_CAMERA and "data" in values:
        values = {**kept_advice(str(values["data"])), **values}
    settings = load_profile(profile, **values)
    if method and settings.method != method:
        raise DDLError(
            f"profile {profile}: trains method {settings.method}; expected {method}, of which this "
            f"chapter tells; give a profile such as {method}-demo"
        )
    return settings


def _check_value(name: str, value) -> None:
    """Raise ``DDLError`` for a value of a type that a profile cannot hold."""
    kinds = str | int | float | (list if name == "ignore" else str)
    if value is not None and not isinstance(value, kinds):
        raise DDLError(f"parameters: {name} is {value!r}; expected text, a number, true or false")


def _assigned_names(cells: Sequence[str]) -> set[str]:
    """The names that cells assign at their top level; none for cells that are not pure Python.

    Papermill's parameters are in a cell that begins with ``# Parameters``, those of the reader in a
    cell that assigns ``profile``.
    """
    names = set()
    for cell in cells:
        with contextlib.suppress(SyntaxError, ValueError):  # %magic, or a null byte
            nodes = [node for node in ast.parse(cell).body if isinstance(node, ast.Assign)]
            names |= {t.id for n in nodes for t in n.targets if isinstance(t, ast.Name)}
    return names


def tell_in_one_line() -> None:
    """Show a ``DDLError`` in this notebook as one line without a traceback.

    The cell and the chapter still fail. Outside a notebook nothing happens.
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell:
        shell.set_custom_exc((DDLError,), _show)


def _show(shell, kind, error, calls, tb_offset=None) -> list[str]:
    lines = [f"{kind.__name__}: {error}"]
    shell._showtraceback(kind, error, lines)  # IPython's own function for tracebacks
    return lines
