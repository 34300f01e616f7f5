"""Look at a few frames of each clip: is the footage grey, and how many bits has it?"""

import numpy as np

from data_prep.footage import frames as fr
from data_prep.footage.layouts import Footage
from data_prep.footage.levels import levels_of

GLANCES = 12  # frames of a clip


def count_channels(footage: Footage) -> int:
    """1 if a few frames of every clip are grey, else 3; all clips count, as nights may be grey.

    It is a guess: preparation checks every frame and starts again with 3 if it finds colour.
    """
    for clip in footage.all_clips():
        if not all(map(fr.is_grey, fr.glances(clip, GLANCES))):
            return 3
    return 1


def at_own_levels(footage: Footage) -> Footage:
    """The footage with frames of 16 bits scaled by the range of its training clips.

    Footage of 8 bits is returned unchanged.
    """
    clips = footage.clips["training"].values()
    clips_of_16_bits = [c for c in clips if any(f.dtype == np.uint16 for f in fr.glances(c, 1))]
    levels = levels_of(frame for clip in clips_of_16_bits for frame in fr.glances(clip, GLANCES))
    return footage.at_levels(levels) if levels else footage
