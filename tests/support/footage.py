"""A small set of footage in the common layout, and what writes such footage."""

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from data_prep import prepare
from data_prep.footage.layouts import SPLITS

HEIGHT, WIDTH, FRAMES = 48, 64, 14
TEXTURE = np.random.default_rng(0).integers(60, 100, (HEIGHT, WIDTH, 1)).astype(np.uint8)
MASK = np.pad(np.full((10, 10), 255, np.uint8), ((19, 19), (27, 27)))


def walk(step: int = 3, colour: bool = False) -> list[np.ndarray]:
    """A bright square of 10 x 16 pixels crosses a still texture; frames are BGR."""
    frames = []
    for t in range(FRAMES):
        frame = np.repeat(TEXTURE, 3, axis=2)
        frame[16:32, step * t : step * t + 10] = (40, 220, 230) if colour else 220
        frames.append(frame)
    return frames


def write_frames(folder, frames):
    folder.mkdir(parents=True)
    for t, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"{t:03d}.png"), frame)


def write_video(path, frames, rate=10):
    path.parent.mkdir(parents=True, exist_ok=True)
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), rate, (WIDTH, HEIGHT))
    for frame in frames:
        video.write(frame)
    video.release()


@pytest.fixture
def own_runs(tmp_path, monkeypatch):
    """Kept boxes go to a folder of the test's own."""
    monkeypatch.setenv("DDL_RUNS", str(tmp_path / "runs"))


@pytest.fixture
def footage(tmp_path, own_runs):
    """Two training clips and two test clips as frames, labels and masks for the tests."""
    root = tmp_path / "footage"
    for split in SPLITS:
        write_frames(root / split / "frames" / "01", walk(3))
        write_frames(root / split / "frames" / "walk 2 é", walk(4))
    for name, abnormal in (("01", range(4, 8)), ("walk 2 é", ())):
        masks = [MASK * (t in abnormal) for t in range(FRAMES)]
        write_frames(root / "testing" / "masks" / name, masks)
    (root / "testing" / "labels.csv").write_text("clip,first,last\n01,4,7\n")
    return root


@pytest.fixture
def ready(footage, tmp_path):
    """The same footage prepared at 24 x 32."""
    out = tmp_path / "prepared"
    return out, prepare(footage, out, (24, 32), progress=False)


ABNORMAL = {"01": range(4, 8), "02": range(0, 3)}  # frames, counted from 0


def masks_of(name):
    return [MASK * (t in ABNORMAL[name]) for t in range(FRAMES)]


@pytest.fixture
def common(tmp_path):
    """Two training and two test clips in colour, with labels as .mat and masks as images."""
    root = tmp_path / "common"
    for split in SPLITS:
        for step, name in ((3, "01"), (4, "02")):
            write_frames(root / split / "frames" / name, walk(step, colour=True))
    cells = np.empty((1, 2), object)
    for k, (name, frames) in enumerate(ABNORMAL.items()):
        write_frames(root / "testing" / "masks" / name, masks_of(name))
        cells[0, k] = np.array([[frames[0] + 1], [frames[-1] + 1]])
    savemat(root / "walk.mat", {"gt": cells})
    return root


def write_ucsd(common, root, junk=True):
    """The official form: TIFF from 001, bitmaps of masks under both names, ground truth as .m."""
    for split, folder, word in (("training", "Train", "Train"), ("testing", "Test", "Test")):
        for k, name in enumerate(("01", "02"), start=1):
            target = root / folder / f"{word}{k:03d}"
            target.mkdir(parents=True)
            for path in (common / split / "frames" / name).iterdir():
                number = int(path.stem) + 1
                cv2.imwrite(str(target / f"{number:03d}.tif"), cv2.imread(str(path)))
            if junk:
                (target / "._001.tif").write_bytes(b"a fork")
                (target / ".DS_Store").write_bytes(b"")
    for k, name in enumerate(ABNORMAL, start=1):
        target = root / "Test" / f"Test{k:03d}_gt"
        target.mkdir()
        for t, mask in enumerate(masks_of(name), start=1):
            stem = f"{t:03d}" if k == 1 else f"frame{t:03d}"
            cv2.imwrite(str(target / f"{stem}.bmp"), mask)
    lines = [
        f"TestVideoFile{{end+1}}.gt_frame = [{f[0] + 1}:{f[-1] + 1}];" for f in ABNORMAL.values()
    ]
    (root / "Test" / "UCSDped.m").write_text("TestVideoFile = {};\n" + "\n".join(lines))
    if junk:
        (root / "Test" / "UCSDped.m~").write_text("TestVideoFile = {};\n")
    return root
