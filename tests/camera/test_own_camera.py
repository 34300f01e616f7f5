"""Footage of one's own: rates, single videos, regions to ignore, ends for thresholds, advice."""

import json
import shlex
from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest
from support.footage import FRAMES, HEIGHT, WIDTH, walk, write_frames, write_video
from support.server import camera as camera_of
from support.server import pictures
from support.webm import write_matroska

from data_prep import __main__ as command_module
from data_prep import prepare
from data_prep.__main__ import from_the_root, main
from data_prep.footage.frames import duration, read_frames, tidy_rate
from data_prep.live.record import record
from data_prep.live.sources import open_source
from data_prep.preparing import advise as advise_module
from data_prep.preparing import following, prepared
from data_prep.preparing.advise import advise
from data_prep.preparing.manifest import verify
from data_prep.preparing.summary import tracking_lines
from data_prep.tracks.detectors import detectors_to_try
from ddllib import DDLError, load_profile, pipeline
from ddllib import settings as settings_module
from ddllib.camera import assembly
from ddllib.camera.rates import kept_rate
from ddllib.camera.thresholds import choose_threshold
from ddllib.data import load_prepared
from ddllib.evaluation import apply_protocol
from ddllib.figures.parameters import chapter_settings
from ddllib.ignore import load_ignore
from ddllib.paths import ROOT, find_path
from ddllib.pipeline import score, score_normal
from ddllib.pseudo_anomalies.held_out import threshold_parts
from ddllib.scoring import score_clip
from ddllib.training import fit, new_run, training_windows

SIZE = (32, 48)


def test_the_profile_loads():
    settings = load_profile("own-camera", data="yard")
    assert settings.dataset == "own" and settings.size % 16 == 0
    assert settings.frame_rate == 10 and settings.threshold_share > 0


# ---- a frame rate


def footage_of_videos(root):
    """Training and test videos, 10 frames per second, with labels and masks of every frame."""
    write_video(root / "training" / "a.avi", walk(3))
    write_video(root / "testing" / "b.avi", walk(4))
    masks = [np.full((HEIGHT, WIDTH), 255 * (5 <= t <= 8), np.uint8) for t in range(FRAMES)]
    write_frames(root / "testing" / "masks" / "b", masks)
    (root / "testing" / "labels.csv").write_text("clip,first,last\nb,5,8\n")
    return root


def test_preparation_keeps_a_rate_with_its_tracks_labels_and_masks(tmp_path, own_runs):
    root, out = footage_of_videos(tmp_path / "in"), tmp_path / "out"
    whole = prepare(root, tmp_path / "whole", SIZE, detector="none", progress=False)
    prepare(root, out, SIZE, detector="none", progress=False, frame_rate=5)
    frame_numbers = list(range(0, FRAMES, 2))
    for split, name in (("training", "a"), ("testing", "b")):
        every = np.load(tmp_path / "whole" / split / f"{name}.npy")
        assert np.array_equal(np.load(out / split / f"{name}.npy"), every[frame_numbers])
    data = load_prepared(out, "labels.csv")
    assert data.labels["b"].tolist() == [int(5 <= t <= 8) for t in frame_numbers]
    assert data.masks["b"].any(axis=(1, 2)).tolist() == [5 <= t <= 8 for t in frame_numbers]
    assert data.tracks["frame"].max() < len(frame_numbers)
    assert verify(out)["fingerprint"] != whole["fingerprint"]


def test_a_rate_is_another_preparation_and_none_is_the_same_as_before(tmp_path, own_runs):
    root = footage_of_videos(tmp_path / "in")
    manifests = [
        prepare(root, tmp_path / "out", SIZE, detector="none", progress=False, frame_rate=rate)
        for rate in (None, 5, None)
    ]
    assert manifests[0]["fingerprint"] == manifests[2]["fingerprint"] != manifests[1]["fingerprint"]
    assert [m["clips"]["training"]["a"]["frames"] for m in manifests] == [
        FRAMES,
        FRAMES // 2,
        FRAMES,
    ]
    assert "read" not in manifests[0]["clips"]["training"]["a"]


