"""Every public docstring can be read as the API page reads it."""

import ast
import io
from pathlib import Path

import docutils.core
from sphinx.ext.napoleon import Config, GoogleDocstring

ROOT = Path(__file__).resolve().parents[2]
CONFIG = Config(napoleon_use_ivar=True)


def docstrings(path):
    """The docstrings of a module, its classes and its functions, each with its place."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield f"{path.relative_to(ROOT)}: {getattr(node, 'name', 'module')}", text


def warnings(text):
    """What the parser complains of in a docstring; empty where it is well formed."""
    log = io.StringIO()
    parsed = str(GoogleDocstring(text, CONFIG))
    docutils.core.publish_doctree(parsed, settings_overrides={"warning_stream": log})
    return log.getvalue()


def test_docstrings_are_well_formed():
    modules = [path for top in ("ddllib", "data_prep") for path in (ROOT / top).rglob("*.py")]
    faults = {
        place: complaint
        for path in modules
        for place, text in docstrings(path)
        if (complaint := warnings(text))
    }
    assert len(modules) > 100 and faults == {}


def test_a_stray_bar_is_a_fault():
    assert "substitution_reference" in warnings('numpy\'s name of a type: "|u1" is uint8')
