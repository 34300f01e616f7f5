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
    rst = str(GoogleDocstring(text, CONFIG))
    docutils.core.publish_doctree(rst, settings_overrides={"warning_stream": log})
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


def read_as_types(source):
    """The properties of a module whose docstring begins like "type: description".

    Napoleon takes what stands before such a colon for the type of the property.
    """
    return [
        node.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef)
        and any("property" in ast.unparse(decorator) for decorator in node.decorator_list)
        and ":" in (ast.get_docstring(node) or "").partition("\n")[0]
    ]


def test_no_docstring_of_a_property_is_read_as_its_type():
    modules = [path for top in ("ddllib", "data_prep") for path in (ROOT / top).rglob("*.py")]
    faults = {str(path): names for path in modules if (names := read_as_types(path.read_text()))}
    assert len(modules) > 100 and faults == {}


def test_a_colon_in_the_first_line_of_a_property_is_a_fault():
    source = 'class A:\n    @property\n    def place(self):\n        """Where it is: {}."""\n'
    assert read_as_types(source.format("here")) == ["place"]
    assert read_as_types(source.replace(": {}", "")) == []


def test_a_stray_bar_is_a_fault():
    assert "substitution_reference" in warnings('numpy\'s name of a type: "|u1" is uint8')
