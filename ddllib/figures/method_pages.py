"""The method on the page: its functions from the source, and every value that it was run with."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence

import pandas as pd
from IPython.display import Markdown, display

from ddllib.settings import load_profile

# The settings of DDL that a reader would have to know to repeat it, with what they are.
SETTINGS = {
    "size": "frame height and width, pixels",
    "temporal": "frames in a window, T",
    "channels": "channels of a frame, C",
    "preset": "form of a block (chapter 3)",
    "latent_dim": "width of the deepest level",
    "detector": "what finds objects",
    "noise": "noise of a pixel",
    "distinction_weight": "weight of the distinction loss, lambda",
    "distinction_form": "form of its ratio (chapter 4)",
    "batch_size": "windows in a batch",
    "learning_rate": "learning rate of Adam",
    "sigma_learning_rate": "learning rate of l",
    "schedule": "course of the learning rate",
    "epochs": "epochs",
    "precision": "precision of convolutions",
    "patch_size": "side of a patch of the score, pixels",
    "protocol": "filter over time",
}
_SAME_RATE = "the same"  # as the weights'


def source_of(function: Callable | type) -> str:
    """The source of a function, method or class without its docstrings, from the margin on."""
    text = textwrap.dedent(inspect.getsource(function))
    lines = text.splitlines()
    kinds = ast.FunctionDef | ast.ClassDef
    for node in [n for n in ast.walk(ast.parse(text)) if isinstance(n, kinds)]:
        first = node.body[0]
        if ast.get_docstring(node) is not None and len(node.body) > 1:
            for index in range(first.lineno - 1, first.end_lineno):
                lines[index] = None
    return "\n".join(line for line in lines if line is not None)


def show_source(*functions: Callable | type) -> None:
    """Show the source of functions, methods or classes on the page, one block each."""
    for function in functions:
        display(Markdown(f"```python\n{source_of(function)}\n```"))


def setting_table(reported: Mapping[str, Mapping], profiles: Sequence[str]) -> pd.DataFrame:
    """Every value of DDL: as reported by the paper and its code, and in some profiles.

    ``reported`` maps a column's name to the settings that are given there.
    """
    columns = {name: dict(values) for name, values in reported.items()}
    for profile in profiles:
        settings = load_profile(profile)
        columns[profile] = {
            **settings.asdict(),
            "patch_size": settings.patch_size,
            "sigma_learning_rate": settings.sigma_learning_rate or _SAME_RATE,
        }
    rows = [
        {"": words} | {name: f"{values.get(key, 'not given')}" for name, values in columns.items()}
        for key, words in SETTINGS.items()
    ]
    return pd.DataFrame(rows)
