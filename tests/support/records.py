"""Records and trials made by hand, for what compares them."""

from dataclasses import dataclass
from pathlib import Path

from ddllib.pseudo_anomalies.held_out import KINDS
from ddllib.records import Record
from ddllib.settings import load_profile


def a_record(auc, seed=0, held_out=None, **changes):
    settings = load_profile("tiny", seed=seed, **changes)
    metrics = {p: {"auc": auc} for p in ("raw", "median")}
    facts = {"settings": settings.asdict(), "metrics": metrics, "data": {"digest": "a"}}
    if held_out is not None:
        facts["held_out"] = {"median": dict.fromkeys(KINDS, held_out)}
        facts["tests"] = metrics
    return Record(Path("tiny") / settings.run_folder.name, facts, {}, {}, {})


@dataclass
class ATrial:
    variant: str
    settings: object
    found: Record | None

    def record(self):
        return self.found

    def records(self):
        return [self.found] if self.found else []
