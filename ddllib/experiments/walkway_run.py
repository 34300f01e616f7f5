"""The run that a benchmark of cameras watches with, where none is given.

It is trained as one's own would be: by the profile ``own-camera``, on ordinary minutes from the
camera that the benchmark then plays, encoded as H.264 like its streams.
"""

from __future__ import annotations

from pathlib import Path

from ddllib import pipeline
from ddllib.experiments.camera_streams import encode_walkway
from ddllib.paths import runs_root
from ddllib.settings import Settings, load_profile

SIZES = {"360p": (360, 640), "1080p": (1080, 1920)}  # height and width of a camera's frames
# The models that can be trained, and their settings unlike the profile's.
MODELS = {"own-camera": {}, "small": {"size": 96, "latent_dim": 32}}
CLIPS, CLIP_S = 4, 60.0  # ordinary footage to train on: how many clips, seconds of each
EPOCHS = 4


def walkway_settings(
    camera_size: tuple[int, int],
    rate: float,
    clips: int = CLIPS,
    seconds: float = CLIP_S,
    **overrides,
) -> Settings:
    """The settings of the run; its footage is made if it is not there.

    The footage, ``clips`` videos of so many ``seconds``, lies beside the runs; ``camera_size`` is
    the height and width of its frames, ``rate`` frames per second. ``overrides`` are settings
    unlike the profile's. Raises ``DDLError`` where ffmpeg is not installed.
    """
    folder = runs_root() / f"walkway-{camera_size[0]}p-{rate:g}-{clips}x{seconds:g}s"
    for number in range(1, clips + 1):
        video = folder / f"{number:02d}.mp4"
        if not video.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            part = video.with_name(f".{video.name}")
            encode_walkway(part, camera_size, rate, seconds, number)
            part.replace(video)
    given = {"data": str(folder), "frame_rate": rate, "epochs": EPOCHS, **overrides}
    return load_profile("own-camera", **given)


def walkway_run(settings: Settings) -> Path:
    """The folder of the run of these settings, trained now or, where it is there, reused."""
    pipeline.train(settings, pipeline.prepare(settings))
    return settings.run_folder


def named(run: Path | None, model: str = "own-camera") -> str:
    """What a record calls the run: its folder's name, or that of the ``model`` trained for it."""
    return run.resolve().name if run else model
