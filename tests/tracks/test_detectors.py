"""Detectors, each by itself: boxes, weights found, given, fetched and broken, and real Ped2."""

import hashlib
import http.server
import json
import pickle
import random
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from data_prep.fetching import download
from data_prep.footage import layouts
from data_prep.footage.layouts import Clip
from data_prep.tracks.detectors import make_detector
from data_prep.tracks.detectors import weights as weights_module
from data_prep.tracks.detectors.base import DETECTORS, MOVING
from data_prep.tracks.detectors.faster_rcnn import FasterRCNNDetector, class_numbers
from data_prep.tracks.detectors.motion import MotionDetector
from data_prep.tracks.detectors.none import RandomBoxes
from data_prep.tracks.detectors.weights import find_weights, weights_checksum
from data_prep.tracks.detectors.yolo import YoloDetector, contained, import_yolo
from data_prep.tracks.tracking import ClipTracker, common_track_coverage
from ddllib.data import TRACK_COLUMNS
from ddllib.errors import DDLError

pytestmark = pytest.mark.usefixtures("own_runs")  # boxes are kept there


def write_clip(folder, frames, name="01"):
    """A clip of PNG files from H x W x 3 BGR frames."""
    (folder / name).mkdir(parents=True)
    paths = [folder / name / f"{k:03d}.png" for k in range(len(frames))]
    for path, frame in zip(paths, frames, strict=True):
        cv2.imwrite(str(path), frame)
    return Clip("training", name, folder / name, tuple(paths))


def moving_square(frames=30, step=3, seed=1):
    """H x W x 3 frames of a square that crosses a still, noisy background, with its boxes."""
    rng = np.random.default_rng(seed)
    texture = rng.integers(80, 120, (90, 120, 3))
    clip, boxes = [], []
    for t in range(frames):
        frame = texture + rng.normal(0, 2, texture.shape)
        frame[30:54, step * t : step * t + 14] = 220
        clip.append(frame.clip(0, 255).astype(np.uint8))
        boxes.append((step * t, 30, step * t + 14, 54))
    return clip, np.array(boxes, float)


def same(a, b):
    return len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.fixture
def square(tmp_path):
    return write_clip(tmp_path / "footage", moving_square(12)[0])


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine without weights and without a network: folders of the test's own."""
    monkeypatch.setenv("DDL_DATA", str(tmp_path / "here" / "data"))
    monkeypatch.setenv("DDL_RUNS", str(tmp_path / "here" / "runs"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "here" / "torch"))
    monkeypatch.setattr(download, "PAUSES", ())
    closed_port = "http://127.0.0.1:9/"
    addresses = {
        detector: (closed_port + address.rpartition("/")[2], begins)
        for detector, (address, begins) in weights_module.OFFICIAL.items()
    }
    monkeypatch.setattr(weights_module, "OFFICIAL", addresses)
    return tmp_path / "here"


# The interface


