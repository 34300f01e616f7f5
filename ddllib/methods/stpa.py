"""Spatio-temporal pseudo-anomalies (STPA): autoencoders for frames and flow, a discriminator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddllib.devices import autocast, resolve_device, resolve_precision
from ddllib.errors import DDLError
from ddllib.evaluation import evaluate_lntra
from ddllib.features import EXTRACTORS
from ddllib.methods.base import Method, companions_of, method
from ddllib.methods.stpa_scorer import UnifiedScorer
from ddllib.methods.stpa_semantic import extractor_of, train_discriminator
from ddllib.models.autoencoder3d import FRAMES, scaled_widths
from ddllib.models.spatio_temporal import SCALED, SpatioTemporal
from ddllib.pseudo_anomalies.base import PseudoAnomaly, TorchRandom
from ddllib.pseudo_anomalies.mixture import make_pseudo_anomaly
from ddllib.runs import Run
from ddllib.score_terms.base import TERMS
from ddllib.score_terms.terms import Terms
from ddllib.settings import INDICATORS, Settings
from ddllib.weighted import weighted
from ddllib.windows import Sample, Windows

AUTOENCODERS = ("appearance", "motion")
MODEL_OF = {"frames": "appearance", "flow": "motion", "probability": "semantic"}  # for terms
NORMAL_WINDOWS = 256  # training windows, evenly spaced, whose scores the terms are scaled by
FAST = 99.9  # percent of training pixels that move slower than the scale of the flow
SPACING = 4  # of the pixels whose flow is looked at for that, in both axes


@method("stpa")
class STPA(Method):
    """Reconstructs all T frames and the flow of a window, always the normal ones (section 3.4).

    Both autoencoders are trained in one step: they share no parameter, so each learns as alone.
    The discriminator, if there is one, is trained after them.
    """

    curves = AUTOENCODERS
    streams = tuple(MODEL_OF)
    divided = ("model.a_s", "model.a_t")

    def check(self, settings: Settings) -> None:
        if settings.temporal % FRAMES:
            raise DDLError(
                f"temporal is {settings.temporal}; expected a multiple of {FRAMES}, such as 16"
            )
        trained = indicators(settings)
        if not trained.keys() & set(AUTOENCODERS):
            raise DDLError(
                f"indicators is {settings.indicators!r}; expected {' or '.join(AUTOENCODERS)} in "
                "it, which the training loop trains"
            )
        if settings.scaled_terms:
            raise DDLError(
                "scaled_terms is true; method stpa always scales its terms, by windows that it "
                "chose when it was trained; leave it out"
            )
        if "semantic" in trained and settings.channels not in (1, 3):
            raise DDLError(
                f"channels is {settings.channels}; expected 1 or 3, grey or colour, for the "
                "indicator semantic"
            )
        for name, (_, term) in Terms(settings.score).items():
            if MODEL_OF[term.of] not in trained:
                raise DDLError(
                    f"score: the term {name!r} needs the indicator {MODEL_OF[term.of]}, and "
                    f"indicators is {settings.indicators!r}; add it there, or leave the term out"
                )

    def without_pseudo_anomalies(self, settings: Settings) -> Settings:
        """Without them there is nothing to tell from normal windows, and so no discriminator."""
        remaining = {
            name: without_semantic(getattr(settings, name)) for name in ("indicators", "score")
        }
        return replace(settings, p_s=0.0, p_t=0.0, **remaining)

    def window(self, settings: Settings) -> int:
        return settings.temporal + 1  # the flow of the last frame needs the next

    def precision(self, settings: Settings) -> str:
        """On a CPU ``auto`` is float32: 3D convolutions in bfloat16 are slower, or unsafe there."""
        device = resolve_device(settings.device)
        if settings.precision == "auto" and device.type == "cpu":
            return "float32"
        return resolve_precision(settings.precision, device)

    def companions(self, settings: Settings) -> dict[str, str]:
        names, trained = {}, indicators(settings)
        if "semantic" in trained or "appearance" in trained and settings.p_s:
            names |= companions_of(settings.pseudo_anomaly, settings)
        if "motion" in trained:
            names["flow"] = f"flow-{settings.flow}"
            if settings.p_t:
                names |= companions_of(settings.flow_pseudo_anomaly, settings)
        return names

    def scoring_companions(self, settings: Settings) -> dict[str, str]:
        has_flow = any(term.of == "flow" for _, term in Terms(settings.score).values())
        return {"flow": f"flow-{settings.flow}"} if has_flow else {}

    def build(self, settings: Settings) -> dict[str, nn.Module]:
        widths = scaled_widths(settings.latent_dim)
        has_discriminator = "semantic" in indicators(settings)
        dimension = EXTRACTORS[settings.features].dimension if has_discriminator else None
        return {
            "model": SpatioTemporal(settings.channels, widths, settings.temporal, dimension),
            "pseudo_anomaly": make_pseudo_anomaly(settings),
            "flow_pseudo_anomaly": make_pseudo_anomaly(settings, "flow_pseudo_anomaly"),
        }

    def groups(self, models: Mapping[str, nn.Module], settings: Settings) -> list[dict]:
        model = models["model"]
        return [{"params": [*model.a_s.parameters(), *model.a_t.parameters()]}]

    def begin(self, run: Run, windows: Windows) -> None:
        trained = indicators(run.settings)
        if "motion" in trained:
            run.model.flow_scale.fill_(fast_motion(windows))
        if "semantic" in trained:
            extractor_of(run)  # weights that are missing are told before hours of training

    def loss(self, run: Run, sample: Sample, rng: torch.Generator) -> dict[str, Tensor]:
        """Equations 4 and 5: the mean squared error to the normal window, in [-1, 1]."""
        settings, model, random = run.settings, run.quick["model"], TorchRandom(rng)
        losses = dict.fromkeys(AUTOENCODERS, sample.x.new_full((), torch.nan))
        trained = indicators(settings)
        if "appearance" in trained:
            normal = sample.first(model.frames)
            x = perturbed(normal, run.pseudo_anomaly, settings.p_s, random)
            with autocast(x.device, run.precision):
                y = model.a_s(2 * x - 1)
            losses["appearance"] = window_loss(y, 2 * normal.x - 1, 2 * x - 1, settings.repel)
        if "motion" in trained:
            normal = flow_sample(model, sample)
            x = perturbed(normal, run.models["flow_pseudo_anomaly"], settings.p_t, random)
            with autocast(x.device, run.precision):
                y = model.a_t(x)
            losses["motion"] = window_loss(y, normal.x, x, settings.repel)
        total = sum(losses[name] for name in AUTOENCODERS if name in trained)
        return {"total": total, **losses}

    def finish(self, run: Run, windows: Windows) -> None:
        """Train the discriminator; keep mean and deviation of each term's normal scores."""
        count = min(NORMAL_WINDOWS, len(windows))
        numbers = torch.linspace(0, len(windows) - 1, count).long()
        scores = normal_scores(run, windows, numbers)
        if "semantic" in indicators(run.settings):
            scores["semantic"] = train_discriminator(run, windows, numbers).tolist()
        for name, values in scores.items():
            run.model.means[SCALED.index(name)] = float(np.mean(values))
            run.model.deviations[SCALED.index(name)] = max(float(np.std(values)), 1e-12)

    def facts(self, run: Run) -> dict:
        discriminator = run.model.discriminator
        if discriminator is None:
            return {}
        return {"discriminator": discriminator.facts}

    def metrics(self, settings, terms, labels) -> dict[str, dict]:
        weights = {name: weight for name, (weight, _) in Terms(settings.score).items()}
        try:
            return {"lntra": asdict(evaluate_lntra(terms, weights, labels))}
        except DDLError:  # without the ends of clips, all frames may have the same label
            return {}

    def scorer(self, run: Run, ignore: np.ndarray | None = None) -> UnifiedScorer:
        return UnifiedScorer(run, ignore)


