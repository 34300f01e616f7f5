"""Small trained runs, their prepared data beside them."""

import shutil

import pytest

from ddllib.data import load_prepared
from ddllib.settings import load_profile
from ddllib.training import fit


def _run(prepared_folder, place, **changes):
    small = {"size": 32, "latent_dim": 8, "epochs": 1, "precision": "float32", **changes}
    settings = load_profile("tiny", **small)
    shutil.copytree(prepared_folder, place / settings.prepared_folder.name)
    fit(settings, load_prepared(prepared_folder), place / "run", progress=False)
    return place / "run"


@pytest.fixture(scope="session")
def trained(prepared_folder, tmp_path_factory):
    """The folder of a small trained run, its prepared data beside it."""
    return _run(prepared_folder, tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="session")
def watchable(prepared_folder, tmp_path_factory):
    """The same; the ends of its clips are kept for a threshold, so that one is chosen at once."""
    return _run(prepared_folder, tmp_path_factory.mktemp("watchable"), threshold_share=0.3)
