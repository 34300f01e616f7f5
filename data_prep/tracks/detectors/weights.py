"""Find the weights of a detector: a given path, a file on this machine, or a download."""

import hashlib
import importlib.util
import sys
from pathlib import Path

from data_prep.tracks.detectors.base import DETECTORS
from ddllib.errors import DDLError
from ddllib.paths import model_folders, runs_root

# The packages to install for a detector, its library first.
PACKAGES = {"yolo": ("ultralytics", "openvino"), "faster-rcnn": ("torchvision",)}

# The default weights of each detector, and of the network for outlines, best first, and the
# package that reads each.
DEFAULTS = {
    "yolo": {
        "yolo11n.pt": "ultralytics",
        "yolo11n_openvino_model": "openvino",
        "yolo11n_int8_openvino_model": "openvino",
        "yolo11n.onnx": "onnxruntime",
    },
    "faster-rcnn": {"fasterrcnn_resnet50_fpn_coco-258fb6c6.pth": "torchvision"},
    "yolo-seg": {
        "yolo26n-seg.pt": "ultralytics",
        "yolo26n-seg_openvino_model": "openvino",
        "yolo26n-seg_int8_openvino_model": "openvino",
        "yolo26n-seg.onnx": "onnxruntime",
    },
}

# Official addresses, and the beginning of the SHA-256 (PyTorch puts 8 digits into the name).
OFFICIAL = {
    "yolo": (
        "https://github.com/ultralytics/assets/releases/download/v8.3.0/yolo11n.pt",
        "0ebbc80d4a7680d14987a577cd21342b65ecfd94632bd9a8da63ae6417644ee1",
    ),
    "faster-rcnn": (
        "https://download.pytorch.org/models/fasterrcnn_resnet50_fpn_coco-258fb6c6.pth",
        "258fb6c6",
    ),
}


def find_weights(path: str | Path | None, detector: str) -> Path:
    """The given weights, else the detector's defaults: found here or fetched into `<runs>/weights`.

    Raises DDLError if the given ones do not exist, or if there are none here and the download
    fails; the message names the detectors that work on this machine.
    """
    if path is not None:
        if not Path(path).exists():
            raise DDLError(
                f"{path}: no such weights; give a path that exists, leave weights out for the "
                f"detector's own, or use detector: {working_detectors()}"
            )
        return Path(path)
    if not installed(PACKAGES[detector][0]):
        raise DDLError(not_installed(detector))
    return find_local(detector) or fetch_official(detector)


def find_local(detector: str) -> Path | None:
    """The detector's default weights on this machine, if an installed package can read them."""
    folders = model_folders()
    if detector == "faster-rcnn":
        import torch.hub

        folders.append(Path(torch.hub.get_dir()) / "checkpoints")
    for name, package in DEFAULTS[detector].items():
        for folder in folders:
            if (folder / name).exists() and installed(package):
                return folder / name
    return None


def fetch_official(detector: str) -> Path:
    """Download the detector's default weights; prints the address and the folder on stderr."""
    from data_prep.fetching.download import Archive, fetch

    (address, begins), folder = OFFICIAL[detector], runs_root() / "weights"
    print(f"data_prep: fetching {address} into {folder}", file=sys.stderr)
    try:
        path = fetch(Archive(address), folder)
    except DDLError as error:
        raise DDLError(
            f"weights of detector {detector}: {error}, or use detector: {working_detectors()}"
        ) from error
    with open(path, "rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
    if not checksum.startswith(begins):
        path.unlink()
        raise DDLError(
            f"{address}: SHA-256 begins {checksum[:8]}, expected {begins[:8]}; the file was "
            "removed, fetch it again"
        )
    return path


def working_detectors() -> str:
    """The detectors that work on this machine as it is, for a message."""
    return " or ".join(
        name
        for name in DETECTORS
        if name not in PACKAGES or (installed(PACKAGES[name][0]) and find_local(name))
    )


def installed(package: str) -> bool:
    """Whether a package can be imported, without importing it."""
    return importlib.util.find_spec(package) is not None


def not_installed(detector: str) -> str:
    """The error message for a missing library of a detector."""
    packages = PACKAGES[detector]
    return (
        f"detector {detector}: {packages[0]} is not installed; pip install "
        f"{' '.join(packages)}, or use detector: {working_detectors()}"
    )


def weights_checksum(path: Path) -> str:
    """SHA-256 over the weights file, or over all files of an OpenVINO folder in name order."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()
