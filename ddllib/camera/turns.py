"""Score the frames of many cameras in one thread, by turns; those of one model as one batch."""

from __future__ import annotations

import queue
import threading
from collections.abc import Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from ddllib.streaming import FrameScore, StreamScorer, push_together


@dataclass(frozen=True)
class _Request:
    """A frame that waits for its turn, and the future of its answer."""

    scorer: StreamScorer
    frame: np.ndarray
    answer: Future = field(default_factory=Future)

    @property
    def batch(self) -> Hashable:
        """Requests of the same value go through the model together."""
        if not self.scorer.batched:
            return id(self.scorer)
        return id(self.scorer.model), self.frame.shape[-2:]


class Turns:
    """A thread that scores, used as a context; cameras push their frames into it by ``InTurn``.

    A camera waits for the answer to its frame before it pushes the next one. So each round has one
    frame of every camera that has one, and no camera gets more than its turn. Frames of scorers
    with one model are a batch; other models follow one after the other. A frame that does not fit
    is refused in the camera's own thread, before its turn.
    """

    def __init__(self):
        self._requests: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._models: dict[Hashable, nn.Module] = {}
        self._thread = threading.Thread(target=self._work, daemon=True, name="scores")

    def share(self, scorer: StreamScorer, model: Hashable) -> InTurn:
        """The scorer as a camera's thread uses it; equal ``model`` name equal weights."""
        scorer.model = self._models.setdefault(model, scorer.model)
        return InTurn(scorer, self._requests)

    @property
    def waiting(self) -> int:
        """How many frames wait for the next round."""
        return self._requests.qsize()

    def __enter__(self) -> Turns:
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._requests.put(None)
        self._thread.join()

    def _work(self) -> None:
        torch.set_num_threads(max(torch.get_num_threads() - 1, 1))  # a core for those that decode
        while (first := self._requests.get()) is not None:
            for batch in self._batches(first):
                _answer(batch)

    def _batches(self, first: _Request) -> list[list[_Request]]:
        """All requests that wait, by batch, in the order in which they came."""
        batches = {first.batch: [first]}
        for _ in range(self.waiting):
            request = self._requests.get()
            if request is None:
                self._requests.put(None)  # the end, after this round
            else:
                batches.setdefault(request.batch, []).append(request)
        return list(batches.values())


def _answer(batch: list[_Request]) -> None:
    """Score a batch; a fault goes to the cameras of the batch, each in its own thread."""
    scorers, frames = [r.scorer for r in batch], [r.frame for r in batch]
    try:
        if scorers[0].batched:
            answers = push_together(scorers, frames)
        else:
            answers = [scorer.push(frame) for scorer, frame in zip(scorers, frames, strict=True)]
    except Exception as error:
        for request in batch:
            request.answer.set_exception(error)
        return
    for request, answer in zip(batch, answers, strict=True):
        request.answer.set_result(answer)


class InTurn:
    """A scorer whose ``push`` waits for its turn; everything else is the scorer's own."""

    def __init__(self, scorer: StreamScorer, requests: queue.SimpleQueue):
        self.scorer, self._requests = scorer, requests

    def __getattr__(self, name: str):
        return getattr(self.scorer, name)

    def push(self, frame: np.ndarray) -> FrameScore | None:
        """As ``StreamScorer.push``."""
        self.scorer.check(frame)
        request = _Request(self.scorer, frame)
        self._requests.put(request)
        return request.answer.result()
