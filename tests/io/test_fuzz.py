"""Readers under fire: whatever bytes a file holds, only ``DDLError`` comes out, as one line.

Valid files with a few bytes changed, cut or put in reach further into a reader than random bytes
do; both are tried. Examples are derived from the test itself, so that every run tries the same.
"""

import contextlib
import io
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.io import savemat
from support.footage import FRAMES

from data_prep.footage.frames import read_image
from data_prep.footage.labels import read_labelling
from data_prep.footage.masks import mask_count, read_masks
from data_prep.preparing.manifest import verify
from ddllib.data import load_prepared
from ddllib.errors import DDLError
from ddllib.experiments.grid import read_experiment
from ddllib.figures import contact_sheets
from ddllib.records import read_record, write_record
from ddllib.settings import load_profile

CLIPS = {"01": FRAMES, "02": FRAMES}
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["flip", "cut", "insert", "drop", "double"]),
        st.floats(0, 1, exclude_max=True),
        st.binary(min_size=1, max_size=6),
    ),
    min_size=1,
    max_size=5,
)
# Pieces of text that readers of tables and YAML take for something.
TOKENS = st.lists(
    st.sampled_from(
        [
            "01",
            "clip",
            ",",
            "\n",
            ":",
            " ",
            "- ",
            "[",
            "]",
            "{",
            "}",
            "&a ",
            "*a",
            "<<: ",
            "!!",
            '"',
        ]
        + [
            "'",
            "#",
            "0x",
            "nan",
            "inf",
            "-1",
            "9" * 30,
            "1e400",
            "null",
            "true",
            "\x00",
            "é",
            "|\n",
        ]
        + ["profile", "grid", "seed", "tiny", "size", "mode", "frames", "training", "? ", "\t", "%"]
    ),
    max_size=40,
).map("".join)


