"""Whether a video that gives no more frames is over, or breaks off before its stated length."""

import math
from pathlib import Path

import cv2

from data_prep import movie
from data_prep.layouts import VIDEOS

# Containers that state the number of their frames ...
COUNTING = frozenset({".avi", ".mp4", ".m4v", ".mov"})
# ... and those that state their seconds; of the others both are estimates.
TIMING = frozenset({".mkv", ".webm"})
ESTIMATING = VIDEOS - COUNTING - TIMING
SLACK_S = 1.0  # seconds; sound may end after the pictures
STEPS = 2.5  # times the last frame's distance from the one before: a count's rounding, in seconds


class Ending:
    """The stated length of an opened video, and how far its frames have come.

    OpenCV gives a number of frames for every video, but where the container states only seconds it
    is seconds x rate: a guess that footage of varying rate does not keep. Such footage is compared
    by its seconds: its last frame may be shown as long as the one before it, and `SLACK_S` more.
    A container that counts may count too many, packets without a picture or frames that an edit
    list hides; so its seconds count, too, to a frame or two.

    The suffix of `path`, a file or an address, tells the container; one of none is compared by its
    seconds.
    """

    def __init__(self, video: cv2.VideoCapture, path: Path):
        self.count, self._video, self._path, self._suffix = 0, video, path, path.suffix.lower()
        self.stated = video.get(cv2.CAP_PROP_FRAME_COUNT)
        self._rate = video.get(cv2.CAP_PROP_FPS)
        self._begin = self._last = self._step = 0.0

    def push(self, time_s: float) -> None:
        """Take the time of the frame just grabbed, in seconds from the video's first one."""
        if self.count:
            self._step = time_s - self._last
        elif self._suffix in TIMING:
            self._begin = self._first_time()
        self.count, self._last = self.count + 1, time_s

    def is_reached(self) -> bool:
        """Whether the frames so far are all of a video, as far as its container tells."""
        if not self.stated > 0:
            return True
        missing = self.stated - self.count
        if self._counts:
            return missing <= 1 or self._shows_all()  # containers round their length
        if self.count and self._seconds - self._last <= SLACK_S + self._step:
            return True
        return self._suffix in ESTIMATING and missing <= 1 + 0.01 * self.stated

    def __str__(self) -> str:
        """How far the frames have come: 24 of 60 frames, or 1.2 of 3.0 s."""
        if not self.stated > 0:
            return f"{self.count} frames"
        if self._counts:
            return f"{self.count} of {self.stated:.0f} frames"
        return f"{self._last:.1f} of {self._seconds:.1f} s"

    @property
    def _counts(self) -> bool:
        return self._suffix in COUNTING or not self._rate > 0

    def _shows_all(self) -> bool:
        """Whether frames have come for all seconds that a counting container states."""
        if not (self._step > 0 and self._rate > 0):
            return False
        seconds = self.stated / self._rate
        if self._suffix in movie.SUFFIXES:
            seconds = movie.shown_seconds(self._path) or seconds
        return seconds - self._last <= STEPS * self._step

    @property
    def _seconds(self) -> float:
        return self.stated / self._rate - self._begin

    def _first_time(self) -> float:
        """Seconds at which the first frame lies: a piece of a longer recording may keep its clock.

        A stated end is by that clock, but the times that OpenCV gives begin at 0.
        """
        stamp = getattr(cv2, "CAP_PROP_PTS", None)  # counts frames at the video's rate
        first = self._video.get(stamp) / self._rate if stamp and self._rate > 0 else 0.0
        return first if math.isfinite(first) and 0 < first < self.stated / self._rate else 0.0
