"""Imports go down only: each room of the house uses its own floor and those below."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# From the ground up. A module not named here belongs to its room, and a room to its floor.
FLOORS = [
    {
        "ddllib.errors",
        "ddllib.paths",
        "ddllib.io",
        "ddllib.registry",
        "ddllib.weighted",
        "ddllib.flow",
    },
    {"ddllib.data"},
    {"data_prep"},
    {
        *("ddllib.models", "ddllib.fast", "ddllib.devices", "ddllib.losses", "ddllib.windows"),
        *("ddllib.pseudo_anomalies", "ddllib.scoring", "ddllib.streaming", "ddllib.ignore"),
        *("ddllib.evaluation", "ddllib.localisation", "ddllib.random_state"),
        *("ddllib.camera.backgrounds", "ddllib.patches", "ddllib.score_terms"),
        "ddllib.features",
    },
    {
        *("ddllib.settings", "ddllib.checkpoints", "ddllib.records", "ddllib.training"),
        *("ddllib.record_parts", "ddllib.runs", "ddllib.methods", "ddllib.calibration"),
    },
    {"ddllib.pipeline"},
    {"ddllib.camera", "ddllib.figures", "ddllib.experiments", "ddllib.export"},
    {"studies"},
    {"ddllib.__main__", "ddllib"},
]

MODULE_LINES, CLASS_LINES = 350, 150
CORE_LINES = 5000  # lines of code in ddllib without the rooms that use it
BESIDE = ("ddllib.camera", "ddllib.experiments", "ddllib.export", "ddllib.figures", "ddllib.fast")


def modules() -> dict[str, Path]:
    """Every module of the two packages by its dotted name."""
    paths = {}
    for package in ("ddllib", "data_prep"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            paths[name.removesuffix(".__init__")] = path
    return paths


def imports(path: Path, paths: dict[str, Path]) -> set[str]:
    """The modules of ours that a file imports, also inside its functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = {f"{node.module}.{name.name}" for name in node.names}
            names |= {name if name in paths else node.module for name in whole}
    return names & paths.keys()


def floor(module: str) -> int:
    """The number of a module's floor; that of the longest name that fits counts."""
    fitting = [
        (len(name), number)
        for number, names in enumerate(FLOORS)
        for name in names
        if module == name or module.startswith(f"{name}.") and name != "ddllib"
    ]
    if not fitting:
        pytest.fail(f"{module}: on no floor; name it or its room in FLOORS")
    return max(fitting)[1]


def upward() -> set[str]:
    paths = modules()
    return {
        f"{module} -> {target}"
        for module, path in paths.items()
        for target in imports(path, paths)
        if floor(target) > floor(module)
    }


def test_no_import_goes_up():
    assert upward() == set()


def test_an_import_inside_a_function_counts(tmp_path):
    path = tmp_path / "a.py"
    path.write_text("def f():\n    from ddllib.camera import watch\n    import ddllib.pipeline\n")
    assert imports(path, modules()) == {"ddllib.camera.watch", "ddllib.pipeline"}


def circles() -> set[tuple[str, ...]]:
    """The groups of modules in which each reaches every other by imports."""
    paths = modules()
    uses = {module: imports(path, paths) for module, path in paths.items()}
    reach = {module: reached(module, uses) for module in paths}
    groups = {tuple(sorted(b for b in reach[a] if a in reach[b])) for a in paths}
    return {group for group in groups if len(group) > 1}


def reached(module: str, uses: dict[str, set[str]]) -> set[str]:
    """All that a module imports, directly or by others."""
    names, todo = set(), [module]
    while todo:
        for target in uses[todo.pop()] - names:
            names.add(target)
            todo.append(target)
    return names


def test_no_modules_need_one_another():
    assert circles() == set()


def test_modules_and_classes_are_small():
    for path in modules().values():
        text = path.read_text("utf-8")
        classes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ClassDef)]
        long = [c.name for c in classes if c.end_lineno - c.lineno >= CLASS_LINES]
        assert len(text.splitlines()) <= MODULE_LINES and not long, f"{path}: {long}"


def code_lines(path: Path) -> int:
    """The lines of a module that hold code: no comment, no docstring, nothing empty."""
    text = path.read_text("utf-8")
    documented = ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef
    docstrings = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False):
            docstrings |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return sum(
        bool(line.strip()) and not line.lstrip().startswith("#") and number not in docstrings
        for number, line in enumerate(text.splitlines(), 1)
    )


def test_the_library_is_thin(tmp_path):
    path = tmp_path / "a.py"
    path.write_text(
        '"""A\nmodule."""\n\nX = 1  # one\n# two\n\n\ndef f():\n    """F."""\n    return X\n'
    )
    assert code_lines(path) == 3
    core = [
        path
        for name, path in modules().items()
        if name.startswith("ddllib") and not name.startswith(BESIDE)
    ]
    assert sum(map(code_lines, core)) <= CORE_LINES


def test_files_that_commands_and_pages_name_exist():
    pattern = re.compile(r"\b(?:tests|ddllib|data_prep|book)/[\w/.-]+\.(?:py|yaml|ipynb|sh)\b")
    for page in ("Makefile", "README.md", "CONTRIBUTING.md", ".ci/run"):
        paths = pattern.findall((ROOT / page).read_text("utf-8"))
        assert [path for path in paths if not (ROOT / path).is_file()] == [], page
