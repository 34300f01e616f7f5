"""Localisation: error maps compared with pixel masks, by pixel, by region and by track.

All arrays are N x H x W per clip and may be memory-mapped; they are read a few frames at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from scipy.ndimage import label, uniform_filter
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ddllib.errors import DDLError

CHUNK = 64  # frames read at a time
LEVELS = 60  # thresholds of a curve, at most
HALF_FLOATS = 1 << 16  # number of bit patterns
LARGEST_HALF_FLOAT = float(np.finfo(np.float16).max)

# Pixels connect to eight neighbours within a frame and to none in other frames, so that one call
# labels a whole chunk.
WITHIN_FRAME = np.zeros((3, 3, 3), bool)
WITHIN_FRAME[1] = True


class Criteria(NamedTuple):
    """RBDC and TBDC, both in [0, 1], the number of true regions and tracks, and of thresholds.

    With few tracks, ``tbdc`` changes in large steps. Few thresholds (``levels``) give lower figures
    than many, so figures are comparable only at the same number.
    """

    rbdc: float
    tbdc: float
    regions: int
    tracks: int
    levels: int


def pixel_auroc(maps: Mapping[str, np.ndarray], masks: Mapping[str, np.ndarray]) -> float:
    """Micro AUROC over every pixel of every frame, in [0, 1]; clips by name.

    ``maps`` holds distances from 0 to 65504, float16 or float32, ``masks`` 0 and 1 (1 = abnormal),
    both N x H x W. It is the chance that an abnormal pixel lies above a normal one, a tie counting
    half: exact for float16 maps; float32 maps are rounded to float16, since only a count of each of
    the 65536 half floats is stored.
    Raises ``DDLError`` when clips or shapes differ, a value is out of range, or all pixels are of
    one kind.
    """
    _check_clips(maps, masks)
    normal, abnormal = np.zeros((2, HALF_FLOATS), np.int64)
    for chunk, mask in chunks_of(maps, masks):
        normal += _count_patterns(chunk[~mask])
        abnormal += _count_patterns(chunk[mask])
    if not (normal.any() and abnormal.any()):
        kind = "normal" if normal.any() else "abnormal"
        raise DDLError(f"every pixel is {kind}; a pixel AUROC needs masks with both 0 and 1")
    below = normal.cumsum() - normal
    # Shares instead of counts: the product of two counts can exceed 64 bits.
    return float((abnormal / abnormal.sum()) @ ((below + normal / 2) / normal.sum()))


def smooth(maps: np.ndarray, patch: int) -> np.ndarray:
    """The mean of the ``patch`` x ``patch`` box about each pixel: n x H x W -> n x H x W, float32.

    The same box as the score's (``patches.patch_scores``), at every pixel rather than on two
    grids; beyond the frame its edge is repeated. An even box reaches one pixel further up and left.
    Raises ``DDLError`` when the box does not fit the frame.
    """
    side = min(maps.shape[1:])
    if not 1 <= patch <= side:
        raise DDLError(f"patch is {patch}; expected 1 to {side}, the frame's side")
    maps = np.asarray(maps, np.float32)  # in float16 the filter would round between the axes
    return uniform_filter(maps, patch, mode="nearest", axes=(1, 2))


def region_and_track(
    maps: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
    patch: int,
    alpha: float = 0.1,
    beta: float = 0.1,
    levels: int = LEVELS,
) -> Criteria:
    """Region-based and track-based detection criteria (RBDC, TBDC); clips by name.

    Source: Ramachandra and Jones, "Street Scene: A new dataset and evaluation protocol for video
    anomaly detection", WACV 2020. ``maps`` and ``masks`` are those of ``pixel_auroc``.

    At a threshold, the detected regions of a frame are the 8-connected parts where its map is at
    or above the threshold. A true region is detected when its intersection over union (IoU) with
    some detected region is at least ``beta``; a detected region that reaches ``beta`` with no true
    region of its frame is false. The false positive rate is the number of false regions per frame,
    over all frames, and may pass 1. A track is detected when at least the share ``alpha`` of its
    regions is. RBDC is the area under the share of true regions detected, over false positive
    rates from 0 to 1; TBDC the same for tracks.

    Choices of ours, where the paper is open or needs more than masks:

    - a true region is an 8-connected part of the mask, not an annotated box: objects that touch
      are one region;
    - a track links regions of consecutive frames of a clip that overlap, the largest overlap
      first, each region to one before and one after at most: an object unseen for one frame
      begins a new track;
    - maps are smoothed first (``smooth``, of side ``patch``), so that no region is a lone pixel;
    - the curve is drawn from ``levels`` thresholds at most (``thresholds``);
    - at each rate it holds the best detection found at that rate or a lower one; between points it
      is straight, before the first it rises from (0, 0), after the last it is flat, and it is cut
      at rate 1.

    Raises ``DDLError`` when clips or shapes differ, a value or setting is out of range, or no mask
    pixel is set.
    """
    _check_clips(maps, masks)
    check_criteria(alpha, beta, levels)
    track = _tracks_of_all(masks)
    if not len(track):
        raise DDLError("no mask pixel is set; expected abnormal regions; give the test clips'")
    values = thresholds(maps, masks, patch, levels)
    false, detected = _detect(maps, masks, patch, values, beta, len(track))
    return criteria(false, detected, track, sum(map(len, maps.values())), alpha, levels)


def check_criteria(alpha: float, beta: float, levels: int) -> None:
    """Raise ``DDLError`` for a share or a number of thresholds that is out of range."""
    for name, value in (("alpha", alpha), ("beta", beta)):
        if not 0 < value <= 1:
            raise DDLError(f"{name} is {value}; expected a share above 0 and at most 1")
    if levels < 2:
        raise DDLError(f"levels is {levels}; expected at least 2 thresholds; {LEVELS} is usual")


def criteria(
    false: np.ndarray,
    detected: np.ndarray,
    track: np.ndarray,
    frames: int,
    alpha: float,
    levels: int,
) -> Criteria:
    """Both criteria from what K thresholds found in so many ``frames``.

    ``false`` is the number of false regions, K; ``detected`` which true ones were, K x R; ``track``
    the number of each one's track, R, from 0.
    """
    length = np.bincount(track)
    share = np.array([np.bincount(track, hits) / length for hits in detected])
    rates = false / frames
    return Criteria(
        area_to_one(rates, detected.mean(axis=1)),
        area_to_one(rates, (share >= alpha).mean(axis=1)),
        len(track),
        len(length),
        levels,
    )


def area_to_one(false: np.ndarray, detected: np.ndarray) -> float:
    """Area from 0 to 1 under the curve through K points: false positive rates, detection rates.

    ``region_and_track`` describes the curve.
    """
    order = np.lexsort((detected, false))
    x = np.concatenate([[0], false[order]])
    y = np.concatenate([[0], np.maximum.accumulate(detected[order])])
    within = x <= 1
    end = np.interp(1, x, y)
    return float(np.trapezoid([*y[within], end], [*x[within], 1]))


def _check_clips(maps, masks) -> None:
    """The same clips on both sides, each with one mask per map."""
    if not maps:
        raise DDLError("there are no maps; expected at least one clip; score the test clips")
    if set(maps) != set(masks):
        name = min(set(maps) ^ set(masks))
        raise DDLError(f"clip {name!r} has maps or masks but not both; give both for each clip")
    for name in maps:
        shapes = np.shape(maps[name]), np.shape(masks[name])
        if shapes[0] != shapes[1] or len(shapes[0]) != 3:
            raise DDLError(
                f"clip {name!r} has maps of shape {shapes[0]} and masks of shape {shapes[1]}; "
                "expected N x H x W for both; score and mask the same prepared frames"
            )


def chunks_of(maps, masks) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Chunks of maps (float32) and masks (bool), n x H x W, clip by clip in order of name."""
    for name in sorted(maps):
        for start in range(0, len(maps[name]), CHUNK):
            chunk = np.asarray(maps[name][start : start + CHUNK], np.float32)
            mask = np.asarray(masks[name][start : start + CHUNK])
            if not (chunk.min() >= 0 and chunk.max() <= LARGEST_HALF_FLOAT):  # false for NaN too
                raise DDLError(
                    f"clip {name!r} has a map value that is not in 0 to {LARGEST_HALF_FLOAT:.0f}; "
                    "expected distances; score it again"
                )
            if not np.isin(mask, (0, 1)).all():
                raise DDLError(
                    f"clip {name!r} has a mask value other than 0 and 1; prepare its masks again"
                )
            yield chunk, mask.astype(bool)


