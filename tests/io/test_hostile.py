"""Files that someone has made to do harm: told in one line, nothing executed, no memory taken."""

import gzip
import io
import json
import os
import pickle
import resource
import shutil
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from support.footage import FRAMES, walk, write_frames, write_video

from data_prep import prepare
from data_prep.__main__ import main
from data_prep.fetching.unpack import unpack
from ddllib.data import load_prepared
from ddllib.errors import DDLError
from ddllib.experiments.grid import read_experiment
from ddllib.figures import contact_sheets
from ddllib.io.reading import read_yaml
from ddllib.records import read_record, write_record

SIZE = (24, 32)


class Code:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


def refusal(call, *arguments, **options):
    """The one line that a call ends in."""
    with pytest.raises(DDLError) as error:
        call(*arguments, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def prepared(footage, tmp_path):
    return refusal(prepare, footage, tmp_path / "out", SIZE, progress=False)


# Code in files


@pytest.fixture
def trace(tmp_path):
    """A file that must not come into being; that it could is tried at the end."""
    path = tmp_path / "executed"
    yield path
    assert not path.exists()
    pickle.loads(pickle.dumps(Code(path)))
    assert path.exists(), "the pickle is harmful, so the test could fail"


def plain_pickle(path, code):
    path.write_bytes(pickle.dumps(code))


def array_of_objects(path, code):
    with open(path, "wb") as file:
        np.save(file, np.array([code], object), allow_pickle=True)


def archive_of_objects(path, code):
    with open(path, "wb") as file:
        np.savez(file, **{"01": np.array([code], object)})


PICKLES = [plain_pickle, array_of_objects, archive_of_objects]


@pytest.mark.parametrize("write", PICKLES)
@pytest.mark.parametrize("place", ["gt.npy", "gt.mat", "testing/test_frame_mask/01.npy", "labels"])
def test_code_in_labels_is_not_run(footage, tmp_path, trace, write, place):
    if place == "labels":
        place = "testing/labels.csv"
    (footage / place).parent.mkdir(exist_ok=True)
    write(footage / place, Code(trace))
    assert Path(place).name in prepared(footage, tmp_path)


@pytest.mark.parametrize("write", PICKLES)
def test_code_in_masks_is_not_run(footage, tmp_path, trace, write):
    shutil.rmtree(footage / "testing" / "masks")
    (footage / "testing" / "test_pixel_mask").mkdir()
    write(footage / "testing" / "test_pixel_mask" / "01.npy", Code(trace))
    assert "01.npy" in prepared(footage, tmp_path)


@pytest.mark.parametrize("write", PICKLES)
@pytest.mark.parametrize("part", ["training/01.npy", "labels/labels.csv/01.npy", "masks/01.npy"])
def test_code_in_prepared_data_is_not_run(ready, trace, write, part):
    write(ready[0] / part, Code(trace))
    assert f"{part}: not an array of prepared data" in refusal(load_prepared, ready[0])


@pytest.mark.parametrize("write", PICKLES)
@pytest.mark.parametrize("name", ["scores", "labels", "frames"])
def test_code_in_a_record_is_not_run(tmp_path, trace, write, name):
    folder = a_record(tmp_path)
    write(folder / f"{name}.npz", Code(trace))
    assert f"{name}.npz: not a record" in refusal(read_record, folder)


@pytest.mark.parametrize("write", PICKLES)
def test_code_in_a_contact_sheet_is_not_run(tmp_path, trace, write):
    write(tmp_path / "sheet.npz", Code(trace))
    assert "sheet.npz: not a contact sheet" in refusal(contact_sheets.load, tmp_path / "sheet.npz")


@pytest.mark.parametrize("write", PICKLES)
def test_code_in_kept_boxes_is_not_run(footage, ready, tmp_path, trace, write):
    for path in (tmp_path / "runs" / "detections").rglob("*.npz"):
        write(path, Code(trace))
    prepare(footage, tmp_path / "again", SIZE, progress=False)  # the boxes are made anew


# YAML


@pytest.mark.parametrize(
    "text, fault",
    [
        ("a: !!python/object/apply:os.mkdir [executed]", "plain YAML"),
        ("a: !!python/name:os.system ''", "plain YAML"),
        ("a: &a [x, x]\nb: *a", "alias .* in line 2; write the value out"),
        ("a: &a {x: 1}\nb: {<<: *a}", "alias"),
        ("a: 1\na: 2", "'a' stands twice"),
        ("a: 0x" + "f" * 6000, "a number too large in line 1"),
        ("a: 2020-13-45", "plain YAML"),
        ("[" * 5000, "plain YAML"),
        ("a: 'x", "plain YAML"),
        ("a: \x00", "plain YAML"),
    ],
)
def test_yaml_is_plain_or_refused(tmp_path, monkeypatch, text, fault):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(DDLError, match=f"x.yaml: .*{fault}"):
        read_yaml(tmp_path / "x.yaml")
    assert not (tmp_path / "executed").exists()


def test_a_few_lines_of_aliases_do_not_become_a_billion_values(tmp_path):
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]" for k in range(1, 30)]
    (tmp_path / "x.yaml").write_text("\n".join(["profile: tiny", "grid: {seed: [0]}", *lines]))
    assert "an alias" in refusal(read_experiment, str(tmp_path / "x.yaml"))


