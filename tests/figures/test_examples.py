"""The window that a chapter shows is chosen by a rule."""

import torch

from ddllib.figures.examples import clearest

EDGES = [(0, 4, 1, 3), (6, 10, 1, 3), (1, 5, 0, 2), (1, 5, 8, 10)]  # upright, each at one of them
GROUP = (1, 4, 1, 3)


def masks(*boxes):
    """Masks of boxes (top, bottom, left, right) in frames of 10 x 10, the same in three frames."""
    batch = torch.zeros(len(boxes), 1, 3, 10, 10)
    for mask, (top, bottom, left, right) in zip(batch, boxes, strict=True):
        mask[:, :, top:bottom, left:right] = 1
    return batch


def test_a_person_wholly_inside_the_frame_is_shown_neither_small_nor_large():
    people = (1, 9, 1, 5), (1, 7, 1, 2), (1, 3, 1, 2)
    assert clearest(masks(*EDGES, GROUP, *people)) == len(EDGES) + 2


def test_one_frame_is_enough_to_pass_over_an_object():
    batch = masks((1, 6, 1, 2), (1, 6, 1, 2), (1, 3, 1, 2))
    batch[0, :, 1, 1, 0] = 1  # at the edge
    batch[1, :, 2, 1, 3:6] = 1  # no longer upright
    assert clearest(batch) == 2
    batch = masks((1, 6, 1, 2), (1, 3, 1, 2))
    batch[0, :, 2, 4:] = 0  # smaller: it had been the box of two
    assert clearest(batch) == 1


def test_without_a_person_any_object_inside_is_shown_and_else_any():
    assert clearest(masks(*EDGES, GROUP, (1, 9, 1, 9))) == len(EDGES)
    assert clearest(masks((0, 9, 0, 9), (0, 2, 0, 2), (0, 0, 0, 0))) == 1
    assert clearest(masks((0, 0, 0, 0), (0, 9, 0, 9))) == 1