def test_only_the_packages_of_the_detector_in_use_are_loaded():
    code = (
        "import sys; from data_prep.tracks.detectors import make_detector; "
        "make_detector('motion'); make_detector('none'); "
        "assert not {'boxmot', 'ultralytics', 'torchvision'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_detector():
    with pytest.raises(DDLError, match="'eyes'; expected one of motion, yolo, faster-rcnn, none"):
        make_detector("eyes")


@pytest.mark.parametrize("name", ["motion", "none"])
def test_settings_are_their_own_and_plain(name):
    settings = make_detector(name).settings
    assert settings["name"] == name and json.loads(json.dumps(settings)) == settings


# Motion


def test_motion_and_ocsort_keep_one_id(tmp_path):
    frames, boxes = moving_square()
    tracker, detections = ClipTracker(), MotionDetector().detect(write_clip(tmp_path, frames))
    rows = [row for b in detections for row in tracker.push(b, 90, 120)]
    assert {row[1] for row in rows} == {0} and {row[7] for row in rows} == {-1}
    assert [row[0] for row in rows] == list(range(30)), "the first frames are not blind"
    for row in rows:
        assert np.allclose(np.array(row[2:6]) * [120, 90, 120, 90], boxes[row[0]], atol=2)


def test_still_scene_has_no_motion(tmp_path):
    clip = write_clip(tmp_path, [moving_square(1)[0][0]] * 10)
    detections = list(MotionDetector().detect(clip))
    assert [boxes.shape for boxes in detections] == [(0, 6)] * 10


def test_motion_in_two_threads_equals_motion_in_sequence(tmp_path):
    clips = [
        write_clip(tmp_path, moving_square(40, step, seed=step)[0], f"{step:02d}")
        for step in (1, 2, 3)
    ]
    detector = MotionDetector()
    assert detector.parallel
    sequence = [list(detector.detect(clip)) for clip in clips]
    together = [[] for _ in clips]
    for boxes in zip(*(detector.detect(clip) for clip in clips), strict=True):  # frame by frame
        for detections, b in zip(together, boxes, strict=True):
            detections.append(b)
    with ThreadPoolExecutor(2) as pool:
        threads = list(pool.map(lambda clip: list(detector.detect(clip)), clips * 2))
    assert all(map(same, threads, sequence * 2)) and all(map(same, together, sequence))
    assert not same(sequence[0], sequence[1])


# Random boxes


def test_random_boxes_are_followed_and_stay_inside(tmp_path):
    blank = np.zeros((60, 90, 3), np.uint8)
    clip = write_clip(tmp_path, [blank] * 150)
    tracker, rows = ClipTracker(), []
    detections = list(RandomBoxes().detect(clip))
    for boxes in detections:
        assert boxes.shape == (5, 6) and (boxes[:, :2] >= 0).all()
        assert (boxes[:, 2:4] <= [90, 60]).all() and (boxes[:, 2:4] > boxes[:, :2]).all()
        rows += [("training", "01", *row) for row in tracker.push(boxes, 60, 90)]
    tracks = pd.DataFrame(rows, columns=TRACK_COLUMNS)
    assert common_track_coverage(tracks, {"01": 150}) > 0.9
    assert 10 <= tracks["track"].nunique() <= 40, "lives of 24 to 72 frames: 5 places, 2 to 7 each"
    centres = np.array([(b[:, :2] + b[:, 2:4]) / 2 for b in detections])
    assert np.ptp(centres, axis=(0, 1)).min() > 30, "they reach all over the frame"


def test_random_boxes_differ_by_clip_and_repeat_on_every_machine(tmp_path):
    frames = [np.zeros((40, 50, 3), np.uint8)] * 3
    clips = [write_clip(tmp_path, frames, name) for name in ("01", "02")]
    other_split = Clip("testing", "01", clips[0].path, clips[0].frames)
    one, two, testing = (list(RandomBoxes().detect(clip)) for clip in (*clips, other_split))
    assert same(one, list(RandomBoxes().detect(clips[0])))
    assert not same(one, list(RandomBoxes(seed=1).detect(clips[0])))
    assert not same(one, two) and not same(one, testing)
    digest = hashlib.sha256(b"0/training/01/0").digest()
    share = random.Random(int.from_bytes(digest, "big")).random()
    assert one[0][0, 3] - one[0][0, 1] == pytest.approx((0.1 + 0.1 * share) * 40)


# Weights


@pytest.mark.parametrize(
    "detector, place, name",
    [
        ("yolo", "data/models", "yolo11n.pt"),
        ("yolo", "models", "yolo11n_int8_openvino_model"),
        ("yolo", "runs/weights", "yolo11n_openvino_model"),
        ("faster-rcnn", "models", "fasterrcnn_resnet50_fpn_coco-258fb6c6.pth"),
        ("faster-rcnn", "torch/hub/checkpoints", "fasterrcnn_resnet50_fpn_coco-258fb6c6.pth"),
    ],
)
def test_weights_are_found_on_this_machine(machine, detector, place, name, monkeypatch):
    monkeypatch.setattr(weights_module, "installed", lambda package: True)
    path = machine / place / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")
    assert find_weights(None, detector) == path


def test_weights_that_no_package_here_reads_are_passed_over(machine, monkeypatch):
    monkeypatch.setattr(weights_module, "installed", lambda package: package != "onnxruntime")
    (machine / "models").mkdir(parents=True)
    (machine / "models" / "yolo11n.onnx").write_bytes(b"weights")
    assert weights_module.find_local("yolo") is None
    (machine / "models" / "yolo11n_openvino_model").mkdir()
    assert weights_module.find_local("yolo").name == "yolo11n_openvino_model"


@pytest.mark.parametrize("detector", ["yolo", "faster-rcnn"])
def test_given_weights_must_be_there(machine, detector):
    with pytest.raises(DDLError, match="no.pt: no such weights.*use detector: motion or none$"):
        make_detector(detector, "no.pt")


@pytest.mark.parametrize("detector", ["yolo", "faster-rcnn"])
def test_no_weights_and_no_network(machine, detector, capsys):
    with pytest.raises(DDLError, match="use detector: motion or none$") as error:
        make_detector(detector)
    address = weights_module.OFFICIAL[detector][0]
    message = str(error.value)
    assert "\n" not in message and detector in message and address in message
    assert str(machine / "runs" / "weights") in message
    assert address in capsys.readouterr().err, "it says what it fetches"


def test_other_detectors_that_work_are_named(machine):
    (machine / "models" / "yolo11n_int8_openvino_model").mkdir(parents=True)
    working = [name for name in DETECTORS if name != "faster-rcnn"]
    assert weights_module.working_detectors() == " or ".join(working)
    with pytest.raises(DDLError, match="use detector: motion or yolo or none$"):
        make_detector("faster-rcnn")


@pytest.fixture
def server(tmp_path):
    """The address of a web server on this machine, and the folder that it serves."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{web.server_address[1]}", folder
        web.shutdown()


def test_weights_are_fetched_once_and_checked(machine, server, monkeypatch):
    address, folder = server
    (folder / "yolo11n.pt").write_bytes(b"official")
    begins = hashlib.sha256(b"official").hexdigest()[:8]
    official = {"yolo": (f"{address}/yolo11n.pt", begins)}
    monkeypatch.setattr(weights_module, "OFFICIAL", official)
    path = find_weights(None, "yolo")
    assert path == machine / "runs" / "weights" / "yolo11n.pt"
    (folder / "yolo11n.pt").unlink()
    assert find_weights(None, "yolo") == path and path.read_bytes() == b"official"


def test_other_weights_than_the_official_are_removed(machine, server, monkeypatch):
    address, folder = server
    (folder / "yolo11n.pt").write_bytes(b"forged")
    official = {"yolo": (f"{address}/yolo11n.pt", "0ebbc80d")}
    monkeypatch.setattr(weights_module, "OFFICIAL", official)
    with pytest.raises(DDLError, match="yolo11n.pt: SHA-256 begins .*, expected 0ebbc80d"):
        find_weights(None, "yolo")
    assert not list((machine / "runs" / "weights").iterdir())


def test_same_weights_same_checksum(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.bin").write_bytes(b"1")
    first, second = (weights_checksum(tmp_path / n) for n in ("a", "b"))
    (tmp_path / "b" / "model.bin").write_bytes(b"2")
    assert first == second != weights_checksum(tmp_path / "b")


class Hostile:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("make", [YoloDetector, FasterRCNNDetector])
@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_weights_is_not_run(make, zipped, tmp_path, square, monkeypatch):
    import torch

    with contained():
        import_yolo()
    # As where someone else has imported ultralytics before, without safe loading.
    monkeypatch.setattr("ultralytics.nn.tasks.SAFE_LOAD", False)
    path, trace = tmp_path / "hostile.pt", tmp_path / "executed"
    if zipped:
        torch.save({"model": Hostile(trace)}, path)
    else:
        path.write_bytes(pickle.dumps({"model": Hostile(trace)}, protocol=2))
    with pytest.raises(DDLError, match="hostile.pt: .*use detector: motion") as error:
        list(make(path).detect(square))
    assert not trace.exists() and "\n" not in str(error.value)
    pickle.loads(pickle.dumps(Hostile(trace)))
    assert trace.exists(), "the pickle is harmful, so the test could fail"


# YOLO


def test_missing_ultralytics_names_the_way_out(tmp_path, square, monkeypatch, machine):
    (tmp_path / "some.pt").write_bytes(b"weights")
    monkeypatch.setitem(sys.modules, "ultralytics", None)
    for weights in (tmp_path / "some.pt", None):
        with pytest.raises(DDLError, match="ultralytics is not installed.*use detector: motion"):
            list(make_detector("yolo", weights).detect(square))


def test_broken_yolo_weights_are_named(tmp_path, square):
    (tmp_path / "bad.pt").write_bytes(b"no weights")
    with pytest.raises(DDLError, match="bad.pt: ultralytics cannot load.*use detector: motion"):
        list(YoloDetector(tmp_path / "bad.pt").detect(square))


@pytest.mark.parametrize("name", ["x.torchscript", "x.yaml", "x.engine", "x_saved_model", "x"])
def test_other_forms_of_weights_are_not_tried(tmp_path, name):
    (tmp_path / name).write_bytes(b"weights")
    with pytest.raises(DDLError, match=f"{name}: not a form of weights that is read here"):
        YoloDetector(tmp_path / name)


@pytest.fixture(scope="module")
def untrained_yolo(tmp_path_factory):
    """Weights of a YOLO that was trained on nothing, but finds many boxes."""
    import torch

    path = tmp_path_factory.mktemp("weights") / "untrained.pt"
    with contained():
        from ultralytics.utils import ROOT, YAML

        model = import_yolo()("yolo11n.yaml")
        model.model.names = YAML.load(ROOT / "cfg" / "datasets" / "coco.yaml")["names"]
        torch.manual_seed(0)
        for module in model.model.modules():
            if isinstance(module, torch.nn.Conv2d) and module.out_channels > 1:
                torch.nn.init.kaiming_normal_(module.weight)
            elif isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0
        with torch.no_grad():  # statistics of one batch, so that the input's trace is not lost
            model.model.train()(torch.rand(4, 3, 160, 160))
        for branch in model.model.model[-1].cv3:
            torch.nn.init.constant_(branch[-1].bias, -4)
        model.save(path)
    return path


def test_yolo_batches_leave_the_boxes_alone(untrained_yolo, tmp_path):
    import torch

    clip = write_clip(tmp_path, moving_square(7)[0])
    detector = YoloDetector(untrained_yolo, image_size=160)
    single = list(detector.detect(clip))
    assert detector.batch == 1 or torch.cuda.is_available()
    assert len(single) == 7 and min(map(len, single)) > 5
    detector.batch = 3
    for alone, batched in zip(single, detector.detect(clip), strict=True):
        # To rounding, where it may also decide upon a box at a threshold.
        nearest = np.abs(alone[:, None, :5] - batched[None, :, :5]).max(axis=2).min(axis=1)
        assert (nearest < 0.05).mean() > 0.9


def test_yolo_takes_blue_first_and_moving_classes_only(untrained_yolo, tmp_path):
    frame = np.zeros((64, 64, 3), np.uint8)
    frame[..., 0] = 255
    clip = write_clip(tmp_path, [frame] * 2)
    detector = YoloDetector(untrained_yolo, image_size=64)
    for boxes in detector.detect(clip):
        names = {detector.model.names[int(k)] for k in boxes[:, 5]}
        assert names and names <= set(MOVING)
    images = []
    network = detector.model.predictor.model
    network.register_forward_pre_hook(lambda _, inputs: images.append(inputs[0]))
    list(detector.detect(clip))
    assert images[0][0, 2].mean() > 0.99 and images[0][0, :2].max() < 0.01, "the network takes RGB"


# Faster R-CNN


@pytest.fixture(scope="module")
def untrained_rcnn(tmp_path_factory):
    """Writes state dicts of torchvision's network that take everything for one COCO label."""
    import torch
    from torchvision.models.detection import fasterrcnn_resnet50_fpn

    torch.manual_seed(0)
    model = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None)
    state, folder = model.state_dict(), tmp_path_factory.mktemp("weights")

    def write(label):
        path = folder / f"{label}.pth"
        if not path.exists():
            state["roi_heads.box_predictor.cls_score.bias"].zero_()[label] = 10
            torch.save(state, path)
        return path

    return write


