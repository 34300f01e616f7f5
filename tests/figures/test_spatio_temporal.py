"""Flow as colours."""

import numpy as np
import pytest

from ddllib.figures.spatio_temporal import flow_window


def colour_of(u, v, largest=2.0):
    return flow_window(np.full((2, 1, 1, 1), [[[[u]]], [[[v]]]]), largest)[:, 0, 0, 0]


def test_what_does_not_move_is_white():
    assert colour_of(0, 0) == pytest.approx([1, 1, 1])


def test_saturation_grows_with_speed_up_to_the_largest():
    grey = [colour_of(speed, 0).min() for speed in (0.5, 1, 2, 5)]
    assert grey == pytest.approx([0.75, 0.5, 0, 0])


def test_directions_have_colours_of_their_own():
    colours = [tuple(colour_of(2 * np.cos(a), 2 * np.sin(a)).round(3)) for a in np.arange(8)]
    assert len(set(colours)) == 8