def indicators(settings: Settings) -> dict[str, float]:
    """The indicators that are trained, by name."""
    return weighted("indicators", settings.indicators, INDICATORS, "indicators of STPA")


def with_both_kinds(settings: Settings) -> Settings:
    """The settings with pseudo-anomalies of frames and of flow, to show both in any case."""
    both = " + ".join(AUTOENCODERS)
    return replace(settings, indicators=both, p_s=1.0, p_t=1.0, score="psnr + flow error")


def without_semantic(text: str) -> str:
    """Indicators or terms, as a setting has them, without the one called semantic."""
    parts = [part.strip() for part in text.split("+")]
    return " + ".join(part for part in parts if part.split()[-1:] != ["semantic"])


def normal_scores(run: Run, windows: Windows, numbers: Tensor) -> dict[str, list[float]]:
    """The scores of the windows of these numbers by each term of a trained autoencoder."""
    trained = [name for name in AUTOENCODERS if name in indicators(run.settings)]
    names = [name for name in SCALED if MODEL_OF[TERMS[name].of] in trained]
    every = replace(run.settings, score=" + ".join(names), window_stride=1)
    scorer, scores = UnifiedScorer(replace(run, settings=every)), {name: [] for name in names}
    for number in numbers:
        clip, first = windows.places[number]
        stop = first + windows.temporal
        beside = {role: arrays[clip][first:stop] for role, arrays in windows.companions.items()}
        for judged in scorer.score_batches(windows.clips[clip][first:stop], beside):
            for name in names:
                scores[name].append(float(judged.terms[name]))
    return scores