@pytest.mark.parametrize(
    "text, fault",
    [
        ("profile: ../../tiny\ngrid: {}", "no such profile"),
        ("profile: [tiny]\ngrid: {}", "no such profile"),
        ("profile: tiny\ngrid: {seed: 5}", "grid: seed: expected a list"),
        ("profile: tiny\ngrid: {seed: abc}", "grid: seed: expected a list"),
        ("profile: tiny\ngrid: [seed]", "grid: expected one"),
        ("profile: tiny\ngrid: {seed: [0, a]}", "seed is 'a'"),
        ("profile: tiny\ngrid: {}\nvariants: [a]", "variants: expected"),
        ("profile: tiny\ngrid: {}\nvariants: {a: 1}", "a: expected one"),
        ("profile: tiny\ngrid: {}\nfixed: {5: 1}", "unknown parameter 5"),
        ("profile: tiny\ngrid: {seed: [0]}\nfixed: {learning_rate: .inf}", "learning_rate is inf"),
        ("profile: tiny\ngrid: {seed: [0]}\nfixed: {learning_rate: .nan}", "learning_rate is nan"),
        ("profile: tiny\ngrid: {seed: [99999999999]}", "seed is 99999999999"),
        ("profile: tiny\ngrid: {scene: [1]}", "scene is 1; expected text"),
        ('profile: tiny\ngrid: {data: ["a\\nb"]}', "data is 'a.*nb'; expected text"),
        ("profile: tiny\ngrid: {size: [1600000000]}", "size is 1600000000"),
    ],
)
def test_an_experiment_of_another_form_is_reported(tmp_path, text, fault):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(DDLError, match=fault):
        read_experiment(str(tmp_path / "x.yaml"))


def test_a_grid_of_too_many_runs_is_reported(tmp_path):
    grid = ", ".join(f"{name}: {list(range(1, 101))}" for name in ("seed", "epochs", "batch_size"))
    (tmp_path / "x.yaml").write_text(f"profile: tiny\ngrid: {{{grid}}}")
    assert "1000000 runs; expected at most" in refusal(read_experiment, str(tmp_path / "x.yaml"))


# Images and videos


def png(width, height):
    """A PNG of zeros, row by row: a few hundred KB however large it is."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    packer = zlib.compressobj(1)
    rows = b"".join(packer.compress(bytes(1 + width)) for _ in range(height)) + packer.flush()
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [20_000, 9_000])
@pytest.mark.slow
def test_a_giant_image_is_refused_before_it_is_decoded(footage, tmp_path, side):
    path = footage / "training" / "frames" / "01" / "000.png"
    path.write_bytes(png(side, side))
    code = f"""
import sys
from data_prep.__main__ import main
status = main(["prepare", {str(footage)!r}, {str(tmp_path / "out")!r}, "--quiet"])
lines = open("/proc/self/status").read().splitlines()
print(next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM")))
sys.exit(status)
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert process.returncode == 1 and process.stderr.count("\n") == 1
    assert "000.png: a frame of more than 67108864 pixels; expected" in process.stderr
    assert int(process.stdout) < 1000, "MiB; the larger image alone would take 400"


def test_another_kind_of_image_under_the_name_of_one_is_refused(footage, tmp_path):
    path = footage / "training" / "frames" / "01" / "003.png"
    path.write_bytes(cv2.imencode(".webp", walk(3)[3])[1].tobytes())
    assert "003.png: truncated or not an image" in prepared(footage, tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/x.ts\n",
        "ffconcat version 1.0\nfile /etc/passwd\n",
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\n",
        "\ufeff<?xml version='1.0'?><MPD/>",
        "",
    ],
)
def test_a_play_list_under_the_name_of_a_video_is_not_followed(tmp_path, monkeypatch, text):
    monkeypatch.setattr(av, "open", lambda *_, **__: pytest.fail("FFmpeg has read it"))
    path = tmp_path / "yard" / "training" / "01.avi"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert "01.avi: cannot be read as a video" in prepared(tmp_path / "yard", tmp_path)


