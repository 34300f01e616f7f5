"""Events that follow one another soon are told in one summary, and none is lost."""

import json
import shlex
import sys
import threading

from ddllib.camera.cooldown import NAME, Cooldown
from ddllib.camera.on_event import OnEvent

LONG = 3600.0  # seconds; no test waits for it


def test_the_first_event_is_reported_at_once_and_those_after_it_in_one_summary(tmp_path):
    calls = []
    cooldown = Cooldown(LONG, tmp_path, lambda *call: calls.append(call))
    for number in (1, 2, 3, 4):
        cooldown(number)
    assert calls == [(1, 1)]
    cooldown.close()
    assert calls == [(1, 1), (4, 3)] and not (tmp_path / NAME).exists()
    cooldown.close()
    assert len(calls) == 2


def test_the_summary_comes_when_the_cooldown_is_over(tmp_path):
    calls, signal = [], threading.Event()

    def report(*call):
        calls.append(call)
        if call[1] > 1 or call[0] > 1:
            signal.set()

    cooldown = Cooldown(0.2, tmp_path, report)
    cooldown(1), cooldown(2)
    assert signal.wait(60)
    assert [number for number, _ in calls] == [1, 2] and sum(count for _, count in calls) == 2


def test_what_a_killed_watch_suppressed_is_reported_by_the_next(tmp_path):
    calls = []
    killed = Cooldown(LONG, tmp_path, lambda *call: None)
    for number in (5, 6, 7):
        killed(number)
    again = Cooldown(LONG, tmp_path, lambda *call: calls.append(call))
    assert not calls
    again.begin()
    assert calls == [(7, 2)] and not (tmp_path / NAME).exists()
    again(8)
    assert calls == [(7, 2)]  # the summary began a cooldown, too
    again.close()
    assert calls == [(7, 2), (8, 1)]


def test_a_file_that_was_damaged_is_passed_over(tmp_path):
    calls = []
    for text in ("{", json.dumps({"event": "x"}), "[]"):
        (tmp_path / NAME).write_text(text)
        cooldown = Cooldown(LONG, tmp_path, lambda *call: calls.append(call))
        cooldown.begin()
    assert not calls
    cooldown(1)
    assert calls == [(1, 1)]


def test_a_command_gets_how_many_events_it_stands_for(tmp_path):
    code = "import sys; open(sys.argv[1] + '/ran-' + '-'.join(sys.argv[2:]), 'w')"
    lines = []
    hook = OnEvent(shlex.join([sys.executable, "-c", code]), tmp_path, lines.append, LONG)
    hook.begin()
    for number in (1, 2, 3):
        hook(number)
    hook.close()
    assert {path.name for path in tmp_path.glob("ran-*")} == {"ran-1-1", "ran-3-2"}
    assert len(lines) == 1 and "2 of them" in lines[0]
