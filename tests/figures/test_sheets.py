"""Contact sheets: which frame of a clip is shown, and that a kept sheet draws without the data."""

import numpy as np
import pytest

from data_prep import companions
from ddllib.data import load_prepared
from ddllib.errors import DDLError
from ddllib.figures import contact_sheets, plots


def test_each_clip_shows_its_most_telling_frame(ready):
    data = load_prepared(ready[0])
    sheet = contact_sheets.panels(data)
    assert [panel.title.partition(",")[0] for panel in sheet] == [
        "training 01", "training walk 2 é", "testing 01", "testing walk 2 é",
    ]  # fmt: skip
    counts = data.tracks.query("clip == '01'").groupby("frame").size()
    assert len(sheet[0].boxes) == counts.max() and not sheet[0].mask.size
    assert 4 <= int(sheet[2].title.rsplit(" ", 1)[1]) <= 7 and sheet[2].mask.any()
    assert sheet[3].title == "testing walk 2 é, frame 7" and not sheet[3].mask.any()


def test_of_many_clips_an_even_choice(ready):
    sheet = contact_sheets.panels(load_prepared(ready[0]), limit=2)
    assert [panel.title[:8] for panel in sheet] == ["training", "testing "]


def test_a_kept_sheet_is_the_same(ready, tmp_path):
    sheet = contact_sheets.panels(load_prepared(ready[0]))
    contact_sheets.save(tmp_path / "sheet.npz", sheet)
    again = contact_sheets.load(tmp_path / "sheet.npz")
    for one, other in zip(sheet, again, strict=True):
        assert one.title == other.title
        for name in ("frame", "boxes", "tracks", "mask"):
            assert np.array_equal(getattr(one, name), getattr(other, name))


def test_a_companion_is_shown_as_what_it_is(ready):
    data = load_prepared(ready[0])
    plain = contact_sheets.panels(data)
    for name in ("silhouettes-boxes", "inpainted-telea-boxes", "flow-dis"):
        companions.make(ready[0], name, progress=False)
    outlines, painted, flow = (
        contact_sheets.panels(data, companion=name)
        for name in ("silhouettes-boxes", "inpainted-telea-boxes", "flow-dis")
    )
    assert [panel.title for panel in outlines] == [p.title for p in plain[: len(data.training)]]
    x0, y0, x1, y1 = outlines[0].boxes[0] * np.array([32, 24, 32, 24])
    assert outlines[0].mask[int((y0 + y1) / 2), int((x0 + x1) / 2)] == 1
    inside = outlines[0].mask == 1
    assert (painted[0].frame != plain[0].frame)[:, inside].any()
    assert (painted[0].frame == plain[0].frame)[:, ~inside].all()
    darkest = flow[0].frame.min(axis=0)  # white does not move
    assert np.median(darkest[~inside]) > 250 and darkest[inside].min() < 200


def test_a_companion_that_was_not_made_is_named(ready):
    with pytest.raises(DDLError, match="flow-tvl1"):
        contact_sheets.panels(load_prepared(ready[0]), companion="flow-tvl1")


def test_a_missing_or_damaged_sheet_is_named(ready, tmp_path):
    contact_sheets.save(tmp_path / "sheet.npz", contact_sheets.panels(load_prepared(ready[0])))
    (tmp_path / "sheet.npz").write_bytes((tmp_path / "sheet.npz").read_bytes()[:500])
    for name, fault in (("none.npz", "not there"), ("sheet.npz", "not a contact sheet")):
        with pytest.raises(DDLError, match=f"{name}: {fault}.*`python -m ddllib show`"):
            contact_sheets.load(tmp_path / name)


def test_the_drawing_has_every_box_and_outline(ready):
    sheet = contact_sheets.panels(load_prepared(ready[0]))
    axes = plots.contact_sheet(sheet).axes
    assert [axis.get_title() for axis in axes] == [panel.title for panel in sheet]
    assert [len(axis.patches) for axis in axes] == [len(panel.boxes) for panel in sheet]
    assert [bool(axis.collections) for axis in axes] == [False, False, True, False]


def test_a_run_without_a_step_has_no_losses_to_draw():
    with pytest.raises(DDLError, match="no step was trained.*set epochs to 1 or more"):
        plots.loss_curves({"reconstruction": [], "p": [], "q": []})


def test_a_run_of_another_method_has_no_losses_of_ddl_to_draw():
    with pytest.raises(DDLError, match="logs no p and no q.*train and score.*in chapter 6"):
        plots.loss_curves({"total": [1.0], "reconstruction": [1.0]})