def test_faster_rcnn_gives_boxes_of_moving_classes(untrained_rcnn, tmp_path):
    clip = write_clip(tmp_path, moving_square(3)[0])
    detector = FasterRCNNDetector(untrained_rcnn(2), image_size=32)  # 2: bicycle
    single = list(detector.detect(clip))
    assert len(single) == 3
    for boxes in single:
        assert boxes.shape[1] == 6 and len(boxes) and (boxes[:, :4] >= 0).all()
        assert (boxes[:, 2:4] <= [120, 90]).all() and (boxes[:, 4] >= 0.5).all()
        assert set(boxes[:, 5]) == {1}, "YOLO's number of a bicycle"
    detector.batch = 2
    for alone, batched in zip(single, detector.detect(clip), strict=True):
        nearest = np.abs(alone[:, None, :4] - batched[None, :, :4]).max(axis=2).min(axis=1)
        assert (nearest < 0.1).mean() > 0.9
    detector.settings["overlap"] = 0.01
    assert len(next(detector.detect(clip))) < len(single[0])


def test_faster_rcnn_leaves_furniture_alone(untrained_rcnn, tmp_path):
    clip = write_clip(tmp_path, moving_square(1)[0])
    detector = FasterRCNNDetector(untrained_rcnn(15), image_size=32)  # 15: bench
    assert [boxes.shape for boxes in detector.detect(clip)] == [(0, 6)]
    images = []
    detector.model.register_forward_pre_hook(lambda _, inputs: images.extend(inputs[0]))
    blue = np.zeros((64, 64, 3), np.uint8) + np.array([255, 0, 0], np.uint8)
    list(detector.detect(write_clip(tmp_path, [blue], "blue")))
    assert images[0][2].mean() == 1 and images[0][:2].max() == 0, "the network takes RGB"


