"""The parts of a record: scores of each clip, frames to show, facts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.lib.format import write_array_header_1_0

from ddllib.data import Prepared
from ddllib.devices import describe_device
from ddllib.errors import DDLError
from ddllib.evaluation import evaluate_all
from ddllib.ignore import load_ignore
from ddllib.io.files import writing
from ddllib.io.reading import read_array
from ddllib.localisation import pixel_auroc, region_and_track
from ddllib.methods import method_of
from ddllib.records import Record, environment, read_record
from ddllib.runs import Run
from ddllib.score_terms.terms import Terms
from ddllib.scoring import ClipScores, Scorer
from ddllib.settings import Settings

SCORES_SUFFIX = ".scores"  # suffix of a clip's scores until all clips are scored


def kept_record(folder: Path) -> Record | None:
    """The record in ``folder``; None where there is none, or (with a message) a damaged one."""
    if not (folder / "run.json").is_file():
        return None
    try:
        return read_record(folder)
    except DDLError as error:
        print(f"{error}: made anew")
        return None


def score_once(
    scorer: Scorer,
    frames: np.ndarray,
    path: Path,
    of: str,
    folder: Path | None,
    companions: Mapping[str, np.ndarray] | None = None,
) -> ClipScores:
    """Scores of one clip, cached in a file beside its maps, so that stopped scoring can resume.

    ``of`` identifies the clip's content and the scorer: the cache is used only for the same ones.
    ``folder`` is that of the run, ``companions`` are arrays beside the clip.
    """
    cache = path.with_suffix(f".{hashlib.sha256(of.encode()).hexdigest()[:16]}{SCORES_SUFFIX}")
    names = list(scorer.terms)
    if folder and cache.is_file() and made_since_training(cache, folder):
        values = np.fromfile(cache, "<f4")
        if len(values) == (1 + len(names)) * len(frames) and np.isfinite(values).all():
            scores, *terms = values.reshape(-1, len(frames))
            return ClipScores(scores, dict(zip(names, terms, strict=True)))
    result = _score_to_disk(scorer, frames, path, companions)
    with writing(cache) as file:
        file.write(np.stack([result.scores, *result.terms.values()]).astype("<f4").tobytes())
    return result


def curves_of(clips: Mapping[str, ClipScores]) -> dict[str, np.ndarray]:
    """The curve of each term by ``<term>/<clip>``; empty where the score has one term."""
    has_several = any(len(clip.terms) > 1 for clip in clips.values())
    curves = (
        (f"{term}/{name}", c) for name, clip in clips.items() for term, c in clip.terms.items()
    )
    return dict(curves) if has_several else {}


def metrics_of(settings: Settings, scores: dict, curves: dict, labels: dict) -> dict:
    """Every protocol's evaluation by name, those of the method included; {} where no AUC exists.

    ``curves`` are those of a record's terms, by ``<term>/<clip>``.
    """
    metrics = evaluate_all(scores, labels)
    if not metrics:
        return {}
    terms = {}
    for name, values in curves.items():
        term, clip = name.split("/", 1)
        terms.setdefault(term, {})[clip] = values
    method = method_of(settings)
    terms = terms or dict.fromkeys(Terms(settings.score), scores)  # one has no curve beside
    return metrics | method.metrics(settings, terms, labels)


def made_since_training(path: Path, folder: Path) -> bool:
    """Whether a file is younger than every checkpoint of its run, which is in ``folder``."""
    times = [file.stat().st_mtime for file in folder.glob("checkpoint*.pt")]
    return bool(times) and path.stat().st_mtime > max(times)


def _score_to_disk(scorer: Scorer, frames: np.ndarray, path: Path, companions) -> ClipScores:
    """Scores of one clip; its error maps go to ``path`` as float16, N x H x W."""
    last = len(frames) - scorer.delay
    with writing(path) as file:
        shape = (len(frames), *frames.shape[-2:])
        header = {"descr": "<f2", "fortran_order": False, "shape": shape}
        write_array_header_1_0(file, header)

        def keep(first: int, chunk: np.ndarray) -> None:
            before = scorer.before if first == scorer.before else 0  # the ends repeat a map
            after = scorer.delay if first + len(chunk) == last else 0
            padded = np.pad(chunk, ((before, after), (0, 0), (0, 0)), mode="edge")
            file.write(padded.astype("<f2").tobytes())

        return scorer.clip(frames, keep, companions)


def judge_pixels(folder: Path, settings: Settings, data: Prepared) -> dict | None:
    """How well the error maps in ``folder`` find the abnormal pixels of the clips with masks.

    ``pixel_auroc``, ``rbdc`` and ``tbdc`` (``localisation``), all in [0, 1]; None without masks
    that mark something, or without maps.
    """
    files = {name: folder / "maps" / f"{name}.npy" for name in data.masks}
    marked = any(mask.any() for mask in data.masks.values())
    if not marked or not all(file.is_file() for file in files.values()):
        return None
    remedy = f"remove {folder} and score again"
    maps = {n: read_array(file, "error maps", remedy, mapped=True) for n, file in files.items()}
    criteria = region_and_track(maps, data.masks, settings.patch_size)
    return {"pixel_auroc": pixel_auroc(maps, data.masks), **criteria._asdict()}


def exhibits(scorer: Scorer, name: str, frames: np.ndarray, highest: int, labels) -> dict:
    """The frames of a clip that figures show: the highest-scored one and an abnormal one.

    The second is the middle of the longest abnormal stretch, the same frame for every model.
    """
    arrays = exhibit(scorer, name, frames, highest)
    if labels is not None and labels.any():
        edges = np.flatnonzero(np.diff(np.concatenate([[0], labels.astype(int), [0]])))
        first, stop = max(zip(edges[::2], edges[1::2], strict=True), key=lambda e: e[1] - e[0])
        arrays |= exhibit(scorer, f"{name}-abnormal", frames, (first + stop) // 2)
    return arrays


def exhibit(scorer: Scorer, name: str, frames: np.ndarray, index: int) -> dict[str, np.ndarray]:
    """One frame of a clip with its reconstruction (uint8)."""
    index = int(np.clip(index, scorer.before, len(frames) - scorer.delay - 1))
    _, y = next(scorer.rebuild(frames[index - scorer.before : index + scorer.delay + 1]))
    rebuilt = (y[0] * 255).round().byte().cpu().numpy()
    return {
        f"{name}-index": np.array(index),
        f"{name}-frame": np.array(frames[index]),
        f"{name}-reconstruction": rebuilt,
    }


def facts_of(settings: Settings, data: Prepared, run: Run, seconds: float) -> dict:
    return {
        "settings": settings.asdict(),
        "metrics": {},  # filled in by the caller; here so that it stands near the top of the file
        "parameters": sum(p.numel() for p in run.model.parameters()),
        "trained": method_of(settings).facts(run),
        "precision": run.precision,
        "device": describe_device(run.device),
        "train_seconds": run.seconds,
        "score_seconds": seconds,
        "data": data_facts(data),
        "ignored": ignored_pixels(settings, data),
        "environment": environment(),
        "history": run.history,
    }


def ignored_pixels(settings: Settings, data: Prepared) -> str | None:
    """A checksum of the ignored pixels, since the image at ``ignore`` may change."""
    mask = load_ignore(settings.ignore, data.size)
    return None if mask is None else _checksum(mask)


def _checksum(mask: np.ndarray) -> str:
    return hashlib.sha256(mask.tobytes()).hexdigest()[:16]


def data_facts(data: Prepared) -> dict:
    """A record's facts about its data."""
    return {"digest": data.digest, **data.facts}
