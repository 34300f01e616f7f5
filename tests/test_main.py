"""One command for all: every verb leads to its module, anything else is told in one line."""

from importlib import import_module

import pytest
from studies import STUDIES

from ddllib.__main__ import VERBS, main


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb, capsys):
    try:
        status = main([verb, "--help"])
    except SystemExit as end:  # as argparse ends after its help
        status = end.code
    assert status == 0 and f" {verb}" in capsys.readouterr().out


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_explains_itself(name, capsys):
    with pytest.raises(SystemExit) as end:
        main(["study", name, "--help"])
    assert end.value.code == 0 and f"study {name}" in capsys.readouterr().out


def test_help_keeps_each_example_on_a_line_of_its_own(capsys):
    with pytest.raises(SystemExit):
        main(["experiments", "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert "    python -m ddllib experiments list" in lines


def test_an_unknown_verb_is_reported_in_one_line(capsys):
    assert main(["wacth"]) == 2
    output = capsys.readouterr().err
    assert output.count("\n") == 1 and "expected one of watch, mark" in output
    assert main(["study", "nothing"]) == 2


def test_without_a_verb_all_are_listed(capsys):
    assert main([]) == 2 and main(["--help"]) == 0
    output = capsys.readouterr().out
    assert all(verb in output for verb in VERBS)
    assert all(import_module(module).main for module, _ in VERBS.values())
