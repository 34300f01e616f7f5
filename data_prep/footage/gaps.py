"""Gaps: frame times that show that the footage was interrupted."""

GAP_S = 1.0  # seconds; a longer time without a frame is a gap, one or two dropped frames are not
GAP_FRAMES = 2.5  # the same in frames, for a camera so slow that this is longer


def is_gap(last: tuple[int, float] | None, now: tuple[int, float], gap_s: float = GAP_S) -> bool:
    """Whether the footage was interrupted between two frames, each its number and seconds."""
    return last is not None and not (last[0] < now[0] and 0 < now[1] - last[1] <= gap_s)


def longest_gap(frame_rate: float) -> float:
    """The longest time in seconds between two frames that is no gap, at a frame rate."""
    return max(GAP_S, GAP_FRAMES / frame_rate)
