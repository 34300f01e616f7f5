"""The base class of methods, used by training, records and the camera."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from ddllib import registry
from ddllib.devices import resolve_device, resolve_precision
from ddllib.errors import DDLError
from ddllib.pseudo_anomalies import KINDS
from ddllib.runs import Run
from ddllib.score_terms.terms import Terms
from ddllib.settings import Settings
from ddllib.streaming import StreamScorer
from ddllib.weighted import weighted
from ddllib.windows import Sample, Windows

METHODS: dict[str, type[Method]] = {}


def method(name: str):
    """Class decorator: register a method under the name used in ``settings.method``."""
    return registry.register(METHODS, name, Method, ["build"])


def method_of(settings: Settings) -> Method:
    """The method named in the settings; ``DDLError`` if unknown or not fit for the settings."""
    if settings.method not in METHODS:
        raise DDLError(f"method is {settings.method!r}; expected one of {', '.join(METHODS)}")
    instance = METHODS[settings.method]()
    for name, (_, term) in Terms(settings.score).items():
        if term.of not in instance.streams:
            raise DDLError(
                f"score: the term {name!r} needs {term.of}, which method {settings.method} does "
                "not have; choose another term or another method"
            )
    instance.check(settings)
    return instance


def companions_of(text: str, settings: Settings) -> dict[str, str]:
    """The arrays beside the clips that pseudo-anomalies take: a kind, or a mixture of kinds."""
    names = weighted("pseudo_anomaly", text, KINDS, "kinds of ddllib.pseudo_anomalies")
    pairs = [KINDS[name].companions(settings) for name in names]
    return {role: companion for pair in pairs for role, companion in pair.items()}


def with_settings(run: Run, settings: Settings) -> Run:
    """A trained run with other settings, which score it: the same models, in their precision."""
    return replace(run, settings=settings, precision=method_of(settings).precision(settings))


class Method:
    """A method without state: everything learnt is in the models that it builds."""

    curves: tuple[str, ...] = ()  # logged at each step beside the total loss; NaN where unused

    streams: tuple[str, ...] = ("frames", "recent_frames")  # what terms of its score may compare

    divided: tuple[str, ...] = ("model",)  # of its models: modules whose passes processes divide

    def check(self, settings: Settings) -> None:
        """Raise ``DDLError`` for settings that the method cannot be trained with."""

    def without_pseudo_anomalies(self, settings: Settings) -> Settings:
        """The same settings, but the model sees normal footage only."""
        return settings

    def window(self, settings: Settings) -> int:
        """T, the number of frames in a window."""
        return settings.temporal

    def precision(self, settings: Settings) -> str:
        """What convolutions are computed in on the settings' device: float32 or bfloat16."""
        return resolve_precision(settings.precision, resolve_device(settings.device))

    def companions(self, settings: Settings) -> dict[str, str]:
        """The arrays beside the training clips that training takes, by role.

        Each is named as ``data_prep.companions`` makes it. By default they are those of the
        pseudo-anomalies that the settings name.
        """
        return companions_of(settings.pseudo_anomaly, settings)

    def scoring_companions(self, settings: Settings) -> dict[str, str]:
        """The arrays beside the test clips that scoring takes, by role."""
        return {}

    def begin(self, run: Run, windows: Windows) -> None:
        """Set what depends on the training data, before the first step."""

    def finish(self, run: Run, windows: Windows) -> None:
        """Set what depends on the trained weights, after the last step."""

    def build(self, settings: Settings) -> dict[str, nn.Module]:
        """The untrained models by name, in the order of the checkpoint.

        The first is called ``model`` and is the one that reconstructs (``scoring.Scorer``).
        """
        raise NotImplementedError

    def groups(self, models: Mapping[str, nn.Module], settings: Settings) -> list[dict]:
        """The optimiser's parameter groups, with options that differ from its defaults."""
        return [{"params": [p for model in models.values() for p in model.parameters()]}]

    def needs_objects(self, run: Run) -> bool:
        """Whether a batch in which no window has an object is skipped."""
        return False

    def loss(self, run: Run, sample: Sample, rng: torch.Generator) -> dict[str, Tensor]:
        """The loss of one batch, a scalar ``total``, and values of ``curves``, all scalars.

        Models are taken from ``run.quick``; ``rng`` draws on the windows' device. A method that
        trains nothing needs none.
        """
        raise DDLError(
            f"method {run.settings.method}: has no method loss; expected one, or epochs 0"
        )

    def metrics(
        self,
        settings: Settings,
        terms: Mapping[str, Mapping[str, np.ndarray]],
        labels: Mapping[str, np.ndarray],
    ) -> dict[str, dict]:
        """Evaluations by protocols of the method's own, from the curves of each term by clip."""
        return {}

    def facts(self, run: Run) -> dict:
        """What a record says of the trained models beside the curves of their training."""
        return {}

    def scorer(self, run: Run, ignore: np.ndarray | None = None) -> StreamScorer:
        """A scorer with the trained run; pixels marked in ``ignore``, H x W, count 0."""
        settings = run.settings
        arguments = settings.patch_size, run.precision, ignore, settings.score
        return StreamScorer(run.model, *arguments, settings.scaled_terms)
