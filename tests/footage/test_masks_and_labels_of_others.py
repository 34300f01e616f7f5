"""Masks and labels as other tools save them: the right values, or one line of what to do."""

import unicodedata

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from support.footage import write_frames

from data_prep.footage.labels import frame_labels, read_labelling
from data_prep.footage.layouts import find_footage
from data_prep.footage.mask_checks import misfit
from data_prep.footage.masks import abnormal_frames, examine, read_masks
from data_prep.footage.survey import refusals, report, survey
from data_prep.preparing.prepared import prepare
from ddllib.data import load_prepared
from ddllib.errors import DDLError

COUNT, SIZE = 14, (48, 64)
MARKED = range(4, 8)


def marks(value=255, size=SIZE, dtype=np.uint8):
    """Masks of one clip: a square that moves to the right in the frames of MARKED."""
    masks = np.zeros((COUNT, *size), dtype)
    for t in MARKED:
        masks[t, 10:22, 3 * t : 3 * t + 12] = value
    return masks


def saved(folder, masks, ending=".png", *options):
    """One image per frame; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = tuple(folder / f"{t:03d}{ending}" for t in range(len(masks)))
    for path, mask in zip(paths, masks, strict=True):
        cv2.imwrite(str(path), mask, list(options))
    return paths


def read(paths):
    return np.stack(list(read_masks(paths)))


def refused(work, match):
    with pytest.raises(DDLError, match=match) as error:
        work()
    assert "\n" not in str(error.value)


def prepared_masks(source, out):
    prepare(source, out, SIZE, progress=False)
    return load_prepared(out, "masks").masks["01"]


@pytest.fixture
def yard(tmp_path, own_runs):
    """A training and a test clip with labels, whose frames show the square of the masks."""
    root = tmp_path / "yard"
    frames = [np.full(SIZE, 90, np.uint8) for _ in range(COUNT)]
    for t, frame in enumerate(frames):
        frame[10:22, 3 * t : 3 * t + 12] = 220
    for split in ("training", "testing"):
        write_frames(root / split / "frames" / "01", frames)
    (root / "testing" / "test_pixel_mask").mkdir()
    return root


def with_array(yard, masks):
    np.save(yard / "testing" / "test_pixel_mask" / "01.npy", masks)
    return yard


# Masks: what a value means


@pytest.mark.parametrize("quality", [20, 50, 75, 95, 100])
@pytest.mark.parametrize("kept_as", [".jpg", ".png"])
def test_masks_kept_as_jpeg_are_thresholded_half_way(tmp_path, quality, kept_as):
    through = [
        cv2.imdecode(cv2.imencode(".jpg", mask, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 0)
        for mask in marks()
    ]
    if kept_as == ".jpg":
        paths = saved(tmp_path, marks(), ".jpg", cv2.IMWRITE_JPEG_QUALITY, quality)
    else:
        paths = saved(tmp_path, through)
    masks = read(paths)
    assert np.count_nonzero(np.stack(through)) > marks().astype(bool).sum()
    assert abnormal_frames(paths).tolist() == [int(t in MARKED) for t in range(COUNT)]
    assert np.mean(masks != (marks() > 0)) < 0.0005
    assert "those above 127.5 count as abnormal" in examine(paths).note


def test_masks_without_marks_may_be_jpeg(tmp_path):
    paths = saved(tmp_path, np.zeros((3, *SIZE), np.uint8), ".jpg")
    assert not read(paths).any() and examine(paths).note is None


@pytest.mark.parametrize(
    "value, quality, match",
    [
        (1, 30, "no mask has a mark"),
        (1, 95, "that JPEG would keep"),
        (3, 95, "that JPEG would keep"),
    ],
)
def test_jpeg_of_small_numbers_is_refused(yard, tmp_path, value, quality, match):
    saved(yard / "testing/masks/01", marks(value), ".jpg", cv2.IMWRITE_JPEG_QUALITY, quality)
    refused(lambda: prepare(yard, tmp_path / "out", SIZE, progress=False), f"01: .*{match}")


@pytest.mark.parametrize(
    "values, dtype",
    [
        ((1, 1), np.uint8),
        ((255, 255), np.uint8),
        ((1, 2), np.uint8),
        ((3, 17), np.uint16),
        ((64, 192), np.uint8),
        ((1, 255), np.uint8),
        ((1001, 2007), np.uint16),
        ((65535, 65535), np.uint16),
        ((1.0, 2.0), np.float32),
        ((0.5, 0.5), np.float64),
        ((True, True), bool),
        ((1, 2), np.int64),
    ],
)
def test_every_number_of_an_object_is_abnormal(tmp_path, values, dtype):
    masks = marks(1, dtype=dtype)
    for t, value in zip(MARKED, 2 * values, strict=True):
        masks[t] *= np.asarray(value, dtype)
    np.save(tmp_path / "01.npy", masks)
    assert np.array_equal(read((tmp_path / "01.npy",)), marks(1))
    if dtype in (np.uint8, np.uint16):
        assert np.array_equal(read(saved(tmp_path / "01", masks)), marks(1))


def test_softened_edges_are_cut_in_the_middle(tmp_path):
    large = [cv2.resize(mask, None, fx=3, fy=3) for mask in marks()]
    masks = read(saved(tmp_path, large))
    expected = marks(1).repeat(3, 1).repeat(3, 2)
    assert np.mean(masks != expected) < 0.001
    floats = np.stack(large).astype(np.float32) / 255
    np.save(tmp_path / "01.npy", floats)
    assert np.array_equal(read((tmp_path / "01.npy",)), masks)


@pytest.mark.parametrize("form", ["blurred", "ramp", "noise", "two greys", "below 0", "grey areas"])
def test_values_whose_meaning_is_not_sure_are_refused(tmp_path, form):
    masks = marks().astype(np.float32)
    if form == "blurred":
        masks = np.stack([cv2.GaussianBlur(mask, (0, 0), 6) for mask in masks])
    elif form == "ramp":
        masks *= np.linspace(0, 1, SIZE[1], dtype=np.float32)
    elif form == "noise":
        masks = np.random.default_rng(0).random(masks.shape)
    elif form == "two greys":
        masks = np.where(masks > 0, 2, 1)
    elif form == "below 0":
        masks = np.where(masks > 0, 1, -1)
    else:
        masks[:, :5, :9] = 100.5
    np.save(tmp_path / "01.npy", masks)
    refused(lambda: read((tmp_path / "01.npy",)), "01.npy: .*expected 0 for normal")


# Masks: what an image may be


@pytest.mark.parametrize("form", ["1-bit bmp", "1-bit png", "palette", "rgb", "grey and alpha"])
def test_masks_of_other_kinds_of_images_are_read(tmp_path, form):
    mask = Image.fromarray(marks()[5])
    if form == "palette":
        image = Image.fromarray(marks(2)[5], "P")
        image.putpalette([0, 0, 0, 9, 9, 9, 128, 0, 0])
    elif form == "rgb":
        image = Image.merge("RGB", [mask, Image.new("L", mask.size), Image.new("L", mask.size)])
    elif form == "grey and alpha":
        image = Image.merge("LA", [mask, mask])
    else:
        image = mask.convert("1")
    path = tmp_path / f"000.{'bmp' if 'bmp' in form else 'png'}"
    image.save(path)
    assert np.array_equal(read((path,))[0], marks(1)[5])


@pytest.mark.parametrize("colour", [0, 255])
def test_marks_in_transparency_alone_are_reported(tmp_path, colour):
    mask = Image.fromarray(marks()[5])
    plain = Image.new("L", mask.size, colour)
    Image.merge("RGBA", [plain, plain, plain, mask]).save(tmp_path / "000.png")
    refused(lambda: read((tmp_path / "000.png",)), "000.png: .*transparency .*; save it without")


def test_masks_of_several_sizes_are_reported(tmp_path):
    masks = [*marks()[:3], np.zeros((9, 9), np.uint8)]
    refused(lambda: read(saved(tmp_path, masks)), "003.png: a mask of 9 x 9 pixels, but .* 64 x 48")


@pytest.mark.parametrize("place", [1, 4])
def test_an_axis_of_one_is_no_matter(tmp_path, place):
    place = min(place, 3)
    np.save(tmp_path / "01.npy", np.expand_dims(marks(), place))
    assert np.array_equal(read((tmp_path / "01.npy",)), marks(1))


# Masks: their shape


@pytest.mark.parametrize(
    "order, match",
    [
        ((0, 2, 1), "transposed masks: 48 x 64 pixels, but the frames have 64 x 48 pixels"),
        ((1, 2, 0), r"shape \(48, 64, 14\) for 14 frames .*numpy.transpose\(masks, \(2, 0, 1\)\)"),
        ((2, 1, 0), r"shape \(64, 48, 14\) for 14 frames .*numpy.transpose\(masks, \(2, 1, 0\)\)"),
    ],
)
def test_masks_with_other_axes_are_named_before_any_work(yard, tmp_path, order, match):
    with_array(yard, marks().transpose(order))
    assert any(line.startswith("differs:") for line in report(survey(yard)))
    (message,) = [line for line in refusals(survey(yard)) if "expected one mask per" not in line]
    refused(lambda: prepare(yard, tmp_path / "out", SIZE, progress=False), match)
    with pytest.raises(DDLError, match=match):
        raise DDLError(message)
    assert not (tmp_path / "out").exists()


def test_transposed_images_are_named(yard):
    saved(yard / "testing" / "masks" / "01", marks().transpose(0, 2, 1))
    assert any("masks/01: transposed masks" in line for line in refusals(survey(yard)))


def test_masks_of_other_proportions_are_named(yard, tmp_path):
    with_array(yard, np.zeros((COUNT, 48, 48)))
    refused(
        lambda: prepare(yard, tmp_path / "out", SIZE, progress=False),
        "01.npy: masks of 48 x 48 pixels, but the frames have 64 x 48 pixels; expected",
    )


def test_masks_of_half_the_size_are_made_larger(yard, tmp_path):
    with_array(yard, marks()[:, ::2, ::2])
    masks = prepared_masks(yard, tmp_path / "out")
    assert np.mean(masks != marks(1)) < 0.01
    assert masks.any(axis=(1, 2)).tolist() == [t in MARKED for t in range(COUNT)]


@pytest.mark.parametrize("side", range(2, 40))
def test_rounding_is_no_other_proportion(side):
    frame = (side, side + 1)
    assert misfit((COUNT, *frame), COUNT, frame) is None
    assert "transposed" in misfit((COUNT, *frame[::-1]), COUNT, frame)
    frame = (8 * side + 3, 12 * side + 5)
    assert misfit((COUNT, frame[0] // 4, frame[1] // 4), COUNT, frame) is None


def test_masks_turned_round_are_reported(yard, tmp_path):
    with_array(yard, 255 - marks())
    refused(
        lambda: prepare(yard, tmp_path / "out", SIZE, progress=False),
        "01.npy: most pixels of every mask are marked; .*save them as 255 - mask",
    )


def test_masks_that_fill_whole_frames_are_right_where_others_are_empty(yard, tmp_path):
    with_array(yard, np.where(marks().any(axis=(1, 2), keepdims=True), 255, marks()))
    assert prepared_masks(yard, tmp_path / "out").sum() == len(MARKED) * SIZE[0] * SIZE[1]


def test_the_check_says_how_grey_masks_are_read(yard):
    saved(yard / "testing" / "masks" / "01", marks(), ".jpg")
    lines = report(survey(yard))
    assert any(line.startswith("note: ") and "count as abnormal" in line for line in lines)
    assert "labels masks: 4 of 14 frames abnormal, 1 clips" in lines


# Real footage


@pytest.mark.slow
def test_masks_of_ped2_as_jpeg_are_those_as_png(ped2, tmp_path):
    for name, paths in find_footage(ped2).masks.items():
        truth = read(paths)
        masks = read(saved(tmp_path / name, truth * 255, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 75))
        assert np.array_equal(masks.any(axis=(1, 2)), truth.any(axis=(1, 2)))
        assert np.array_equal(masks, truth)


# Tables of labels

LENGTHS = {"01": 40, "walk é": 60}
TWO = {"01": [(10, 14), (30, 34)], "walk é": []}


def table(tmp_path, text, encoding="utf-8"):
    (tmp_path / "labels.csv").write_bytes(text.encode(encoding))
    return tmp_path / "labels.csv"


def ranges(path, clips=LENGTHS):
    return {name: marks.ranges for name, marks in read_labelling(path, clips).items()}


@pytest.mark.parametrize(
    "text",
    [
        "clip,first,last\n01,10,14,30,34\n",
        "clip,first,last,,\n01,10,14,30,34\nwalk é,,,,\n",
        "clip,first,last\n01,10,14,30,34,,,\n",
        "clip,first,last\n01,10,14,,,30,34\n",
        "clip,first,last,first,last\n01,10,14,30,34\n",
        "clip,first,last,first_2,last_2\n01,10,14,30,34\nwalk é\n",
        "clip,first,first.1,last,last.1\n01,10,30,14,34\n",
        "clip,first,last\n01,10,14\n01,30,34\n",
        "clip,first,last\n01,30,34\n\n,,\n01,10,14\nwalk é,,\n",
        "clip;first;last\n01;10;14\n01;30;34\n",
        "clip;first;last\n01;10,0;14,00;30;34\n",
        "sep=;\nclip;first;last\n01;10;14;30;34\n",
        "clip\tfirst\tlast\n01\t10\t14\t30\t34\n",
        "\ufeffClip, First ,LAST\r\n01, 10 , 14\r\n01,30,34\r\n",
        '"clip","first","last"\n"01","10","14"\n"01","30.0","34.000000"\n',
        "clip,first,last,note\n01,10,14,a bicycle\n01,30,34\nwalk é,,,nothing\n",
        "last,note,first,clip\n14,,10,01\n34,,30,01\n",
        ",clip,first,last\n0,01,10,14\n1,01,30,34\n",
        "clip,first,last\nwalk e\u0301\n01,10,14,30,34\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_tables_of_spreadsheets_give_every_range(tmp_path, text, encoding):
    spans_by_clip = ranges(table(tmp_path, text, encoding))
    assert {name: sorted(each) for name, each in spans_by_clip.items()} == TWO


@pytest.mark.parametrize(
    "text, match",
    [
        ("clip,first,last\n01,10,14,30\n", r"line 2: more fields .* \(30\); expected pairs"),
        ("clip,first,last\n01,10,14,30,x\n", "line 2: more fields"),
        ("clip,first,last\n01,10,14,a bicycle, red\n", "line 2: more fields .*in quotes"),
        ("clip,first,last,note\n01,10,14,30,34,36\n", "line 2: more fields"),
        ("clip,first,last\n\n01,30,34,10,14\n", "line 3: 30 to 34, 10 to 14 are no ranges"),
        ("clip,first,last\n01,10,30,20,34\n", "line 2: 10 to 30, 20 to 34 are no ranges"),
        ("clip,first,last\n01,0,0,0,1,1,1\n", "line 2: .* give each range a row of its own"),
        ("clip,first,last\n01,10,0,14,0\n", "line 2: 10 to 0, 14 to 0 are no ranges"),
        ("clip;first;last\n01;1.000;2.000\n", "line 2: first and last must be whole numbers"),
        ("clip,first,last\n01,10-14,30-34\n", "line 2: first and last must be whole numbers"),
        ("clip,first,last\n01,10,14,,34\n", "line 2: more fields"),
        ("clip,first,last,first\n01,10,14,30\n", "columns that do not pair"),
        ("clip,clip,first,last\n01,01,10,14\n", "columns that do not pair"),
        ("01,10,14\n01,30,34\n", "no column clip, first, last"),
        ("clip,frame,label\n01,10,1\n", "no column first, last"),
        ('clip,first,last,note\n01,10,14,"red\n01,30,34,blue\n', "not a readable CSV file"),
        ("clip,first,last\n03,10,14\n", "line 2: no test clip '03'; expected one of 01, walk"),
    ],
)
def test_rows_that_are_not_sure_are_reported_with_their_line(tmp_path, text, match):
    refused(lambda: ranges(table(tmp_path, text)), f"labels.csv: .*{match}")


# Ranges in MATLAB files


def cells_of(tmp_path, *cells):
    content = np.empty((1, len(cells)), object)
    for k, cell in enumerate(cells):
        content[0, k] = np.array(cell)
    savemat(tmp_path / "gt.mat", {"gt": content})
    return tmp_path / "gt.mat", {f"{k:02d}": 400 for k in range(len(cells))}


def abnormal(path, clips):
    marks = read_labelling(path, clips)
    return [int(frame_labels(path, n, marks[n], length).sum()) for n, length in clips.items()]


@pytest.mark.parametrize(
    "cells, expected",
    [
        ([[[11, 50], [151, 250]]], [140]),
        ([[[11, 151], [50, 250]]], [140]),
        ([[[151, 250], [11, 50]]], [140]),
        ([[[151, 11], [250, 50]]], [140]),
        ([[[11, 50], [151, 250]], [[61, 180]]], [140, 120]),
        ([[[11, 50], [151, 250]], np.zeros((0, 0)), [[5, 6], [8, 9], [20, 29]]], [140, 0, 14]),
        ([[[11, 151], [50, 250]], [[61], [180]]], [140, 120]),
        ([[[5, 9], [9, 12]]], [8]),
        ([[[11.0, 50.0], [151.0, 250.0]]], [140]),
    ],
)
def test_ranges_of_both_directions_are_read(tmp_path, cells, expected):
    assert abnormal(*cells_of(tmp_path, *cells)) == expected


@pytest.mark.parametrize(
    "cells, match",
    [
        (
            [[[11, 50], [100, 60]]],
            r"clip 00: \[\[11, 50\], \[100, 60\]\] can be read as 2 x n or n",
        ),
        ([[[61], [180]], [[61, 180]]], "clip 00 has ranges as 2 x n, but clip 01 as n x 2"),
        ([[[61], [180]], [[11, 50], [151, 250]]], "clip 00 has ranges as 2 x n, but clip 01 as"),
        # Overlapping as the other clip has them, but not the other way: which is meant is not sure.
        ([[[5, 8, 20], [6, 9, 29]], [[11, 151], [200, 250]]], "clip 00 has .*, but clip 01 as n"),
        ([np.zeros((1, 400))], r"clip 00: expected 2 x n .* found shape \(1, 400\)"),
        ([[[1, 2, 3], [4, 5, 6], [7, 8, 9]]], r"clip 00: .* found shape \(3, 3\)"),
        ([[[61, 180.5]]], "clip 00: expected 2 x n whole numbers"),
        ([[[61, 500]]], "clip 00: frames 60 to 499 .* do not lie in its 400 frames"),
    ],
)
def test_ranges_whose_direction_is_not_sure_are_reported(tmp_path, cells, match):
    refused(lambda: abnormal(*cells_of(tmp_path, *cells)), f"gt.mat: {match}")


@pytest.mark.parametrize("seed", range(20))
def test_two_ranges_that_do_not_overlap_have_one_direction(tmp_path, seed):
    from data_prep.footage.matlab_ranges import ranges_of_cells

    pairs = np.sort(np.random.default_rng(seed).choice(100, 4, replace=False)).reshape(2, 2) + 1
    for cell in (pairs, pairs.T, pairs[::-1], pairs[::-1].T):
        (spans,) = ranges_of_cells(tmp_path, {"01": cell}).values()
        assert sorted(spans) == pairs.tolist()


def test_a_matrix_that_is_no_cell_is_reported(tmp_path):
    savemat(tmp_path / "gt.mat", {"gt": np.array([[61], [180]])})
    refused(lambda: read_labelling(tmp_path / "gt.mat", {"01": 200}), "gt.mat: `gt` is no cell")


def test_ranges_of_ped2_have_the_usual_direction(ped2):
    clips = {name: len(c.frames) for name, c in find_footage(ped2).clips["testing"].items()}
    assert sum(abnormal(ped2 / "ped2.mat", clips)) == 1648


# Vectors of labels


@pytest.mark.parametrize("shape", [(6,), (1, 6), (6, 1), (6, 1, 1)])
@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float32])
def test_a_row_or_a_column_of_labels_is_read(tmp_path, shape, dtype):
    np.save(tmp_path / "01.npy", np.array([0, 1, 1, 0, 0, 1]).astype(dtype).reshape(shape))
    assert ranges(tmp_path, {"01": 6}) == {"01": [(1, 2), (5, 5)]}


@pytest.mark.parametrize(
    "values, match",
    [
        (np.zeros((2, 3)), r"an array of shape \(2, 3\); expected one row of labels"),
        (np.array(1), r"an array of shape \(\); expected one row"),
        (np.array([-1, 1, 1]), "values such as -1, 1; expected 0 for normal and 1"),
        (np.array([0, 255]), "values such as 0, 255; expected 0"),
        (np.array([0.2, 0.9]), "values such as 0.2, 0.9; expected 0"),
        (np.array([0, np.nan]), "values such as 0.0, nan; expected 0"),
        (np.array(["0", "1"]), "values such as 0, 1; expected 0"),
        (np.array([[0, 1], [1]], object), "not a readable array of labels"),
    ],
)
def test_arrays_that_are_no_labels_are_reported(tmp_path, values, match):
    np.save(tmp_path / "01.npy", values, allow_pickle=True)
    refused(lambda: ranges(tmp_path, {"01": 3}), f"01.npy: {match}")


# Names in decomposed Unicode, as macOS writes them


@pytest.mark.parametrize("of_file", ["NFC", "NFD"])
@pytest.mark.parametrize("of_clip", ["NFC", "NFD"])
def test_names_of_a_mac_are_the_same_names(tmp_path, of_file, of_clip):
    clip = unicodedata.normalize(of_clip, "walk é")
    np.save(tmp_path / f"{unicodedata.normalize(of_file, 'walk é')}.npy", np.array([0, 1, 1]))
    assert ranges(tmp_path, {"01": 5, clip: 3}) == {clip: [(1, 2)]}


def test_labels_of_no_clip_are_not_to_be_removed(tmp_path):
    np.save(tmp_path / "walk.npy", np.zeros(3))
    with pytest.raises(DDLError, match="without a test clip; expected one of 01, walk é; rename"):
        ranges(tmp_path)


def test_labels_of_one_name_twice_are_reported(tmp_path):
    for form in ("NFC", "NFD"):
        np.save(tmp_path / f"{unicodedata.normalize(form, 'walk é')}.npy", np.zeros(60))
    with pytest.raises(DDLError, match="labels of walk é a second time"):
        ranges(tmp_path)
