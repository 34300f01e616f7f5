"""Score the test clips of runs that were evaluated on held-out clips."""

from __future__ import annotations

from ddllib.data import Prepared
from ddllib.evaluation import evaluate_all
from ddllib.paths import runs_root
from ddllib.pipeline import scorer_of
from ddllib.records import SCORED, Record, count_scoring, read_record, write_record
from ddllib.runs import Run
from ddllib.settings import Settings


def score_afterwards(settings: Settings, data: Prepared, run: Run, record: Record) -> Record:
    """Score the test clips with a run evaluated on held-out clips, after settings were chosen.

    The metrics are stored as ``tests`` in the record. The settings are counted among those that
    were scored on test clips.
    """
    if record.tests or not data.labels:
        return record
    scores = scorer_of(settings, data, run).clips(data.testing)
    facts = {**record.facts, "tests": evaluate_all(scores, data.labels)}
    write_record(record.folder, facts, record.scores, record.labels, record.shown, record.terms)
    count_scoring(facts, runs_root() / SCORED.name)
    return read_record(record.folder)
