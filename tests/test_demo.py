"""The generated walkway scene: exact truth, the same bytes each time, and not trivial."""

import csv
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.ndimage import median_filter
from sklearn.metrics import roc_auc_score

from data_prep.demo import ANOMALIES, generate, labels_by_kind
from data_prep.demo.scene import DIRECTIONS, LANES
from data_prep.demo.story import cast
from ddllib.errors import DDLError

TINY = {"training_clips": 1, "testing_clips": 1, "frames": 6}


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Path:
    """All six test clips at full length, with one training clip."""
    return generate(tmp_path_factory.mktemp("demo") / "scene", training_clips=1)


def contents(root: Path) -> dict[str, bytes]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def rows(path: Path) -> list[dict]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def labels(root: Path) -> dict[str, np.ndarray]:
    clips = {path.name: path for path in sorted((root / "testing" / "frames").iterdir())}
    truth = {name: np.zeros(len(list(path.iterdir())), int) for name, path in clips.items()}
    for row in rows(root / "testing" / "labels.csv"):
        truth[row["clip"]][int(row["first"]) : int(row["last"]) + 1] = 1
    return truth


def masks(root: Path, clip: str) -> np.ndarray:
    paths = sorted((root / "testing" / "masks" / clip).iterdir())
    return np.stack([cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in paths])


def test_a_seed_gives_the_same_bytes_and_another_seed_others(tmp_path):
    one, two = (contents(generate(tmp_path / name, seed=3, **TINY)) for name in ("one", "two"))
    other = contents(generate(tmp_path / "other", seed=4, **TINY))
    assert one == two
    assert one.keys() == other.keys()
    frames = [name for name in one if "/frames/" in name]
    assert len(frames) == 12
    assert all(one[name] != other[name] for name in frames)


def test_a_clip_does_not_depend_on_how_many_there_are(tmp_path):
    one = contents(generate(tmp_path / "one", **TINY))
    more = contents(generate(tmp_path / "more", **{**TINY, "training_clips": 2}))
    assert all(one[name] == more[name] for name in one if name.endswith(".png"))