@pytest.mark.parametrize("frames", [1000, 2**31 - 1, 2**32 - 1])
def test_a_video_that_promises_more_frames_than_it_holds(tmp_path, frames):
    root = tmp_path / "yard"
    write_video(root / "training" / "01.avi", walk(3))
    write_video(root / "testing" / "02.avi", walk(3))
    (root / "labels.csv").write_text("clip,first,last\n02,0,3\n")
    data = bytearray((root / "testing" / "02.avi").read_bytes())
    for mark, offset in ((b"avih", 8 + 16), (b"strh", 8 + 32)):  # dwTotalFrames, dwLength
        at = data.index(mark) + offset
        data[at : at + 4] = struct.pack("<I", frames)
    (root / "testing" / "02.avi").write_bytes(data)
    message = prepared(root, tmp_path)
    assert "02.avi: breaks off after" in message or "02.avi: cannot be read" in message


# Names and things that are no files


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[31mb", "a\rb", "a\u202eb"])
@pytest.mark.parametrize("kind", ["clip", "frame"])
def test_names_with_control_characters_are_reported_in_one_line(footage, tmp_path, name, kind):
    folder = footage / "training" / "frames"
    if kind == "clip":
        write_frames(folder / name, walk(3))
    else:
        (folder / "01" / "003.png").rename(folder / "01" / f"{name}.png")
    message = prepared(footage, tmp_path)
    assert ascii(name)[1:-1] in message.replace("\\\\", "\\") and message.isprintable()


@pytest.mark.parametrize("out", ["o\nut", os.fsdecode(b"o\xffut"), "-out", "o ut"])
def test_any_name_of_the_target_will_do(footage, tmp_path, monkeypatch, out, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["prepare", str(footage), "--size", "24", "--quiet", "--", out]) == 0
    assert main(["verify", "--", out]) == 0
    load_prepared(tmp_path / out)
    (tmp_path / out / "training" / "01.npy").unlink()
    assert main(["verify", "--", out]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.strip().isprintable()


@pytest.mark.parametrize("length", [234, 240, 251])  # one or another of the names is too long
def test_a_clip_with_a_very_long_name(footage, tmp_path, length):
    write_frames(footage / "training" / "frames" / ("n" * length), walk(3))
    message = prepared(footage, tmp_path)
    assert "File name too long" in message and "shorter names" in message


@pytest.mark.parametrize("kind", ["pipe", "broken link", "device", "endless", "itself"])
@pytest.mark.parametrize(
    "place", ["training/frames/01/003.png", "testing/masks/01/003.png", "x.mat"]
)
def test_what_is_no_file_is_not_read(footage, tmp_path, kind, place):
    path = footage / place
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(
            {"broken link": "nowhere", "device": "/dev/null", "itself": path.name}.get(
                kind, "/dev/zero"
            )
        )
    assert f"{place}: a broken link, a pipe or a device" in prepared(footage, tmp_path)


# Labels


@pytest.mark.parametrize(
    "rows, fault",
    [
        ("01,nan,3", "whole numbers"),
        ("01,0,inf", "whole numbers"),
        ("01,1e3,2e3", "whole numbers"),
        ("01,7,4", "frames 7 to 4"),
        ("01,-3,4", "frames -3 to 4"),
        (f"01,0,{10**30}", "do not lie in its 14 frames"),
        (f"01,0,{'9' * 6000}", "whole numbers"),
        ("01,0", "whole numbers"),
        (",0,1", "no test clip"),
        ("\x00,0,1", "no test clip"),
        ("../01,0,1", "no test clip"),
    ],
)
def test_ranges_that_cannot_be(footage, tmp_path, rows, fault):
    (footage / "testing" / "labels.csv").write_text(f"clip,first,last\n{rows}\n")
    message = prepared(footage, tmp_path)
    assert "labels.csv" in message and fault in message and len(message) < 1700


def test_ranges_that_overlap_count_once(footage, tmp_path):
    (footage / "testing" / "labels.csv").write_text("clip,first,last\n01,2,6\n01,4,8\n01,4,4\n")
    prepare(footage, tmp_path / "out", SIZE, progress=False)
    assert load_prepared(tmp_path / "out", "labels.csv").labels["01"].sum() == 7


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_matlab_ranges_that_cannot_be(common, tmp_path, value):
    from scipy.io import savemat

    cells = np.empty((1, 2), object)
    cells[0, 0], cells[0, 1] = np.array([[1.0], [value]]), np.zeros((0, 0))
    savemat(common / "walk.mat", {"gt": cells})
    assert "walk.mat: clip 01" in prepared(common, tmp_path)


@pytest.mark.parametrize(
    "masks", [np.full((FRAMES, 48, 64), np.nan), np.zeros((FRAMES, 0, 64)), np.full(FRAMES, "x")]
)
def test_masks_that_are_no_masks(footage, tmp_path, masks):
    shutil.rmtree(footage / "testing" / "masks")
    (footage / "testing" / "test_pixel_mask").mkdir()
    for name in ("01", "walk 2 é"):
        np.save(footage / "testing" / "test_pixel_mask" / f"{name}.npy", masks)
    assert "01.npy" in prepared(footage, tmp_path)


# Prepared data that does not fit its manifest


def changed(manifest, **changes):
    return {**manifest, **changes}


@pytest.mark.parametrize(
    "change, fault",
    [
        ({"height": -1}, "height is -1"),
        ({"width": "32"}, "width is '32'"),
        ({"clips": []}, "no clips"),
        ({"clips": {"training": {"../../x": {"frames": 3}}}}, "a clip named '../../x'"),
        ({"clips": {"training": {"01": {"frames": True}}}}, "no number of frames"),
        ({"clips": {"other": {}}}, "no clips"),
        ({"clips": {"training": {"absent": {"frames": 3}}}}, "absent.npy: not there"),
        ({"height": 25}, "manifest.json says uint8"),
        ({"labelling": "../training"}, "no labelling"),
        ({"labelling": 3}, "labelling is no name"),
        ({"sha256": 3}, "no checksums"),
    ],
)
def test_a_manifest_that_does_not_fit_is_reported(ready, change, fault):
    path = ready[0] / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert fault in refusal(load_prepared, ready[0])
    if "sha256" not in change:
        refusal_or_changed(ready[0])


def tampered(path, change):
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.update(clips=[1]),
        lambda m: m["clips"].update(training={"01": 3}),
        lambda m: m["clips"]["training"]["01"].pop("sha256"),
        lambda m: m.update(height=7),
        lambda m: m["clips"]["testing"].pop("01"),
        lambda m: m.update(sha256={}),
        lambda m: m["clips"]["testing"]["01"].update(read=99, kept=[5] * FRAMES),
        lambda m: m["clips"]["training"]["01"].update(frames=FRAMES - 1),
        lambda m: m["clips"]["testing"]["01"].update(kept=[0], read="x"),
        lambda m: m.pop("sha256"),
        lambda m: m.update(sha256={"../../x": "0"}),
        lambda m: m.update(sha256={"tracks.csv": 3}),
    ],
)
@pytest.mark.parametrize("fingerprint", ["the same", "another"])
def test_of_a_tampered_manifest_nothing_is_believed(footage, ready, change, fingerprint):
    """The same preparation, asked for again, is made anew where the old one cannot be trusted."""
    out, whole = ready
    tampered(out / "manifest.json", change)
    if fingerprint == "another":
        tampered(out / "manifest.json", lambda m: m.update(fingerprint=fingerprint))
    manifest = prepare(footage, out, SIZE, progress=False)
    assert manifest == whole and load_prepared(out).training["01"].shape == (FRAMES, 1, *SIZE)