def test_a_stream_at_the_rate_gives_the_prepared_frames(tmp_path, own_runs):
    root = footage_of_videos(tmp_path / "in")
    prepare(root, tmp_path / "out", SIZE, detector="none", progress=False, frame_rate=4)
    clip = np.load(tmp_path / "out" / "training" / "a.npy")
    path = root / "training" / "a.avi"
    frames = open_source(path, SIZE, channels=clip.shape[1], rate=4)
    assert np.array_equal([f.image for f in frames], clip) and len(clip) < FRAMES / 2


def without_seconds(folder):
    """The manifest as it was before it told how long a clip lasts."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for clips in manifest["clips"].values():
        for facts in clips.values():
            facts.pop("seconds", None)
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("rate, expected", [(5, 5.0), (10, 10), (25, 10), (10.1, 10)])
def test_footage_has_the_rate_of_its_times(tmp_path, own_runs, rate, expected):
    write_video(tmp_path / "in" / "a.avi", pictures(60), rate)
    settings = load_profile("own-camera", data=str(tmp_path / "in"), detector="none")
    assert assembly.frame_rate(settings) == 10  # nothing is known yet
    data = pipeline.prepare(settings, progress=False)
    assert len(data.training["a"]) == pytest.approx(60 * min(10 / rate, 1), abs=1)
    assert assembly.frame_rate(settings) == assembly.frame_rate(settings, data) == expected
    whole = pipeline.prepare(replace(settings, frame_rate=None), progress=False)
    assert kept_rate(whole.manifest) == pytest.approx(rate, rel=1e-3)


def test_a_camera_that_records_now_and_then_is_not_slow():
    assert duration([0, 0.1, 0.2, 600, 600.1]) == pytest.approx(0.5)
    assert duration(4.0 * np.arange(10)) == 40  # here it is the usual step


def test_data_prepared_before_it_told_its_seconds_is_used_as_it_is(tmp_path, own_runs):
    write_video(tmp_path / "in" / "a.avi", pictures(60), 5)
    settings = load_profile("own-camera", data=str(tmp_path / "in"), detector="none")
    new = pipeline.prepare(settings, progress=False).digest
    without_seconds(settings.prepared_folder)
    text = (settings.prepared_folder / "manifest.json").read_text()
    data = pipeline.prepare(settings, progress=False)
    assert data.digest == new and assembly.frame_rate(settings, data) == 10
    assert (settings.prepared_folder / "manifest.json").read_text() == text
    # A clip is added: of the old one nothing more is known, and nothing of it is done again.
    write_video(tmp_path / "in" / "b.avi", pictures(60), 5)
    data = pipeline.prepare(settings, progress=False)
    names = [
        name for name, facts in data.manifest["clips"]["training"].items() if "seconds" in facts
    ]
    assert names == ["b"] and assembly.frame_rate(settings, data) == 5


@pytest.mark.parametrize("seconds", [0, -1, True, "9", None, float("nan"), float("inf")])
def test_seconds_that_no_recording_can_have_are_reported(tmp_path, own_runs, seconds):
    write_video(tmp_path / "in" / "a.avi", pictures(20))
    prepare(tmp_path / "in", tmp_path / "out", SIZE, detector="none", progress=False)
    path = tmp_path / "out" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["clips"]["training"]["a"]["seconds"] = seconds
    path.write_text(json.dumps(manifest))
    with pytest.raises(DDLError, match="manifest of prepared data .training a lasts .* seconds"):
        load_prepared(tmp_path / "out")


def test_alarms_per_hour_are_those_of_the_clock(tmp_path, own_runs):
    write_video(tmp_path / "in" / "a.avi", pictures(120), 5)
    values = {"data": str(tmp_path / "in"), "detector": "none", "size": 32, "latent_dim": 8}
    settings = load_profile("own-camera", precision="float32", alarms_per_hour=600, **values)
    data = pipeline.prepare(settings, progress=False)
    run = new_run(settings)
    threshold = assembly.threshold(settings, data, run)
    assert threshold.hours == pytest.approx(0.2 * 120 / 5 / 3600)
    scores = score_normal(settings, data, run)
    normal_scores = {name: apply_protocol(s, settings.protocol) for name, s in scores.items()}
    options = {"frame_rate": 5.0, "least_s": assembly.LEAST_S, "over": 1.0, "held_out_share": 0.2}
    assert threshold == choose_threshold(normal_scores, 600, **options)
    alarms = assembly.alarms(settings, data, threshold, tmp_path / "watched", tell=print)
    alarms.close()
    assert alarms.options.frame_rate == 5


def test_images_tell_no_time_and_are_all_kept(footage, tmp_path):
    manifest = prepare(footage, tmp_path / "out", SIZE, progress=False, frame_rate=1)
    assert {r["frames"] for r in manifest["clips"]["training"].values()} == {FRAMES}


@pytest.mark.parametrize("rate", [0, -1])
def test_a_rate_must_be_above_zero(footage, tmp_path, rate):
    with pytest.raises(DDLError, match="expected frames per second above 0"):
        prepare(footage, tmp_path / "out", SIZE, progress=False, frame_rate=rate)
    with pytest.raises(DDLError, match="frame_rate is"):
        load_profile("own-camera", frame_rate=rate)


def test_one_video_alone_is_a_training_clip(tmp_path, own_runs):
    write_video(tmp_path / "in" / "monday.avi", walk())
    write_video(tmp_path / "in" / "not this.avi", walk())
    source = tmp_path / "in" / "monday.avi"
    manifest = prepare(source, tmp_path / "out", SIZE, detector="none", progress=False)
    assert list(manifest["clips"]["training"]) == ["monday"] and not manifest["clips"]["testing"]


# ---- regions to ignore


def test_a_mask_and_boxes_say_the_same(tmp_path):
    image = np.zeros((240, 360), np.uint8)
    image[:120, 180:] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), image)
    expected = np.zeros((32, 32), bool)
    expected[:16, 16:] = True
    assert np.array_equal(load_ignore(str(tmp_path / "mask.png"), (32, 32)), expected)
    assert np.array_equal(load_ignore([[0.5, 0, 1, 0.5]], (32, 32)), expected)
    assert load_ignore(None, (32, 32)) is None


@pytest.mark.parametrize(
    "value, word",
    [
        ([[0, 0, 2, 1]], "is no box"),
        ([[0.5, 0, 0.5, 1]], "is no box"),
        ([0, 0, 1, 1], "is no box"),
        ([[0, 0, 1, 1]], "leaves nothing of the frame"),
        ([[0, 0, 0.001, 0.001]], "marks nothing of the frame"),
        ([], "marks nothing of the frame"),
        ("nowhere.png", "nowhere.png: not found"),
        ("README.md", "README.md: not an image"),
        ("tests", "tests: not an image"),
    ],
)
def test_what_cannot_be_ignored_is_reported(value, word):
    with pytest.raises(DDLError, match=word):
        load_ignore(value, (32, 32))


def test_a_mask_that_is_not_white_where_it_can_be_seen_marks_nothing(tmp_path):
    red, unseen = np.zeros((32, 32, 3), np.uint8), np.full((32, 32, 4), 255, np.uint8)
    red[:16, :, 2] = 255
    unseen[16:, :, 3] = 0
    for name, image in (("red.png", red), ("unseen.png", unseen)):
        cv2.imwrite(str(tmp_path / name), image)
    with pytest.raises(DDLError, match="red.png marks nothing of the frame"):
        load_ignore(str(tmp_path / "red.png"), (32, 32))
    mask = load_ignore(str(tmp_path / "unseen.png"), (32, 32))
    assert mask[:16].all() and not mask[16:].any()


def test_the_road_scores_without_what_is_ignored(small_data, small_settings):
    plain = small_settings(threshold_share=0.3)
    new_settings = small_settings(threshold_share=0.3, ignore=[[0, 0, 1, 0.6]])
    assert new_settings.run_folder == plain.run_folder  # the same weights
    assert new_settings.record_folder != plain.record_folder
    run, mask = new_run(new_settings), np.zeros((32, 32), bool)
    mask[:19] = True
    record = score(new_settings, small_data, run, progress=False)
    for name, frames in small_data.testing.items():
        expected = score_clip(run.model, frames, new_settings.patch_size, ignore=mask)
        assert np.array_equal(record.scores[name], expected)
        assert not np.load(new_settings.record_folder / "maps" / f"{name}.npy")[:, mask].any()
    normal = score_normal(new_settings, small_data, run)
    assert not np.array_equal(normal["01"], score_normal(plain, small_data, run)["01"])


# ---- ends of clips kept for thresholds


def test_the_ends_of_clips_are_not_trained_on(small_data, small_settings):
    settings = small_settings(threshold_share=0.3)
    beginnings, ends = threshold_parts(small_data.training, 0.3)
    assert {len(c) for c in beginnings.values()} == {14} and {len(c) for c in ends.values()} == {6}
    whole_clip = np.concatenate([beginnings["01"], ends["01"]])
    assert np.array_equal(whole_clip, small_data.training["01"])
    windows = training_windows(settings, small_data)
    assert len(windows) == 2 * (14 - 2)
    assert windows.coverage > 0
    assert len(training_windows(small_settings(), small_data)) == 2 * (20 - 2)
    # What lies in the ends changes nothing in training.
    spoilt = load_prepared(small_data.folder)
    spoilt.training = {n: np.array(c) for n, c in small_data.training.items()}
    for clip in spoilt.training.values():
        clip[14:] = 0
    runs = [fit(settings, data, progress=False) for data in (small_data, spoilt)]
    pairs = zip(*(run.model.parameters() for run in runs), strict=True)
    assert all(bool((a == b).all()) for a, b in pairs)


def test_tracks_of_other_footage_are_still_reported(small_data, small_settings):
    row = {**small_data.tracks.iloc[0].to_dict(), "frame": 25}
    small_data.tracks = pd.concat([small_data.tracks, pd.DataFrame([row])])
    with pytest.raises(DDLError, match="a box in frame 25"):
        training_windows(small_settings(threshold_share=0.3), small_data)


def test_normal_scores_are_those_of_the_ends(small_data, small_settings):
    settings = small_settings(threshold_share=0.3)
    run = new_run(settings)
    scores = score_normal(settings, small_data, run)
    _, ends = threshold_parts(small_data.training, 0.3)
    assert {name: len(s) for name, s in scores.items()} == {"01": 6, "02": 6}
    assert np.array_equal(scores["02"], score_clip(run.model, ends["02"], settings.patch_size))
    for share in (0, 0.1):
        with pytest.raises(DDLError, match="threshold_share is .*expected a share"):
            score_normal(small_settings(threshold_share=share), small_data, run)


@pytest.mark.parametrize("share", [-0.1, 1.5, "half", True])
def test_a_share_is_a_share(share):
    with pytest.raises(DDLError, match="threshold_share is"):
        load_profile("own-camera", threshold_share=share)


# ---- advice and recording


def write_fast(path, rate, side=20, count=60):
    path.parent.mkdir(parents=True, exist_ok=True)
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), rate, (320, 240))
    texture = np.random.default_rng(0).integers(60, 100, (240, 320, 1)).astype(np.uint8)
    for t in range(count):
        frame = np.repeat(texture, 3, axis=2)
        frame[100 : 100 + side, 4 * t : 4 * t + side] = 220
        video.write(frame)
    video.release()


def test_advice_follows_the_footage(tmp_path, monkeypatch):
    monkeypatch.setenv("DDL_DATA", str(tmp_path / "nothing"))
    monkeypatch.setenv("DDL_RUNS", str(tmp_path / "runs"))
    write_fast(tmp_path / "fast" / "a.avi", 30)
    write_fast(tmp_path / "slow" / "a.avi", 12, side=6)
    fast, slow = advise(tmp_path / "fast"), advise(tmp_path / "slow")
    assert fast.settings["frame_rate"] == 10 and slow.settings["frame_rate"] == 12
    assert fast.settings["size"] < slow.settings["size"]
    assert fast.settings["detector"] == "auto"
    assert "YOLO's are not here" in " ".join(fast.lines())
    for advice in (fast, slow):
        load_profile("own-camera", **advice.settings)
        assert all(p.reason.endswith(".") for p in advice.proposals)
    assert "note: about 20 frames are little" in " ".join(fast.lines())
    assert "passed over" not in " ".join(fast.lines())
    for name in ("a.dav", "b.dav", "c.xyz", "d.xyz", "notes.txt", "labels.json"):
        (tmp_path / "fast" / name).touch()
    text = " ".join(advise(tmp_path / "fast").lines())
    assert "of no video or image: 4 (a.dav, b.dav, c.xyz, ...); rename" in text
    (tmp_path / "slow" / "a link").symlink_to(tmp_path / "nowhere")
    assert "passed over" not in " ".join(advise(tmp_path / "slow" / "a.avi").lines())


def test_one_parameter_is_enough(tmp_path, monkeypatch):
    """A chapter takes what the footage proposes, and goes on with it when the footage grows."""
    monkeypatch.setenv("DDL_DATA", str(tmp_path))
    monkeypatch.setenv("DDL_RUNS", str(tmp_path / "runs"))
    write_fast(tmp_path / "yard" / "b.avi", 12, side=6)
    proposed = advise(tmp_path / "yard").settings
    first = chapter_settings({"profile": "own-camera", "data": "yard", "size": None})
    assert proposed == {name: getattr(first, name) for name in proposed}
    assert proposed["size"] != load_profile("own-camera").size and proposed["frame_rate"] == 12
    write_fast(tmp_path / "yard" / "a.avi", 30)
    assert advise(tmp_path / "yard").settings != proposed
    assert chapter_settings({"profile": "own-camera", "data": "yard"}) == first
    own = chapter_settings({"profile": "own-camera", "data": "yard", "size": 64})
    assert (own.size, own.frame_rate) == (64, 12)
    (path,) = (tmp_path / "runs" / "own-camera").glob("advised-*.json")
    path.write_text("{}")
    with pytest.raises(DDLError, match=f"{path.name}: not what was proposed for yard; remove it"):
        chapter_settings({"profile": "own-camera", "data": "yard"})
    with pytest.raises(DDLError, match="nowhere: not found; looked at"):
        chapter_settings({"profile": "own-camera", "data": "nowhere"})


@pytest.mark.parametrize("recorded", [12.5, 0.5, 0.3, 25 / 3, 9.5])
def test_a_slow_cameras_own_rate_is_proposed(tmp_path, recorded):
    times = np.arange(40) / recorded
    write_matroska(tmp_path / "a.mkv", pictures(40), times, ends=40 / recorded)
    advice = advise(tmp_path / "a.mkv")
    rate = advice.settings["frame_rate"]
    assert rate == (8.34 if recorded == 25 / 3 else recorded)
    assert "about 40 frames are little" in " ".join(advice.lines())
    manifest = prepare(
        tmp_path, tmp_path / "out", SIZE, detector="none", frame_rate=rate, progress=False
    )
    assert manifest["clips"]["training"]["a"]["frames"] == 40  # none is dropped


@pytest.mark.parametrize(
    "measured, meant",
    [(12.4987, 12.5), (12.5003, 12.5), (9.96, 10), (5.02, 5.02), (8.3333, 8.34), (29.97, 30)],
)
def test_a_measured_rate_is_named_as_it_was_meant(measured, meant):
    assert tidy_rate(measured) == meant


def test_frames_of_footage_of_varying_rate_are_not_guessed(tmp_path):
    # A second at 20 per second, then two frames a second: the container's guess is 200 frames.
    times = np.concatenate([np.arange(20) / 20, 1.0 + np.arange(18) / 2])
    write_matroska(tmp_path / "a.mkv", pictures(38), times, ends=10.0)
    assert "about 40 frames are little" in " ".join(advise(tmp_path).lines())


def test_advice_on_images_and_on_stillness(tmp_path):
    write_frames(tmp_path / "in" / "a", [walk()[0]] * 5)
    advice = advise(tmp_path / "in")
    assert advice.settings["frame_rate"] == 10 and advice.settings["size"] == 128
    assert "as 10 a second" in advice.lines()[0]
    assert "nothing moves" in " ".join(advice.lines())


class Blind:
    """A detector that knows nothing of what passes by."""

    settings, parallel = {"name": "blind"}, True

    def detect(self, clip):
        for _ in read_frames(clip):
            yield np.zeros((0, 6))


def test_the_first_detector_that_tracks_enough_is_taken(tmp_path, own_runs, monkeypatch, capsys):
    monkeypatch.setenv("DDL_DATA", str(tmp_path / "nothing"))
    assert [d.settings["name"] for d in detectors_to_try("auto")] == ["motion", "none"]
    write_frames(tmp_path / "still" / "a", [walk()[0]] * 20)
    manifest = prepare(tmp_path / "still", tmp_path / "out", SIZE, detector="auto")
    assert manifest["detector"]["name"] == "none" and manifest["coverage"] > 0.5
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "detector motion: 0 % of windows have a track"
    assert lines[1].startswith("random boxes: ") and len(lines) == 2
    assert lines == tracking_lines(manifest)
    assert prepare(tmp_path / "still", tmp_path / "out", SIZE, detector="auto") == manifest
    assert capsys.readouterr().out == ""  # what was done is not tried again

    walker, out = tmp_path / "walk", tmp_path / "out-2"
    write_frames(walker / "a", [*walk(), *[walk()[0]] * 200])
    prepare(walker, out, SIZE, detector="none", progress=False)
    blind = [Blind(), *detectors_to_try("auto")]
    monkeypatch.setattr(prepared, "detectors_to_try", lambda name, weights: blind)
    manifest = prepare(walker, out, SIZE, detector="auto")  # that was not asked for before
    assert [name for name, _ in manifest["tried"]] == ["blind", "motion"]
    assert verify(out) == manifest and 0.05 < manifest["coverage"] < 0.2
    blind.reverse()  # another would come first now: the choice once made is kept
    assert prepare(walker, out, SIZE, detector="auto") == manifest
    monkeypatch.setattr(following, "ENOUGH", 0.2)
    blind.reverse()
    assert prepare(walker, tmp_path / "3", SIZE, "auto")["detector"]["name"] == "none"
    monkeypatch.setattr(following, "MANY", 10)  # few of all windows, but many
    assert prepare(walker, tmp_path / "4", SIZE, "auto")["detector"]["name"] == "motion"


def test_yolo_comes_first_where_its_weights_are(tmp_path, monkeypatch):
    monkeypatch.setenv("DDL_DATA", str(tmp_path))
    weights = tmp_path / "models" / "yolo11n.pt"
    assert len(detectors_to_try("auto")) == 2
    weights.parent.mkdir()
    weights.write_bytes(b"weights")
    names = [detector.settings["name"] for detector in detectors_to_try("auto")]
    assert names == ["yolo", "motion", "none"]
    assert [d.settings["name"] for d in detectors_to_try("none")] == ["none"]


def test_a_video_of_one_frame_has_no_rate(tmp_path):
    write_fast(tmp_path / "a.avi", 30, count=1)
    assert "tell no time" in advise(tmp_path).lines()[0]
    write_fast(tmp_path / "b.avi", 30)
    advice = advise(tmp_path)
    assert advice.settings["frame_rate"] == 10 and "tell no time" not in advice.lines()[0]


def test_what_leaves_nothing_to_learn_from_is_reported(tmp_path):
    messages, wishes = [], {"patience": 0.3, "tell": lambda line: messages.append(line)}
    with camera_of(pictures(2), pause=0.02) as playing:
        with pytest.raises(DDLError, match="nothing was kept: frames come too seldom"):
            list(record(playing.address, tmp_path / "few", 1.5, 10, **wishes))
    assert any("frames, no window; not kept" in line for line in messages)
    with pytest.raises(DDLError, match="nothing was kept: no frame came; check the address"):
        list(record("http://127.0.0.1:9/video", tmp_path / "none", 0.5, 10, **wishes))
    assert not list((tmp_path / "few").iterdir()) + list((tmp_path / "none").iterdir())


def test_a_recording_that_the_disk_does_not_hold_is_reported(disk):
    with camera_of(pictures(60), pause=0.02) as playing, disk.full(20_000):
        with pytest.raises(DDLError, match="avi: cannot be written"):
            list(record(playing.address, disk.folder, 2, 10, patience=0.5, tell=print))
    assert not list(disk.folder.glob("*.avi")) + list(disk.folder.glob(".2*"))


def test_the_command_prints_what_to_set(tmp_path, capsys):
    write_fast(tmp_path / "a.avi", 30)
    assert main(["advise", str(tmp_path / "a.avi")]) == 0
    out = capsys.readouterr().out
    assert "-p profile own-camera" in out and "-p frame_rate 10" in out
    assert main(["advise", str(tmp_path / "none")]) == 1


def test_a_camera_is_recorded_as_footage(tmp_path, capsys):
    frames = pictures(200)
    with camera_of([*frames[:40], 60], [*frames, 60], pause=0.02) as playing:
        paths = list(record(playing.address, tmp_path / "kept", 2.5, 10, patience=0.5, tell=print))
    assert len(paths) == 2 and sorted(tmp_path.joinpath("kept").iterdir()) == paths
    first = list(open_source(paths[0], SIZE))
    assert 6 <= len(first) <= 11
    assert [f.time_s for f in first] == pytest.approx(np.arange(len(first)) / 10, abs=2e-3)
    assert open_source(tmp_path / "kept", None).__iter__().__next__().image.shape == (48, 64, 3)
    with pytest.raises(DDLError, match="is kept already"):
        list(record(str(paths[0]), tmp_path, 1, 10))


@pytest.mark.parametrize("rate, expected", [(30, True), (10, False)])
def test_a_recording_that_says_another_rate_than_came_is_reported(tmp_path, rate, expected):
    lines, frames = [], pictures(100)
    with camera_of([*frames, 60], pause=0.1) as playing:  # ten frames per second at most
        wishes = {"patience": 0.5, "tell": lines.append}
        (path,) = record(playing.address, tmp_path / "kept", 2.0, rate, **wishes)
    assert bool(lines) == expected
    if expected:
        (line,) = lines
        assert line.startswith(f"{path}: says 30 frames per second, but ")
        assert 7 < float(line.split("--rate ")[1]) < 11


def test_a_mask_changed_under_its_name_is_scored_anew(small_data, small_settings, tmp_path):
    mask, settings = np.zeros((32, 32), np.uint8), None
    records = []
    for rows in (8, 16, 16):
        mask[:rows] = 255
        cv2.imwrite(str(tmp_path / "mask.png"), mask)
        settings = small_settings(ignore=str(tmp_path / "mask.png"))
        records.append(
            score(settings, small_data, pipeline.train(settings, small_data, False), False)
        )
    first, second, third = ([r.scores[n] for n in sorted(r.scores)] for r in records)
    assert not np.array_equal(first, second) and np.array_equal(second, third)
    assert records[0].facts["ignored"] != records[1].facts["ignored"] == records[2].facts["ignored"]


def test_what_is_advised_can_be_kept_as_a_profile(tmp_path, monkeypatch, capsys):
    for module in (settings_module, advise_module):
        monkeypatch.setattr(module, "OWN_PROFILES", tmp_path / "profiles")
    write_fast(tmp_path / "my 😀 yard" / "a.avi", 30)
    command = ["advise", str(tmp_path / "my 😀 yard"), "--profile", "yard"]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "yard.yaml: written" in out
    assert out.endswith("papermill book/05-training.ipynb runs/yard.ipynb -p profile yard\n")
    settings = load_profile("yard")
    advised = advise(tmp_path / "my 😀 yard").settings
    assert {name: getattr(settings, name) for name in advised} == advised
    assert settings.data == str(tmp_path / "my 😀 yard") and settings.dataset == "own"
    assert settings.threshold_share > 0 and settings.run_folder.name == "c3dsu-ddl-seed0"
    assert main(command) == 1 and "there already" in capsys.readouterr().err
    assert main([*command[:-1], "../yard"]) == 1 and "expected letters" in capsys.readouterr().err
    assert main([*command[:-1], "demo"]) == 1 and "there already" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "ten"])
@pytest.mark.parametrize("option", ["--minutes", "--rate"])
def test_a_recording_needs_numbers_above_zero(tmp_path, capsys, option, text):
    values = {"--minutes": "1", "--rate": "10", option: text}
    options = [f"{name}={value}" for name, value in values.items()]
    with pytest.raises(SystemExit):
        main(["record", "0", str(tmp_path / "kept"), *options])
    (line,) = capsys.readouterr().err.splitlines()
    assert f"argument {option}: {text!r}; expected" in line and not (tmp_path / "kept").exists()


@pytest.mark.parametrize("name", ["yard", "my 😀 yard", "2024", "it's", "-p"])
def test_advice_ends_with_a_command_that_works_from_anywhere(tmp_path, monkeypatch, capsys, name):
    write_fast(tmp_path / name / "a.avi", 30)
    monkeypatch.chdir(tmp_path)
    assert main(["advise", f"./{name}"]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    cd, root, then, papermill, chapter, report, *options = shlex.split(line.split(": ", 1)[1])
    assert (cd, root, then) == ("cd", str(ROOT), "&&") and papermill.endswith("papermill")
    assert (ROOT / chapter).is_file() and report.startswith("runs/") and report.endswith(".ipynb")
    names, values = options[1::3], options[2::3]
    parameters = dict(zip(names, values, strict=True))
    assert set(options[::3]) == {"-p"} and parameters["profile"] == "own-camera"
    assert (
        find_path(parameters["data"]).samefile(tmp_path / name)
        and not parameters["data"].isdecimal()
    )
    assert load_profile("own-camera", data=parameters["data"], size=int(parameters["size"])).size
    monkeypatch.chdir(ROOT)
    assert main(["advise", str(tmp_path / name)]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("to train: ") and "cd " not in line


def test_footage_below_the_root_is_named_from_it(tmp_path, monkeypatch):
    monkeypatch.setattr(command_module, "ROOT", tmp_path.resolve())
    assert from_the_root(tmp_path / "data" / "yard") == "data/yard"
    assert from_the_root(tmp_path / "2024") == str(tmp_path.resolve() / "2024")
