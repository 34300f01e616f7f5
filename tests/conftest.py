"""Shared fixtures: a small prepared data set, and the real data where ``DDL_DATA`` names it."""

import json
import os

import numpy as np
import pandas as pd
import pytest
from support.broker import broker  # noqa: F401  (fixture)
from support.disks import disk  # noqa: F401  (fixture)
from support.footage import common, footage, own_runs, ready  # noqa: F401  (fixtures)
from support.site import executed_chapters, site  # noqa: F401  (fixtures)
from support.trained import trained, watchable  # noqa: F401  (fixtures)

from ddllib.data import TRACK_COLUMNS, load_prepared
from ddllib.paths import data_root
from ddllib.settings import load_profile

SIDE, FRAMES = 32, 20
SLOW_FIXTURES = {"site", "executed_chapters"}  # they take minutes


def pytest_collection_modifyitems(items):
    """Files that take long come first, so that no process waits for another at the end."""
    for item in items:
        if SLOW_FIXTURES & set(item.fixturenames):
            item.add_marker(pytest.mark.slow)
    long = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in long)  # otherwise in their order


def walking_square(start: int, step: int, seed: int) -> np.ndarray:
    """A grey clip, N x 1 x H x W: a bright square crosses a fixed texture, with sensor noise."""
    texture = np.random.default_rng(0).integers(60, 120, (SIDE, SIDE))
    noise = np.random.default_rng(seed).normal(0, 2, (FRAMES, SIDE, SIDE))
    clip = texture + noise
    for t in range(FRAMES):
        x = (start + step * t) % (SIDE - 8)
        clip[t, 12:24, x : x + 8] += 90
    return clip.clip(0, 255).astype(np.uint8)[:, None]


@pytest.fixture(scope="session", autouse=True)
def own_compile_cache(tmp_path_factory):
    """Kernels compiled for another set of instructions would end the process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("compiled")))
        yield


@pytest.fixture(scope="session")
def prepared_folder(tmp_path_factory):
    """Two training clips with one track each, two test clips with a few abnormal frames."""
    folder = tmp_path_factory.mktemp("prepared")
    manifest = {"height": SIDE, "width": SIDE, "clips": {"training": {}, "testing": {}}}
    manifest["labelling"] = "labels.csv"
    rows = []
    for split in ("training", "testing"):
        (folder / split).mkdir()
        for k, name in enumerate(("01", "02")):
            clip = walking_square(2 * k, 1, seed=k + 10 * (split == "testing"))
            if split == "testing":
                clip[8:13, :, :6] = 255 - clip[8:13, :, :6]
            np.save(folder / split / f"{name}.npy", clip)
            manifest["clips"][split][name] = {"frames": FRAMES}
            for t in range(FRAMES):
                x = (2 * k + t) % (SIDE - 8) / SIDE
                rows.append((split, name, t, 1, x, 12 / SIDE, x + 8 / SIDE, 24 / SIDE, 0.9, 0))
    (folder / "labels" / "labels.csv").mkdir(parents=True)
    for name in ("01", "02"):
        labels = np.zeros(FRAMES, np.uint8)
        labels[8:13] = 1
        np.save(folder / "labels" / "labels.csv" / f"{name}.npy", labels)
    pd.DataFrame(rows, columns=TRACK_COLUMNS).to_csv(folder / "tracks.csv", index=False)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def small_data(prepared_folder):
    """The small data set, opened."""
    return load_prepared(prepared_folder)


@pytest.fixture
def small_settings(tmp_path, monkeypatch):
    """Makes settings for a model of seconds; runs go to a folder of the test's own."""
    monkeypatch.setenv("DDL_RUNS", str(tmp_path / "runs"))

    def make(**changes):
        small = {"size": SIDE, "latent_dim": 8, "epochs": 2, "precision": "float32"}
        return load_profile("tiny", **{**small, **changes})

    return make


@pytest.fixture(scope="session")
def ped2():
    """Real UCSD Ped2 under ``$DDL_DATA``; without the variable its tests are skipped."""
    if "DDL_DATA" not in os.environ:
        pytest.skip("set DDL_DATA to a folder that holds ped2 to run on real footage")
    return data_root() / "ped2"