@pytest.mark.parametrize("text", ["{", "[" * 100_000, '{"format": 2}'])
def test_a_damaged_manifest_is_named_and_nothing_is_replaced(footage, ready, text):
    out, _ = ready
    (out / "manifest.json").write_text(text)
    message = refusal(prepare, footage, out, SIZE, progress=False)
    assert "give an empty folder (manifest.json here is damaged or of other work)" in message
    assert (out / "training" / "01.npy").is_file()


def refusal_or_changed(folder):
    """`verify` too ends in one line, if in anything."""
    assert main(["verify", str(folder)]) in (0, 1)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((FRAMES, 1, *SIZE), np.float32),
        np.full((FRAMES, 1, *SIZE), np.nan),
        np.zeros((FRAMES, 2, *SIZE), np.uint8),
        np.zeros((FRAMES, *SIZE), np.uint8),
        np.zeros((FRAMES - 1, 1, *SIZE), np.uint8),
        np.zeros((0, 1, *SIZE), np.uint8),
    ],
)
def test_an_array_of_another_form_is_reported(ready, array):
    np.save(ready[0] / "training" / "01.npy", array)
    assert "01.npy" in refusal(load_prepared, ready[0])


def test_labels_beyond_one_are_reported(ready):
    np.save(ready[0] / "labels" / "labels.csv" / "01.npy", np.full(FRAMES, 7, np.uint8))
    assert "01.npy: expected 0 and 1 only" in refusal(load_prepared, ready[0])


