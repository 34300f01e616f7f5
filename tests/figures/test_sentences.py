"""Sentences on records, as the prose of a page."""

import pytest

from ddllib.figures import chapter


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the same boxes in all pairs", "The same boxes in all pairs."),
        ("flow magnitude: of 10 settings 4", "Flow magnitude: of 10 settings 4."),
        ("c3dsu-ddl-seed0: trained", "c3dsu-ddl-seed0: trained."),
        ("C3DSU, width 64:", "C3DSU, width 64:"),
        ("A_s *is* better", r"A\_s \*is\* better."),
        ("median 0.1 s; <ped2> is $DDL_DATA", r"Median 0.1 s; \<ped2\> is \$DDL\_DATA."),
    ],
)
def test_a_plain_sentence_becomes_prose(text, expected, monkeypatch):
    outputs = []
    monkeypatch.setattr(chapter, "display", outputs.append)
    chapter.say(text)
    assert [markdown.data for markdown in outputs] == [expected]
