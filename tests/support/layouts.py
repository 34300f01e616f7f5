"""Made footage in the layouts of Avenue and ShanghaiTech."""

import shutil

import cv2
import numpy as np
from scipy.io import savemat

from data_prep.footage.frames import read_frames
from data_prep.footage.layouts import SPLITS, Clip
from support.footage import (
    ABNORMAL,
    FRAMES,
    masks_of,
    write_frames,
    write_video,
)


def as_videos(common, folder, split, name):
    """Write a clip as AVI and put its decoded frames in the place of the common clip's."""
    frames = [cv2.imread(str(p)) for p in sorted((common / split / "frames" / name).iterdir())]
    write_video(folder, frames)
    shutil.rmtree(common / split / "frames" / name)
    write_frames(common / split / "frames" / name, read_frames(Clip(split, name, folder)))


def write_avenue(common, archives):
    """The two archives as they unpack, videos beside ground truth; returns the videos' folder."""
    root = archives / "Avenue Dataset"
    for split in SPLITS:
        for name in ("01", "02"):
            as_videos(common, root / f"{split}_videos" / f"{name}.avi", split, name)
    masks = root.parent / "ground_truth_demo" / "testing_label_mask"
    masks.mkdir(parents=True)
    (masks.parent / "testing_videos").mkdir()  # the official archive holds the videos again
    for k, name in enumerate(ABNORMAL, start=1):
        cells = np.empty((1, FRAMES), object)
        cells[0, :] = [(mask > 0).astype(np.uint8) for mask in masks_of(name)]
        savemat(masks / f"{k}_label.mat", {"volLabel": cells})
    return root


def write_shanghaitech(common, root, scene="01"):
    """Training videos, test frames, labels and masks as arrays; clips are <scene>_<clip>."""
    for name in ("01", "02"):
        as_videos(common, root / "training" / "videos" / f"{scene}_{name}.avi", "training", name)
        source = common / "testing" / "frames" / name
        shutil.copytree(source, root / "testing" / "frames" / f"{scene}_{name}")
        for kind, values in (
            ("frame", np.array([t in ABNORMAL[name] for t in range(FRAMES)])),
            ("pixel", np.array(masks_of(name)) > 0),
        ):
            folder = root / "testing" / f"test_{kind}_mask"
            folder.mkdir(parents=True, exist_ok=True)
            np.save(folder / f"{scene}_{name}.npy", values.astype(np.uint8))
    return root
