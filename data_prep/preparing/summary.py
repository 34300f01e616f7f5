"""The lines that a preparation prints at its end."""

from collections.abc import Mapping


def tracking_lines(manifest: Mapping) -> list[str]:
    """Each detector that was tried and the share of windows in which it tracked something."""
    if not manifest.get("detector"):
        return []  # the tracks were not made by a preparation
    last = [manifest["detector"]["name"], manifest["coverage"]]
    names = {"none": "random boxes"}
    return [
        f"{names.get(name, f'detector {name}')}: {100 * share:.0f} % of windows have a track"
        for name, share in manifest.get("tried", [last])
    ]


def colour_lines(manifest: Mapping) -> list[str]:
    """Why footage that seems grey was prepared in colour."""
    if not (place := manifest.get("colour")):
        return []
    return [
        f"colour: {place['split']} clip {place['clip']} has it in frame {place['frame']} (counted "
        "from 0), so all clips are prepared in colour"
    ]


def summary(manifest: dict) -> list[str]:
    """All lines."""
    lines = [*colour_lines(manifest), *tracking_lines(manifest)]
    chosen, facts = manifest["labelling"], manifest["labellings"]
    if facts and not chosen:
        lines.append(f"labels: {', '.join(facts)} differ; choose one by `labelling`")
    lines += [
        f"labels: {chosen} counts; {name} differs on {f['differs']} frames"
        for name, f in facts.items()
        if f["differs"]
    ]
    return lines