def mutated(data: bytes, edits) -> bytes:
    """A valid file after a few accidents."""
    for kind, place, piece in edits:
        at = int(place * (len(data) + 1))
        if kind == "flip":
            data = (
                data[:at]
                + bytes(a ^ b for a, b in zip(data[at:], piece, strict=False))
                + (data[at + len(piece) :])
            )
        elif kind == "cut":
            data = data[:at]
        elif kind == "insert":
            data = data[:at] + piece + data[at:]
        elif kind == "drop":
            data = data[:at] + data[at + len(piece) :]
        else:
            data = data[:at] + data[at // 2 :]
    return data


@contextlib.contextmanager
def one_line_at_most():
    """A DDLError of one line may come out of the block, and nothing else; warnings neither."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            yield
        except DDLError as error:
            text = str(error)
            assert text.isprintable() and len(text) < 1600


def bounded(examples):
    """Settings under which a run is the same everywhere and ends in seconds."""
    return settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def contents(valid: bytes):
    """Bytes near a valid file, and any."""
    return st.one_of(EDITS.map(lambda edits: mutated(valid, edits)), st.binary(max_size=300))


def texts(valid: str):
    """The same for text, with pieces that its grammar knows."""
    cut = st.tuples(st.floats(0, 1), TOKENS).map(
        lambda pair: valid[: int(pair[0] * len(valid))] + pair[1]
    )
    return st.one_of(contents(valid.encode()), cut.map(str.encode), TOKENS.map(str.encode))


def saved(write) -> bytes:
    file = io.BytesIO()
    write(file)
    return file.getvalue()


def mat(name, cell) -> bytes:
    cells = np.empty((1, 2), object)
    cells[0, 0], cells[0, 1] = cell, cell
    return saved(lambda file: savemat(file, {name: cells}, do_compression=len(cell) == 2))


VECTOR = (np.arange(2 * FRAMES) % 7 == 3).astype(np.uint8)
LABELS = {
    "labels.csv": "clip,first,last\n01,4,7\n02,,\n",
    "gt.m": "TestVideoFile = {};\n" + 2 * "TestVideoFile{end+1}.gt_frame = [2:5, 7:9];\n",
    "gt.npy": saved(lambda file: np.save(file, VECTOR)),
    "gt.mat": mat("gt", np.array([[2, 7], [5, 9]])),
}


@pytest.mark.parametrize("name", LABELS)
@pytest.mark.slow
def test_labels(tmp_path, name):
    path, valid = tmp_path / name, LABELS[name]

    @bounded(20 if name == "gt.mat" else 300)  # each .mat is read in a process of its own
    @given(texts(valid) if isinstance(valid, str) else contents(valid))
    def read(data):
        path.write_bytes(data)
        with one_line_at_most():
            read_labelling(path, CLIPS)

    path.write_bytes(valid.encode() if isinstance(valid, str) else valid)
    assert set(read_labelling(path, CLIPS)) == set(CLIPS)
    read()


MASKS = np.zeros((FRAMES, 6, 8), np.uint8)
TRUTH = {
    "01.npy": saved(lambda file: np.save(file, MASKS)),
    "01_label.mat": mat("volLabel", np.ones((3, 4))),
}


@pytest.mark.parametrize("name", TRUTH)
@pytest.mark.slow
def test_masks(tmp_path, name):
    path = tmp_path / name

    @bounded(20 if name == "01_label.mat" else 300)
    @given(contents(TRUTH[name]))
    def read(data):
        path.write_bytes(data)
        with one_line_at_most():
            assert len(list(read_masks([path]))) == mask_count([path])

    path.write_bytes(TRUTH[name])
    assert len(list(read_masks([path]))) == mask_count([path]) > 0
    read()


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "tif"])
def test_images(tmp_path, ending):
    import cv2

    path = tmp_path / f"000.{ending}"
    valid = cv2.imencode(f".{ending}", np.tile(np.arange(24, dtype=np.uint8) * 9, (16, 1)))[1]

    @bounded(200)
    @given(contents(valid.tobytes()))
    def read(data):
        path.write_bytes(data)
        with one_line_at_most():
            assert read_image(path, cv2.IMREAD_ANYCOLOR).dtype == np.uint8

    read()


PROFILE = "mode: ddl\nseed: 3\nlearning_rate: 0.01\ndata: demo-short\nweights: null\nsize: 96\n"
EXPERIMENT = (
    "profile: tiny\nfixed: {epochs: 1}\nvariants:\n  well: {}\n  other: {mode: none}\n"
    "grid:\n  model: [unet, c3dsu]\n  seed: [0, 1]\n"
)


def test_profiles(tmp_path, monkeypatch):
    path = tmp_path / "profile.yaml"
    monkeypatch.setattr("ddllib.settings.PROFILES", tmp_path)

    @bounded(400)
    @given(texts(PROFILE))
    def read(data):
        path.write_bytes(data)
        with one_line_at_most():
            profile = load_profile("profile")
            assert profile.run_folder.is_relative_to(profile.profile_folder)
            json.dumps(profile.asdict())

    path.write_text(PROFILE)
    assert load_profile("profile").seed == 3
    read()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)


def test_values_of_parameters():
    names = sorted(load_profile("tiny").asdict())

    @bounded(400)
    @given(st.sampled_from(names), VALUES)
    def choose(name, value):
        with one_line_at_most():
            profile = load_profile("tiny", **{name: value} if name != "profile" else {})
            assert profile.patch_size > 0

    choose()


def test_experiments(tmp_path):
    path = tmp_path / "x.yaml"

    @bounded(400)
    @given(texts(EXPERIMENT))
    def read(data):
        path.write_bytes(data)
        with one_line_at_most():
            read_experiment(str(path))

    path.write_text(EXPERIMENT)
    assert len(read_experiment(str(path))) == 8
    read()


def test_prepared_data(ready):
    folder = ready[0]
    files = ["manifest.json", "tracks.csv", "training/01.npy", "testing/01.npy", "masks/01.npy"]
    valid = {name: (folder / name).read_bytes() for name in files}

    @bounded(300)
    @given(st.sampled_from(files), EDITS)
    def read(name, edits):
        (folder / name).write_bytes(mutated(valid[name], edits))
        with one_line_at_most():
            load_prepared(folder, "labels.csv")
        with one_line_at_most():
            verify(folder)
        (folder / name).write_bytes(valid[name])

    read()
    verify(folder)


def test_manifests_of_another_form(ready):
    """Any JSON in any place of the manifest."""
    path = ready[0] / "manifest.json"
    manifest = json.loads(path.read_text())
    names = ["height", "width", "clips", "labelling", "sha256", "format", "labellings"]

    @bounded(300)
    @given(st.sampled_from([*names, "training", "01", "frames"]), VALUES)
    def read(name, value):
        content = json.loads(json.dumps(manifest))
        if name == "training":
            content["clips"]["training"] = value
        elif name == "01":
            content["clips"]["training"]["01"] = value
        elif name == "frames":
            content["clips"]["training"]["01"]["frames"] = value
        else:
            content[name] = value
        path.write_text(json.dumps(content))
        for reader in (load_prepared, verify):
            with one_line_at_most():
                reader(ready[0])

    read()


def test_records(tmp_path):
    folder = tmp_path / "profile" / "run"
    facts = {"settings": {"seed": 0}, "metrics": {}, "history": {"total": [0.1]}}
    facts |= {"data": {"digest": "d"}, "device": "cpu, 1 threads", "train_seconds": 1.0}
    arrays = {"01": np.linspace(0, 1, 9)}
    write_record(folder, facts, arrays, {"01": np.zeros(9, np.uint8)}, {"01-index": np.array(3)})
    valid = {path.name: path.read_bytes() for path in folder.iterdir()}

    @bounded(300)
    @given(st.sampled_from(sorted(valid)), EDITS)
    def read(name, edits):
        (folder / name).write_bytes(mutated(valid[name], edits))
        with one_line_at_most():
            read_record(folder)
        (folder / name).write_bytes(valid[name])

    read()
    assert read_record(folder).facts == facts


def test_contact_sheets(ready, tmp_path):
    path: Path = tmp_path / "sheet.npz"
    contact_sheets.save(path, contact_sheets.panels(load_prepared(ready[0], "labels.csv")))
    valid = path.read_bytes()

    @bounded(200)
    @given(contents(valid))
    def read(data):
        path.write_bytes(data)
        with one_line_at_most():
            contact_sheets.load(path)

    read()
