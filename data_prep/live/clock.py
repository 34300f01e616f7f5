"""When the frames of a live stream were taken, as far as the stream says so reliably."""

SLIP = 1.0  # seconds between a stamp and the arrival of its frame from which the stamp is doubted
SLIPS = 2  # after so many, stamps are not used any more
FOLLOW = 0.01  # share of the difference by which the clock follows the arrivals at each frame


class StreamClock:
    """The times at which frames were taken, in seconds of the clock of their arrival.

    A camera stamps each frame with its own clock. Frames arrive later, and unevenly: the network
    holds some back, or this machine is busy. So the stamps choose which frames are kept (`Pace`);
    by arrivals, of two frames that come close together one would be lost. The camera's clock may
    run a little fast or slow; the times follow the arrivals slowly. Stamps that differ from the
    arrivals by more than `SLIP` set the clock anew; after `SLIPS` of these, or for a stream without
    stamps, the times are the arrivals.
    """

    def __init__(self, has_stamps: bool = True):
        self._has_stamps = has_stamps
        self._offset: float | None = None
        self._slips = 0

    def time(self, stamp: float | None, arrival: float) -> float:
        """The time of the next frame, from its stamp (None without one) and its arrival."""
        if stamp is None or not self._has_stamps or self._slips == SLIPS:
            return arrival
        difference = arrival - stamp
        if self._offset is None:
            self._offset = difference
        elif abs(difference - self._offset) > SLIP:
            self._slips += 1
            self._offset = difference
        self._offset += FOLLOW * (difference - self._offset)
        return stamp + self._offset