@pytest.mark.parametrize(
    "row, fault",
    [
        ("training,other,0,1,0.1,0.1,0.2,0.2,0.9,0", "names a clip that is not prepared"),
        ("training,01,14,1,0.1,0.1,0.2,0.2,0.9,0", "lies outside its clip"),
        ("training,01,-1,1,0.1,0.1,0.2,0.2,0.9,0", "lies outside its clip"),
        ("training,01,0,99,nan,0.1,0.2,0.2,0.9,0", "not a table"),
        ("training,01,0,99,inf,0.1,0.2,0.2,0.9,0", "leaves the frame"),
        ("training,01,0,99,-1e300,0.1,0.2,0.2,0.9,0", "leaves the frame"),
        ("training,01,0,99,0.5,0.1,0.2,0.2,0.9,0", "is empty"),
        (f"training,01,{10**30},99,0.1,0.1,0.2,0.2,0.9,0", "not a table"),
        ("training,01,0.5,99,0.1,0.1,0.2,0.2,0.9,0", "not a table"),
        ("training,01,x,99,0.1,0.1,0.2,0.2,0.9,0", "not a table"),
        ("training,01,0,99,0.1", "not a table"),
    ],
)
def test_a_box_table_of_other_footage_is_reported(ready, row, fault):
    path = ready[0] / "tracks.csv"
    path.write_text(path.read_text() + row + "\n")
    assert fault in refusal(load_prepared, ready[0])


# Records


def a_record(tmp_path):
    folder = tmp_path / "profile" / "run"
    facts = {"settings": {"seed": 0}, "metrics": {}, "history": {}}
    facts |= {"data": {"digest": "d"}, "device": "cpu, 1 threads", "train_seconds": 1.0}
    scores, labels = {"01": np.linspace(0, 1, 9)}, {"01": np.zeros(9, np.uint8)}
    write_record(folder, facts, scores, labels, {"01-index": np.array(3)})
    assert read_record(folder).facts == facts
    return folder


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"settings": 3}', "{", "nul", "", "\xff", "[" * 9999]
)
def test_a_damaged_record_is_reported(tmp_path, text):
    folder = a_record(tmp_path)
    (folder / "run.json").write_text(text, "latin-1")
    assert "run.json" in refusal(read_record, folder)


@pytest.mark.parametrize(
    "scores", [[np.nan] * 9, ["x"] * 9, np.zeros((3, 3)), np.zeros(8), np.arange(9)]
)
def test_scores_that_no_model_can_give_are_reported(tmp_path, scores):
    folder = a_record(tmp_path)
    np.savez(folder / "scores.npz", **{"01": np.array(scores)})
    assert "scores.npz: damaged record" in refusal(read_record, folder)


def test_an_archive_of_arrays_that_would_fill_the_memory_is_refused(tmp_path):
    folder, block = a_record(tmp_path), bytes(1 << 24)
    with (
        zipfile.ZipFile(folder / "scores.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as bomb,
        bomb.open("01.npy", "w", force_zip64=True) as member,
    ):
        np.lib.format.write_array_header_1_0(
            member, {"descr": "|u1", "fortran_order": False, "shape": (1100 << 20,)}
        )
        for _ in range(70):
            member.write(block)
    assert "it unpacks to 1174405" in refusal(read_record, folder)


# Archives


@pytest.mark.slow
def test_an_archive_that_swells_is_refused(tmp_path):
    path, block = tmp_path / "bomb.tgz", bytes(1 << 20)
    with tarfile.open(path, "w:gz", compresslevel=1) as bomb:
        for k in range(1300):
            info = tarfile.TarInfo(f"{k}")
            info.size = len(block)
            bomb.addfile(info, io.BytesIO(block))
    message = refusal(unpack, path, tmp_path / "out", False)
    assert "no sound archive does; nothing was unpacked" in message
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_giant_header_is_not_read_into_memory(tmp_path, kind):
    info = tarfile.TarInfo("header")
    info.type, info.size = kind, 1 << 33
    with gzip.open(tmp_path / "bomb.tgz", "wb") as file:
        file.write(tarfile.TarInfo("first").tobuf() + info.tobuf(tarfile.GNU_FORMAT))
        file.write(bytes(1 << 22))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "a header of 8589934592 bytes" in refusal(
        unpack, tmp_path / "bomb.tgz", tmp_path / "out", False
    )
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 18
