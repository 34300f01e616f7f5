"""The tables of the benchmark, from what it measured."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ddllib.experiments.benchmark_cameras import Held
from ddllib.experiments.benchmark_work import TEXTBOOK
from ddllib.experiments.walkway_run import MODELS, SIZES


def speed_table(report: Mapping) -> pd.DataFrame:
    """One row per measurement, as a page shows it."""
    return pd.DataFrame(
        {
            "size": r["case"],
            "what": r["what"],
            "way": r["way"],
            "ms per window": f"{1000 * r['seconds']:.1f}",
            "times the textbook": f"{r['ratio']:.1f}",
            "largest difference": f"{r['difference']:.1e}",
            "share of the ceiling, %": f"{100 * r['share']:.0f}",
            "peak memory, MiB": "–" if r["peak_mib"] is None else f"{r['peak_mib']:.0f}",
        }
        for r in report["rows"]
    )


def size_sentence(report: Mapping) -> str:
    """The names of the sizes explained: side of a frame in pixels, width of the model."""
    texts = (f"{r['case']}: {r['size']} px, width {r['latent_dim']}" for r in report["rows"])
    return "; ".join(dict.fromkeys(texts))


def speedup_table(report: Mapping) -> pd.DataFrame:
    """How many times longer the work takes without each speedup; a dash where it is not used."""
    rows = pd.DataFrame(report.get("means", []))
    if rows.empty:
        return rows
    rows["work"] = rows["what"] + ", " + rows["case"] + " size"
    table = rows.pivot(index="means", columns="work", values="ratio")
    order = [*dict.fromkeys(rows["means"])], [*dict.fromkeys(rows["work"])]
    table = table.loc[order[0], order[1]].map(lambda r: "–" if np.isnan(r) else f"{r:.2f}")
    return table.rename_axis("left out").rename_axis(None, axis=1).reset_index()


def judged_table(report: Mapping) -> pd.DataFrame:
    """What each way of scoring changes for a trained run; empty without such a run.

    The AUC itself is not shown: the run was trained for the benchmark, and the record of the same
    settings may be of another machine.
    """
    result = report.get("judged", {"auc": {}})
    return pd.DataFrame(
        {
            "settings of": result["run"],
            "scored by": way,
            "AUC, difference in points": f"{100 * (auc - result['auc'][TEXTBOOK]):+.3f}",
            "largest difference of a score": f"{result['difference'][way]:.1e}",
        }
        for way, auc in result["auc"].items()
    )


def cameras_table(report: Mapping) -> pd.DataFrame:
    """What each number of cameras took (``benchmark_cameras``), the last row not held, if any."""
    return pd.DataFrame(
        {
            "cameras": row["cameras"],
            "held": "yes" if Held(**row).passes(report["rate"]) else "no",
            "dropped frames": row["dropped"],
            "frames per second, slowest camera": f"{row['slowest_rate']:.1f}",
            "95 % of the scores within, s": f"{row['delay_95_s']:.2f}",
            "cores, watch": f"{row['cores']:.2f}",
            "cores, decoding alone": f"{row['decoding_cores']:.2f}",
            "memory, MiB": f"{row['memory'] / 2**20:.0f}",
            "disk a day, GB": f"{row['disk_a_day'] / 1e9:.2f}",
        }
        for row in report["rows"]
    )


def cameras_sentence(report: Mapping) -> str:
    """How many cameras were held, a sentence."""
    height, width = SIZES[report["size"]]
    return (
        f"{report['held']} cameras of {width} x {height} at {report['rate']:g} frames per second "
        f"are held, watched with the run {_described(report['run'])} by {report['backend']}"
    )


def _described(run: str) -> str:
    """A run's name, and what is unlike its profile in a model of ``walkway_run``."""
    changes = ", ".join(f"{name} {value}" for name, value in MODELS.get(run, {}).items())
    return f"{run} ({changes})" if changes else run


def still_table(report: Mapping) -> pd.DataFrame:
    """What a watch saves that does not score what does not move (``benchmark_still``)."""
    return pd.DataFrame(
        {
            "stream": row["stream"],
            "frames not scored, %": f"{100 * row['reused_share']:.0f}",
            "ms a frame, all scored": f"{row['scored_ms']:.1f}",
            "ms a frame, still: skip": f"{row['skipped_ms']:.1f}",
            "times as fast": f"{row['scored_ms'] / row['skipped_ms']:.2f}",
        }
        for row in report["rows"]
    )


def export_table(report: Mapping) -> pd.DataFrame:
    """How an exported run compares with this project's own scoring (``benchmark_export``)."""
    return pd.DataFrame(
        {
            "way": row["way"],
            "ms of one core a frame": f"{row['ms_of_cpu']:.1f}",
            "times as fast as ours": f"{row['ratio']:.2f}",
            "largest difference of a score": f"{row['difference']:.1e}",
        }
        for row in report["rows"]
    )


def terms_cost_table(report: Mapping) -> pd.DataFrame:
    """What each term of the score costs beside the paper's (``benchmark_terms``)."""
    return pd.DataFrame(
        {
            "scored as a": row["way"],
            "score": row["score"],
            "ms of the processor a frame": f"{row['ms']:.2f}",
            "times the paper's": f"{row['ratio']:.2f}",
        }
        for row in report["rows"]
    )