def test_faster_rcnn_numbers_classes_as_yolo():
    with contained():
        from ultralytics.utils import ROOT, YAML

    names = YAML.load(ROOT / "cfg" / "datasets" / "coco.yaml")["names"]
    assert {names[k] for k in class_numbers() if k >= 0} == set(MOVING)
    assert class_numbers()[:3] == [-1, 0, 1], "background, person, bicycle"


@pytest.mark.parametrize("content", ["other network", "no network", "text"])
def test_wrong_state_dict_is_named(content, tmp_path, square):
    import torch

    path = tmp_path / "wrong.pth"
    contents = {"other network": torch.nn.Linear(2, 2).state_dict(), "no network": [1, 2]}
    if content in contents:
        torch.save(contents[content], path)
    else:
        path.write_text("weights\nin two lines")
    with pytest.raises(DDLError, match="wrong.pth: not a state dict.*detector: motion$") as error:
        list(FasterRCNNDetector(path, image_size=32).detect(square))
    assert "\n" not in str(error.value)


def test_broken_footage_is_named_by_detectors_that_read_ahead(untrained_yolo, tmp_path):
    clip = write_clip(tmp_path, moving_square(3)[0])
    clip.frames[2].write_bytes(clip.frames[2].read_bytes()[:100])
    with pytest.raises(DDLError, match="002.png: truncated"):
        list(YoloDetector(untrained_yolo, image_size=64).detect(clip))


