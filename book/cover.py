"""What the README shows of the records: its picture and its verdict.

``.venv/bin/python book/cover.py`` draws the one and writes the other into README.md; the front
page of the book includes both.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ddllib.experiments import baselines, own_score, verdicts
from ddllib.experiments.findings import HOLDS, NO, OPEN, PARTLY, Finding
from ddllib.figures import plots
from ddllib.figures.chapter import highest_frames, paper_figures
from ddllib.io.files import write_whole
from ddllib.paths import RESULTS, ROOT
from ddllib.records import find_records, read_record

PICTURE = Path(__file__).parent / "images" / "ped2-errors.jpg"
README = ROOT / "README.md"
BEGIN, END = "<!-- verdict, written by book/cover.py -->\n", "<!-- end of the verdict -->\n"
LEAD_END = "<!-- end of its first lines -->\n"  # the front page begins with them
WORDS = {
    HOLDS: "holds",
    PARTLY: "holds in part",
    NO: "does not hold",
    OPEN: "open",
}


def verdict_text() -> str:
    """The verdict on both papers as Markdown: seven points, and a table of their claims."""
    records = find_records(RESULTS)
    runs = verdicts.DDLRuns(records, paper_figures(ROOT / "book" / "paper.yaml"))
    ddl, stpa = runs.findings(), verdicts.of_stpa(records)
    counts = f"**DDL**, the paper: {_inside(ddl)} **STPA**, a second one: {_inside(stpa)}\n"
    table = verdicts.verdict_table([*ddl, *stpa])
    points = [*runs.sentences(), own_score.elsewhere(runs.scored, runs.protocol)]
    sentences = "".join(f"{n}. {text}\n" for n, text in enumerate(points, start=1))
    rows = [table.columns, ["---"] * len(table.columns), *table.to_numpy()]
    lines = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    own = own_score.in_short(runs.scored, runs.protocol)
    figure = runs.figure().paper
    nothing = baselines.best_of_all(runs.unlearnt, runs.protocol)
    nothing += f" The paper reports {figure} for DDL." if nothing else ""
    lead = f"{counts}\n{claims_by_verdict(ddl)}\n{own}\n\n{nothing}\n"
    return f"{lead}{LEAD_END}\n{sentences}\n{lines}"


def _inside(findings: Sequence[Finding]) -> str:
    """The summary as the second part of a sentence."""
    summary = verdicts.summary(findings)
    return summary[0].lower() + summary[1:]


def claims_by_verdict(findings: Sequence[Finding]) -> str:
    """A list in Markdown: for each verdict, in short, the claims that got it."""
    lines = []
    for verdict, words in WORDS.items():
        # Without their units, such as ": points above training without them".
        claims = [re.split(r": |, (?:in|points) ", f.claim)[0] for f in findings]
        those = [c for c, f in zip(claims, findings, strict=True) if f.verdict == verdict]
        lines += [f"- *{words}*: {'; '.join(those)}\n"] if those else []
    return "".join(lines)


def with_verdict(text: str) -> str:
    """The README's text with the present verdict between its two marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{verdict_text()}{END}{after}"


def main() -> None:
    record = read_record(RESULTS / "ped2-cpu" / "c3dsu-ddl-seed0")
    plots.set_style()
    PICTURE.parent.mkdir(exist_ok=True)
    plots.error_maps(**highest_frames(record)).savefig(PICTURE, dpi=110, pil_kwargs={"quality": 88})
    text = with_verdict(README.read_text("utf-8"))
    write_whole(README, lambda file: file.write(text.encode()))


if __name__ == "__main__":
    main()