def test_a_finished_scene_is_kept_and_another_request_replaces_it(tmp_path):
    root = generate(tmp_path / "scene", **TINY)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert generate(root, **TINY) == root
    assert before == {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    generate(root, **{**TINY, "frames": 4})
    assert len(list((root / "training" / "frames" / "01").iterdir())) == 4
    assert {path.name for path in tmp_path.iterdir()} == {"scene", ".scene.lock"}


def test_processes_that_want_one_scene_at_once_all_get_it(tmp_path):
    spawn = get_context("spawn")
    with ProcessPoolExecutor(3, spawn) as pool:
        made = [pool.submit(generate, tmp_path / "scene", **TINY) for _ in range(3)]
    assert {future.result() for future in made} == {tmp_path / "scene"}
    assert contents(tmp_path / "scene") == contents(generate(tmp_path / "other", **TINY))


@pytest.mark.slow
def test_the_layout(scene):
    names = [f"{frame:03d}.png" for frame in range(120)]
    for clip in (f"{number:02d}" for number in range(1, 7)):
        for kind in ("frames", "masks"):
            folder = scene / "testing" / kind / clip
            assert sorted(path.name for path in folder.iterdir()) == names
    frame = cv2.imread(str(scene / "training" / "frames" / "01" / "000.png"), cv2.IMREAD_UNCHANGED)
    assert frame.shape == (128, 192, 3) and frame.dtype == np.uint8


def test_labels_say_where_the_mask_is_not_empty(scene):
    truth = labels(scene)
    for clip, label in truth.items():
        mask = masks(scene, clip)
        assert set(np.unique(mask)) <= {0, 255}
        np.testing.assert_array_equal(mask.any(axis=(1, 2)), label)
    assert not truth["03"].any()
    assert all(0 < label.mean() < 1 for clip, label in truth.items() if clip != "03")


def test_boxes_of_abnormal_figures_are_the_smallest_around_the_mask(scene):
    boxes = [row for row in rows(scene / "boxes.csv") if row["kind"] in ANOMALIES]
    for clip in labels(scene):
        for frame, mask in enumerate(masks(scene, clip)):
            here = [
                [int(row[side]) for side in ("x0", "y0", "x1", "y1")]
                for row in boxes
                if row["clip"] == clip and int(row["frame"]) == frame
            ]
            assert bool(here) == mask.any()
            if here:
                y, x = np.nonzero(mask)
                low, high = np.min(here, axis=0)[:2], np.max(here, axis=0)[2:]
                assert [*low, *high] == [x.min(), y.min(), x.max() + 1, y.max() + 1]


def test_every_anomaly_occurs_and_training_has_none(scene):
    boxes = rows(scene / "boxes.csv")
    kinds = {
        split: {row["kind"] for row in boxes if row["split"] == split}
        for split in ("training", "testing")
    }
    assert kinds == {"training": {"walker"}, "testing": {"walker", *ANOMALIES}}


def test_labels_by_kind_are_the_boxes_of_each_kind_and_together_the_labels(scene):
    by_kind, boxes = labels_by_kind(), rows(scene / "boxes.csv")
    for kind, clips in by_kind.items():
        expected = {
            (row["clip"], int(row["frame"]))
            for row in boxes
            if row["split"] == "testing" and row["kind"] == kind
        }
        assert {
            (clip, t) for clip, shown in clips.items() for t in np.flatnonzero(shown)
        } == expected
    for clip, label in labels(scene).items():
        assert np.array_equal(np.any([by_kind[kind][clip] for kind in ANOMALIES], axis=0), label)


def test_normal_people_keep_to_the_direction_of_their_lane():
    for figure in cast(np.random.default_rng(0), frames=200):
        lane = next(name for name, (near, far) in LANES.items() if near <= figure.z <= far)
        assert figure.facing == DIRECTIONS[lane]


def changes(folder: Path, size: int = 64) -> np.ndarray:
    """|x_t - x_(t-1)| of a clip at the working size, N - 1 x size x size."""
    paths = sorted(folder.iterdir())
    frames = np.stack([cv2.resize(cv2.imread(str(path)), (size, size)) / 255 for path in paths])
    return np.sqrt((np.diff(frames, axis=0) ** 2).mean(axis=-1))


def patch_scores(change: np.ndarray, patch: int) -> np.ndarray:
    """The largest patch mean of each map over grids at four offsets, median filtered: N + 1."""
    best, half = [], patch // 2
    for y, x in ((0, 0), (0, half), (half, 0), (half, half)):
        h, w = (change.shape[1] - y) // patch, (change.shape[2] - x) // patch
        part = change[:, y : y + h * patch, x : x + w * patch]
        means = part.reshape(-1, h, patch, w, patch).mean(axis=(2, 4))
        best.append(means.max(axis=(1, 2)))
    scores = np.max(best, axis=0)
    return median_filter(np.concatenate([scores[:1], scores]), 17, mode="nearest")


def test_motion_alone_does_not_tell(scene):
    truth = labels(scene)
    maps = [changes(scene / "testing" / "frames" / clip) for clip in truth]
    for patch in (4, 8):
        scores = np.concatenate([patch_scores(change, patch) for change in maps])
        assert roc_auc_score(np.concatenate(list(truth.values())), scores) <= 0.75


def test_walkers_stand_out_from_the_background(scene):
    """Motion detection needs it: most of each walker's box differs from the empty scene."""
    paths = sorted((scene / "training" / "frames" / "01").iterdir())
    frames = np.stack([cv2.imread(str(path)) for path in paths]).astype(float)
    moving = np.abs(frames - np.median(frames, axis=0)).max(axis=-1) > 25
    shares = [
        moving[
            int(row["frame"]), int(row["y0"]) : int(row["y1"]), int(row["x0"]) : int(row["x1"])
        ].mean()
        for row in rows(scene / "boxes.csv")
        if row["split"] == "training"
    ]
    assert np.median(shares) > 0.4


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DDLError, match="cannot be written"):
        generate(tmp_path / "file" / "scene", **TINY)


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(DDLError, match="other than a generated scene"):
        generate(tmp_path, **TINY)
    assert contents(tmp_path) == {"mine.txt": b"keep"}


@pytest.mark.parametrize(
    "wrong", [{"frames": 0}, {"frames": 1001}, {"training_clips": 0}, {"seed": -1}]
)
def test_an_impossible_request_is_refused(tmp_path, wrong):
    with pytest.raises(DDLError, match="no scene has"):
        generate(tmp_path / "scene", **{**TINY, **wrong})
    assert not any(tmp_path.iterdir())