def flow_sample(model: SpatioTemporal, sample: Sample) -> Sample:
    """The windows' flow in place of their frames, as A^t takes it: B x 3 x T x H x W."""
    first = sample.first(model.frames)
    x = model.flow_input(first.companions["flow"])
    return Sample(x, first.mask, first.boxes, companions=first.companions)


def perturbed(
    normal: Sample, pseudo_anomaly: PseudoAnomaly, share: float, random: TorchRandom
) -> Tensor:
    """The windows, each made a pseudo-anomaly with probability ``share`` (p_s, p_t)."""
    x = normal.x
    chosen = (random.uniform((len(x),)) < share).nonzero()[:, 0]
    if not len(chosen):
        return x
    with torch.no_grad():
        altered = pseudo_anomaly.alter_checked(normal.take(chosen.cpu()), random).x
    return x.index_copy(0, chosen.to(x.device), altered.to(x.dtype))


def window_loss(y: Tensor, normal: Tensor, inputs: Tensor, repel: bool = False) -> Tensor:
    """Equations 4 and 5: the mean squared error of ``y`` to the normal windows, a scalar.

    All are B x C x T x H x W, in [-1, 1]. ``inputs`` are the windows that the model got, ``y``
    their reconstructions. With ``repel`` the loss is that of STEAL (Astrid et al. 2021): for an
    altered window it is minus the error to that window itself.
    """
    if not repel:
        return F.mse_loss(y.float(), normal)
    altered = (inputs != normal).flatten(1).any(dim=1)
    # A normal window is its own input, so that this is its error to the target, too.
    errors = (y.float() - inputs).square().flatten(1).mean(dim=1)
    return torch.where(altered, -errors, errors).mean()


def fast_motion(windows: Windows) -> float:
    """The magnitude in pixels that one training pixel in a thousand exceeds."""
    fields = (flow[..., ::SPACING, ::SPACING] for flow in windows.companions["flow"])
    magnitudes = [np.hypot(*np.moveaxis(np.asarray(f, np.float32), 1, 0)).ravel() for f in fields]
    return max(float(np.percentile(np.concatenate(magnitudes), FAST)), 1e-3)
