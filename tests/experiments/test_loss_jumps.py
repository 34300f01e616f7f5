"""Jumps of the loss are found, and compared among seeds of one setting only."""

from pathlib import Path

import numpy as np

from ddllib.experiments.loss_jumps import jump_table, jump_verdict, jumps
from ddllib.records import Record


def a_loss(*steps, length=600):
    loss = 0.01 + 0.2 * np.exp(-np.arange(length) / 20)
    for step in steps:
        loss[step : step + 30] += 0.05 * np.exp(-np.arange(30) / 10)
    return {"total": loss.tolist()}


def a_record(seed, auc, *steps, mode="ddl"):
    facts = {
        "settings": {"seed": seed, "mode": mode, "model": "c3dsu"},
        "metrics": {"median": {"auc": auc}},
        "history": a_loss(*steps),
    }
    return Record(Path("profile") / f"{mode}-{seed}", facts, {}, {}, {})


def test_a_jump_is_counted_once_and_the_fall_at_the_beginning_never():
    assert jumps(a_loss()) == []
    assert jumps(a_loss(200)) == [200]
    assert jumps(a_loss(200, 400)) == [200, 400]


def test_runs_with_jumps_are_compared_with_those_without():
    records = [
        a_record(0, 0.95, 200),
        a_record(1, 0.97),
        a_record(2, 0.96),
        a_record(0, 0.90, mode="none"),
        a_record(0, 0.99, 300, mode="sdl"),
    ]
    table = jump_table(records, "median")
    assert table["jumps"].tolist() == [1, 0, 0, 1]
    assert table["at, % of steps"].tolist() == ["33", "–", "–", "50"]
    verdict = jump_verdict(records, "median")
    assert verdict.startswith("2 of 4 runs have a jump")
    assert "1 settings have runs with and without one. In 1 of them" in verdict