# Real footage


@pytest.fixture
def weights(ped2):
    return ped2.parents[1] / "models" / "yolo11n_int8_openvino_model"


def ped2_clip(ped2, frames):
    clip = layouts.find_footage(ped2).clips["training"]["01"]
    return Clip("training", "01", clip.path, clip.frames[:frames])


def test_yolo_on_ped2(ped2, weights):
    import torch

    threads = torch.get_num_threads(), cv2.getNumThreads(), np.get_printoptions()
    detector, tracker, rows = YoloDetector(weights), ClipTracker(), []
    for boxes in detector.detect(ped2_clip(ped2, 3)):
        assert boxes.shape[1] == 6 and len(boxes) >= 8
        assert (boxes[:, 4] >= 0.25).all() and (boxes[:, 5] == 0).all()
        assert (boxes[:, 2] <= 360).all() and (boxes[:, 3] <= 240).all()
        rows += tracker.push(boxes, 240, 360)
    tracks = pd.DataFrame(rows).groupby(1).size()
    assert (tracks == 3).sum() >= 6, "most people keep their id"
    assert threads == (torch.get_num_threads(), cv2.getNumThreads(), np.get_printoptions())


def test_exported_yolo_is_the_same_in_any_batch(ped2, weights):
    clip = ped2_clip(ped2, 8)
    detector = YoloDetector(weights)
    single = list(detector.detect(clip))
    assert detector.batch == 1, "these weights are exported for one frame at a time"
    detector.batch = 3
    assert same(single, list(detector.detect(clip)))


def test_motion_on_ped2(ped2):
    clip = ped2_clip(ped2, 30)
    detections = list(MotionDetector().detect(clip))
    assert 4 < np.mean([len(boxes) for boxes in detections]) < 15
