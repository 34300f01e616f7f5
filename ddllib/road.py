"""The one road: prepare -> train -> score -> evaluate. Every step keeps what is already done."""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from tqdm.auto import tqdm

from ddllib import checkpoints
from ddllib.data import Prepared, load_prepared
from ddllib.devices import describe_device, resolve_device, resolve_precision
from ddllib.evaluation import PROTOCOLS, evaluate
from ddllib.records import Record, environment, read_record, write_record
from ddllib.scoring import reconstruct, score_clip
from ddllib.settings import Settings, find_path, runs_root
from ddllib.training import Run, fit


def footage(settings: Settings) -> Path:
    """The folder of raw footage; the generated scene is made on first use."""
    if settings.data != "demo":
        return find_path(settings.data)
    from data_prep import demo

    return demo.generate(runs_root() / "demo" / "footage")


def prepare(settings: Settings, progress: bool = True) -> Prepared:
    """The profile's prepared data, made on first use by ``data_prep`` and reused afterwards."""
    from data_prep import prepare as prepare_footage

    prepare_footage(
        footage(settings),
        settings.prepared_folder,
        size=settings.size,
        detector=settings.detector,
        weights=find_path(settings.weights) if settings.weights else None,
        progress=progress,
    )
    return load_prepared(settings.prepared_folder)


def train(settings: Settings, data: Prepared, progress: bool = True) -> Run:
    """The trained run of these settings: taken up from its checkpoint, or trained now.

    A run in the same place with other settings or other data is set aside, never overwritten.
    """
    folder = settings.run_folder
    if checkpoints.exists(folder):
        differing = checkpoints.differences(folder, settings, data)
        if differing:
            aside = _set_aside(folder)
            print(f"{folder.name} had another {', '.join(differing)}: kept as {aside.name}")
    run = fit(settings, data, folder, progress)
    state = "trained" if run.steps_now else "reused, nothing to train"
    print(f"{settings.profile}/{folder.name}: {state} ({run.epoch} epochs)")
    return run


def _set_aside(folder: Path) -> Path:
    number = 1
    while (aside := folder.with_name(f"{folder.name}.old-{number}")).exists():
        number += 1
    os.replace(folder, aside)
    return aside


def score(settings: Settings, data: Prepared, run: Run, progress: bool = True) -> Record:
    """Score the test clips and record the run; a record of this very run is read, not remade."""
    folder = settings.run_folder
    if (folder / "run.json").is_file() and not run.steps_now:
        return read_record(folder)
    started = time.perf_counter()
    scores, shown = {}, {}
    bar = tqdm(data.testing.items(), desc="scoring", disable=not progress, mininterval=1.0)
    for name, frames in bar:
        scores[name] = _score_to_disk(settings, run, frames, folder / "maps" / f"{name}.npy")
        shown |= _exhibit(run, name, frames, int(scores[name].argmax()))
    facts = _facts(settings, data, run, scores, time.perf_counter() - started)
    write_record(folder, facts, scores, shown)
    return read_record(folder)


def _score_to_disk(settings: Settings, run: Run, frames: np.ndarray, path: Path) -> np.ndarray:
    """Scores of one clip; its distance maps go to ``path`` as float16, N x H x W."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (len(frames), *frames.shape[-2:])
    maps = open_memmap(path.with_suffix(".part"), mode="w+", dtype=np.float16, shape=shape)

    def keep(first: int, chunk: np.ndarray) -> None:
        maps[first : first + len(chunk)] = chunk

    scores = score_clip(run.model, frames, settings.patch_size, run.precision, on_maps=keep)
    half = run.model.temporal // 2
    maps[:half], maps[len(maps) - half :] = maps[half], maps[len(maps) - half - 1]
    maps.flush()
    os.replace(path.with_suffix(".part"), path)
    return scores


def _exhibit(run: Run, name: str, frames: np.ndarray, index: int) -> dict[str, np.ndarray]:
    """The clip's highest frame with its reconstruction (uint8), for the record's figures."""
    half = run.model.temporal // 2
    index = int(np.clip(index, half, len(frames) - half - 1))
    window = frames[index - half : index + half + 1]
    _, y = next(reconstruct(run.model, window, run.precision))
    rebuilt = (y[0] * 255).round().byte().cpu().numpy()
    return {
        f"{name}-index": np.array(index),
        f"{name}-frame": np.array(frames[index]),
        f"{name}-reconstruction": rebuilt,
    }


def _facts(settings, data: Prepared, run: Run, scores: dict, seconds: float) -> dict:
    device = resolve_device(settings.device)
    return {
        "settings": settings.asdict(),
        "metrics": metrics(scores, data),
        "parameters": sum(p.numel() for p in run.model.parameters()),
        "precision": resolve_precision(settings.precision, device),
        "device": describe_device(device),
        "train_seconds": run.seconds,
        "score_seconds": seconds,
        "data": {"digest": data.digest, **data.facts},
        "environment": environment(),
        "history": run.history,
    }


def metrics(scores: dict, data: Prepared) -> dict:
    """Every protocol's evaluation; empty where the test clips have no labels."""
    if not data.labels:
        return {}
    return {name: asdict(evaluate(scores, data.labels, name)) for name in PROTOCOLS}