def _count_patterns(values: np.ndarray) -> np.ndarray:
    """How often each half float occurs, 65536 counts, in float values >= 0 of any shape.

    Half floats >= 0 have the same order as their bits read as integers.
    """
    half = np.abs(values).astype(np.float16)  # minus zero has a larger bit pattern
    return np.bincount(half.view(np.uint16).ravel(), minlength=HALF_FLOATS)


def label_regions(hot: np.ndarray) -> tuple[np.ndarray, int]:
    """Number the regions of a chunk from 1: labels n x H x W (0 for none), and their count."""
    return label(hot, WITHIN_FRAME)


def _overlaps(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The P pairs of regions, by number, that share pixels, and how many they share.

    ``a`` and ``b`` are labels of the same pixels, 0 for none.
    """
    both = (a > 0) & (b > 0)
    a, b = a[both].astype(np.int64), b[both]
    base = b.max(initial=0) + 1
    keys, shared = np.unique(a * base + b, return_counts=True)
    return keys // base, keys % base, shared


def _tracks_of_all(masks) -> np.ndarray:
    """The track of every true region, R numbers from 0, in the order of ``chunks_of``."""
    tracks, count = [np.zeros(0, int)], 0
    for name in sorted(masks):
        clip_tracks = _tracks(masks[name])
        tracks.append(clip_tracks + count)
        count += clip_tracks.max(initial=-1) + 1
    return np.concatenate(tracks)


def _tracks(mask: np.ndarray) -> np.ndarray:
    """The track of each region of one clip, numbered from 0: N x H x W -> one per region."""
    count, pairs = 0, []
    last_labels = np.zeros((1, *mask.shape[1:]), np.int64)
    for start in range(0, len(mask), CHUNK):
        labels, new_count = label_regions(np.asarray(mask[start : start + CHUNK]))
        labels = np.where(labels > 0, labels + np.int64(count), 0)
        pairs += zip(*_overlaps(np.concatenate([last_labels, labels[:-1]]), labels), strict=True)
        count, last_labels = count + new_count, labels[-1:]
    links = _one_to_one(pairs)
    graph = coo_array((np.ones(len(links)), links.T - 1), shape=(count, count))
    return connected_components(graph, directed=False)[1]


def _one_to_one(pairs: list[tuple[int, int, int]]) -> np.ndarray:
    """Links between regions of one frame and of the next, L x 2, from (before, after, overlap).

    Each region gets one link backwards and one forwards at most, to where the overlap is largest;
    of equal overlaps the first counts.
    """
    links, before, after = [], set(), set()
    for a, b, _ in sorted(pairs, key=lambda pair: -pair[2]):
        if a not in before and b not in after:
            links.append((a, b))
            before.add(a)
            after.add(b)
    return np.array(links, int).reshape(-1, 2)


def thresholds(maps, masks, patch: int, levels: int) -> np.ndarray:
    """At most ``levels`` thresholds, float32, for false positive rates from 0 to about 1.

    Two thirds are quantiles of the frames' maxima, from the largest, where the first region
    appears, to the smallest, where every frame has one. A third are values that a share of all
    pixels reaches: these go on below the maxima, where frames gain second and third regions. The
    shares grow by a constant factor, from one pixel in 10 000 to one in 10.
    """
    peaks, counts = [], np.zeros(HALF_FLOATS, np.int64)
    for chunk, _ in chunks_of(maps, masks):
        chunk = smooth(chunk, patch)
        peaks.append(chunk.max(axis=(1, 2)))
        counts += _count_patterns(chunk)
    tail_count = levels // 3
    ranks = np.linspace(0, 1, levels - tail_count)
    # inverted_cdf picks existing maxima: few frames then give few thresholds.
    peak_quantiles = np.quantile(np.concatenate(peaks), ranks, method="inverted_cdf")
    return np.unique(np.concatenate([peak_quantiles, _tail_values(counts, tail_count)]))


def _tail_values(counts: np.ndarray, number: int) -> np.ndarray:
    """``number`` values: the first is reached by one pixel in 10 000, the last by one in 10."""
    shares = np.geomspace(1e-4, 0.1, number)
    patterns = np.searchsorted(counts.cumsum(), (1 - shares) * counts.sum(), side="right")
    halves = patterns.astype(np.uint16).view(np.float16)
    # Counting may have rounded values up; one step down is below all values that were counted.
    return np.nextafter(halves, np.float16(0)).astype(np.float32)


def _detect(
    maps, masks, patch: int, values: np.ndarray, beta: float, regions: int
) -> tuple[np.ndarray, np.ndarray]:
    """At each of K thresholds: the number of false regions, K, and the true ones detected, K x R.

    The first are counts, the second bool, in the order in which ``chunks_of`` goes.
    """
    false = np.zeros(len(values), np.int64)
    detected = np.zeros((len(values), regions), bool)
    first = 0
    for chunk, mask in chunks_of(maps, masks):
        chunk = smooth(chunk, patch)
        truth, count = label_regions(mask)
        for k, threshold in enumerate(values):
            false_count, hits = _match(chunk >= threshold, truth, beta)
            false[k] += false_count
            detected[k, first + hits] = True
        first += count
    return false, detected


def _match(hot: np.ndarray, truth: np.ndarray, beta: float) -> tuple[int, np.ndarray]:
    """How many regions of ``hot`` are false, and which of ``truth`` are detected, from 0.

    ``hot`` is n x H x W, bool; ``truth`` labels of the same shape.
    """
    detected, count = label_regions(hot)
    i, j, shared = _overlaps(detected, truth)
    areas, true_areas = np.bincount(detected.ravel()), np.bincount(truth.ravel())
    matches = shared / (areas[i] + true_areas[j] - shared) >= beta
    return count - len(np.unique(i[matches])), np.unique(j[matches]) - 1
