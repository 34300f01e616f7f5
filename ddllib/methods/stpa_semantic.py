"""The semantic indicator of STPA: D is trained on features of frames (sections 3.5 and 4.1).

D needs neither autoencoder, only windows and their spatial pseudo-anomalies. It is trained after
the last step of the autoencoders, so the training loop does not know of it.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from ddllib.errors import DDLError
from ddllib.features import EXTRACTORS
from ddllib.features.base import FeatureExtractor
from ddllib.models.discriminator import Discriminator
from ddllib.pseudo_anomalies.base import TorchRandom
from ddllib.runs import Run
from ddllib.windows import Windows

EPOCHS, BATCH = 20, 16
SGD = {"lr": 0.02, "momentum": 0.9, "weight_decay": 1e-3}
ASIDE = 0.2  # share of the windows that D is not trained on, the last ones
AT_ONCE = 4  # windows whose frames are described together


def extractor_of(run: Run) -> FeatureExtractor:
    """The run's extractor on its device; ``DDLError`` if D was trained with other weights."""
    settings = run.settings
    extractor = _made(EXTRACTORS[settings.features], settings.feature_weights, str(run.device))
    run.model.discriminator.check_source(extractor.checksum)
    return extractor


@functools.lru_cache(maxsize=1)  # reading weights takes seconds
def _made(kind: type[FeatureExtractor], weights: str | None, device: str) -> FeatureExtractor:
    return kind(weights, device)


def described(windows: Tensor, of: str) -> Tensor:
    """The frames whose mean is the feature of a window: n x T x ... -> n x T' x ...

    All of them if ``of`` is ``window``, only frame T // 2 if it is ``frame``.
    """
    middle = windows.shape[1] // 2
    return windows if of == "window" else windows[:, middle : middle + 1]


def train_discriminator(run: Run, windows: Windows, numbers: Tensor) -> Tensor:
    """Train D on the windows of these numbers (0) and on a pseudo-anomaly of each (1).

    The last of them (``ASIDE``) are kept aside to see what it has learnt. Returns its answers, in
    [0, 1], for those that are normal. The same seed gives the same bits. Raises ``DDLError`` where
    windows cannot be altered, as without any object.
    """
    settings, discriminator = run.settings, run.model.discriminator
    rng = torch.Generator().manual_seed(settings.seed)
    extractor = extractor_of(run)
    normal, altered = pairs(run, windows, numbers, extractor, rng)
    if len(normal) < 2:
        raise DDLError(
            f"pseudo_anomaly {settings.pseudo_anomaly!r} alters {len(normal)} training windows, so "
            "the discriminator has nothing to learn from; choose another, or leave the indicator "
            "semantic out"
        )
    learnt = len(normal) - max(round(ASIDE * len(normal)), 1)
    descend(discriminator, *labelled(normal[:learnt], altered[:learnt]), rng)
    answers = discriminator.examine(*labelled(normal[learnt:], altered[learnt:]))
    discriminator.source.copy_(extractor.checksum)
    print(training_sentence(settings.features, discriminator))
    return answers[: len(normal) - learnt]


def labelled(normal: Tensor, altered: Tensor) -> tuple[Tensor, Tensor]:
    """Features of both kinds, n x F, and their labels, n of 0 and 1."""
    labels = torch.cat([normal.new_zeros(len(normal)), normal.new_ones(len(altered))])
    return torch.cat([normal, altered]), labels


def pairs(
    run: Run, windows: Windows, numbers: Tensor, extractor: FeatureExtractor, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Features of windows and of a pseudo-anomaly of each, n x F both.

    Windows that the pseudo-anomaly leaves as they are do not count.
    """
    random = TorchRandom(torch.Generator(run.device).manual_seed(run.settings.seed))
    normal, altered = [], []
    for part in tqdm(numbers.split(AT_ONCE), "features", disable=None):
        sample = windows.sample(part, windows.draw(part, rng)).first(run.model.frames)
        with torch.no_grad():
            x = run.pseudo_anomaly.alter_checked(sample, random).x
        changed = (x != sample.x).flatten(1).any(dim=1)
        for features, pictures in ((normal, sample.x), (altered, x)):
            frames = described(pictures[changed].transpose(1, 2), run.settings.features_of)
            each = extractor(frames.flatten(0, 1))
            features.append(each.unflatten(0, frames.shape[:2]).mean(dim=1))
    return torch.cat(normal), torch.cat(altered)


def descend(
    discriminator: Discriminator, features: Tensor, labels: Tensor, rng: torch.Generator
) -> None:
    """Lower the binary cross-entropy of features n x F, labels n of 0 and 1, batch by batch."""
    optimiser = torch.optim.SGD(discriminator.parameters(), **SGD)
    discriminator.train()
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(labels), generator=rng).split(BATCH):
            batch = batch.to(labels.device)
            loss = F.binary_cross_entropy_with_logits(discriminator(features[batch]), labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    discriminator.eval()


def training_sentence(features: str, discriminator: Discriminator) -> str:
    """What came of D's training, in one line."""
    accuracy, spread = float(discriminator.accuracy), float(discriminator.spread)
    share = f"{100 * accuracy:.0f} %"
    text = f"discriminator on {features}: of windows kept aside {share} are classified correctly"
    end = "; no better than chance, its term says little" if discriminator.collapsed else ""
    return f"{text}, its answers spread by {spread:.3f}{end}"
