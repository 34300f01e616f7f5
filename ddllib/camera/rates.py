"""How many frames a second prepared footage has."""

from __future__ import annotations


def kept_rate(manifest: dict) -> float | None:
    """Frames per second of the prepared training clips; None where no clip has a duration.

    Clips of images have none, nor clips prepared by versions that did not store it.
    """
    clips = [c for c in manifest["clips"].get("training", {}).values() if "seconds" in c]
    if not clips:
        return None
    return sum(c["frames"] for c in clips) / sum(c["seconds"] for c in clips)
