"""The paper's figures with pictures: what is enlarged, on which scale, and all of it drawn."""

import numpy as np
import pytest
from matplotlib.colors import Normalize, PowerNorm

from ddllib.figures import comparison_pictures, picture_rows, plots, whole_method
from ddllib.figures.comparison_pictures import ZOOM, strangest_part


@pytest.mark.parametrize("place", [(0, 0), (40, 50), (95, 95)])
def test_the_enlarged_part_holds_the_highest_error_and_lies_in_the_frame(place):
    error = np.random.default_rng(0).random((96, 96)) * 0.1
    error[place[0] // 6 * 6 :, place[1] // 6 * 6 :][:6, :6] = 1
    rows, columns = strangest_part([error, np.zeros((96, 96))])
    for part, position in ((rows, place[0]), (columns, place[1])):
        assert 0 <= part.start <= position < part.stop <= 96
        assert part.stop - part.start == 96 // ZOOM


def test_errors_are_drawn_by_their_root_up_to_what_few_exceed():
    error = np.full((20, 20), 0.04)
    error[0, 0] = 100  # one pixel in four hundred
    norm = picture_rows.residual_norm([error])
    assert norm.vmax == pytest.approx(0.04)
    quarter = picture_rows.GREYS + (0.04 - picture_rows.GREYS) / 4
    assert float(norm(quarter)) == pytest.approx(0.5) and float(norm(100)) == 1
    assert float(norm(1 / 255)) == 0  # of one grey level nothing can be said
    assert picture_rows.residual_norm([np.zeros((4, 4))])(0.0) == 0


def test_two_models_stand_side_by_side_with_their_part_enlarged():
    frames = [np.random.default_rng(k).random((3, 48, 48)) for k in range(2)]
    maps = [frame[0] / 10 for frame in frames]
    figure = comparison_pictures.enlarged(frames, frames[::-1], maps, ["without", "with"])
    pictures = [axis for axis in figure.axes if axis.images and axis.get_label() != "<colorbar>"]
    shapes = [axis.images[0].get_array().shape[:2] for axis in pictures]
    assert shapes == [(48, 48), (16, 16)] * 6
    picture = pictures[9].images[0].get_array()  # the third row's second picture
    assert np.allclose(picture, maps[0][strangest_part(maps)])


def test_the_whole_method_and_both_ends_of_sigma_are_drawn():
    frame, error = np.full((3, 16, 16), 0.5), np.full((16, 16), 0.1)
    pictures = dict.fromkeys(whole_method._PLACES, frame)
    axis = whole_method.whole_method(pictures, 0.56).axes[0]
    assert len(axis.images) == len(pictures)
    assert any("0.56" in text.get_text() for text in axis.texts)
    columns = [[frame] * 2, [frame] * 2, [error] * 2, [error * 2] * 2]
    figure = whole_method.sigma_rows([0.0, 1.0], *columns)
    assert [a.get_title() for a in figure.axes[:2]] == [r"$\sigma=0.00$", r"$\sigma=1.00$"]
    p, q = figure.axes[4].images[0], figure.axes[6].images[0]
    assert p.norm is q.norm and q.get_array().max() == pytest.approx(0.2)


@pytest.mark.parametrize("norm", [PowerNorm(0.5, vmin=0.01, vmax=0.11), Normalize(0, 0.2)])
def test_ticks_of_the_error_scale_are_evenly_spaced_and_name_both_ends(norm):
    figure, axes = plots.panels(1, 1)
    plots.error_scale(figure, axes, axes[0, 0].imshow(np.zeros((4, 4)), norm=norm))
    bar = next(axis for axis in figure.axes if axis.get_label() == "<colorbar>")
    places = [norm(tick) for tick in bar.get_yticks()]
    assert np.allclose(np.diff(places), np.diff(places)[0])
    assert np.allclose([places[0], places[-1]], [0, 1])
