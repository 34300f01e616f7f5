"""The set-up: exact versions everywhere, one environment, and the commands that make it."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest
import yaml
from jupyter_client import KernelManager

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = {"openvino-telemetry"}  # it sends usage figures; pinned for those who install by conda


def canonical(requirement: str) -> str:
    """The normalised name at the head of a requirement."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()


@pytest.fixture(scope="module")
def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonical(name): version for name, version in pairs}


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def direct(project) -> list[str]:
    extras = project["project"]["optional-dependencies"].values()
    return [*project["project"]["dependencies"], *(r for extra in extras for r in extra)]


def test_constraints_are_exact_and_without_addresses():
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert line.startswith("#") or re.fullmatch(r"[\w.-]+==[\w.!+-]+", line), line


def test_what_is_installed_is_locked_by_checksums_at_the_pinned_versions(pins):
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    blocks = re.split(r"^(?=\S)", text, flags=re.MULTILINE)[1:]
    locked = {}
    for block in blocks:
        head = re.match(r"([\w.-]+)==([\w.!+-]+)", block)
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", block), head[0]
        locked[canonical(head[1])] = head[2]
    expected = {name: version for name, version in pins.items() if name not in LEFT_OUT}
    assert expected.items() <= locked.items(), "make lock"
    assert not LEFT_OUT & locked.keys()


def test_every_dependency_has_a_lower_bound_and_a_pin(direct, pins):
    for requirement in direct:
        assert ">=" in requirement, requirement
        assert canonical(requirement) in pins, requirement


def test_the_pair_that_gpu_runs_share(pins):
    assert (pins["torch"], pins["torchvision"]) == ("2.11.0", "0.26.0")


def test_the_build_tool_is_pinned_alike(project, pins):
    assert project["build-system"]["requires"] == [f"setuptools=={pins['setuptools']}"]


def test_all_that_is_installed_is_pinned(project, pins):
    own = {canonical(project["project"]["name"]), "pip", "setuptools", "wheel"}
    ours = [sysconfig.get_path("purelib")]  # setuptools, once imported, adds copies of its own
    for package in importlib.metadata.distributions(path=ours):
        name = canonical(package.metadata["Name"])
        if name not in own:
            assert pins.get(name) == package.version, f"{name} {package.version}"


def test_conda_users_get_the_same_versions(direct, pins):
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    packages = next(d["pip"] for d in environment["dependencies"] if isinstance(d, dict))
    versions = dict(line.split("==") for line in packages if not line.startswith("-"))
    assert {canonical(name) for name in versions} == {canonical(r) for r in direct}
    for name, version in versions.items():
        assert pins[canonical(name)] == version, name


def test_one_opencv_only():
    names = {canonical(p.metadata["Name"]) for p in importlib.metadata.distributions()}
    assert [name for name in names if name.startswith("opencv")] == ["opencv-python"]


@pytest.mark.parametrize("target", ["book", "test", "lab"])
def test_each_command_makes_the_environment_first(target, tmp_path):
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    call = ["make", "--dry-run", f"PYTHON={sys.executable}", target]
    steps = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert steps.index("-m venv") < steps.index("requirements.lock") < steps.index(".venv/ready")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "ready").touch()
    steps = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert "install" not in steps, "a second call has to reuse the environment"


def test_ci_runs_the_tests_on_the_real_footage():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    text = script.read_text()
    assert "export DDL_DATA=../shared/data\n" in text
    assert text.rstrip().endswith("make lint\nmake test")


def test_notebooks_run_in_this_environment():
    command = KernelManager(kernel_name="python3").format_kernel_cmd()
    assert os.path.samefile(command[0], sys.executable)


def test_the_packages_are_found_from_any_folder(tmp_path):
    code = "import data_prep, ddllib; print(data_prep.__file__, ddllib.__file__)"
    call = [sys.executable, "-c", code]
    output = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert output.split() == [str(ROOT / p / "__init__.py") for p in ("data_prep", "ddllib")]
