"""A command for each event: it gets the folder and the number, and the watch never waits for it."""

import shlex
import sys
import time

import pytest
from support.alarms import LOUD, PATCH, QUIET, alarms_in, heard_again, lag_of, watched
from support.scoring import a_model

from ddllib import StreamScorer
from ddllib.camera import on_event
from ddllib.camera.drift import Drift
from ddllib.camera.event_file import read_events
from ddllib.camera.on_event import OnEvent
from ddllib.camera.watch import watch
from ddllib.errors import DDLError


def python(code):
    return shlex.join([sys.executable, "-c", code])


def test_a_command_gets_the_folder_and_the_number(tmp_path):
    lines = []
    code = "import sys; open(sys.argv[1] + '/ran-' + sys.argv[2], 'w').write('x')"
    hook = OnEvent(python(code), tmp_path, lines.append)
    hook(1), hook(2), hook.close()
    assert {p.name for p in tmp_path.iterdir()} == {"ran-1", "ran-2"} and not lines


def test_what_fails_is_reported_in_one_line_and_nothing_waits(tmp_path, monkeypatch):
    monkeypatch.setattr(on_event, "LAST_S", 1.0)
    monkeypatch.setattr(on_event, "MOST", 2)
    lines = []
    failing = OnEvent(python("raise SystemExit(3)"), tmp_path, lines.append)
    failing(7), failing.close()
    assert len(lines) == 1 and lines[0].startswith(f"event 7: {sys.executable} ended with status 3")
    slow, began = OnEvent(python("import time; time.sleep(3)"), tmp_path, lines.append), time.time()
    slow(1), slow(2), slow(3)
    assert (
        time.time() - began < 2 and "event 3: " in lines[1] and "not run, as 2 before" in lines[1]
    )
    slow.close()
    assert time.time() - began < 3


@pytest.mark.parametrize(
    ("command", "word"),
    [("no-such-program -x", "no such program"), ("", "no such program"), ("a 'b", "No closing")],
)
def test_a_command_that_is_none_is_reported_before_the_watch(tmp_path, command, word):
    with pytest.raises(DDLError, match=f"--on-event {command}: .*{word}"):
        OnEvent(command, tmp_path)


def test_it_is_run_once_for_each_event_that_has_ended(tmp_path):
    numbers, scores = [], QUIET + LOUD + QUIET + [0.9] * 30 + QUIET
    watched(tmp_path / "whole", scores, on_event=numbers.append)
    assert numbers == [1, 2]
    lag = lag_of(tmp_path / "other")
    for cut in (130, 145, 157, 158, 170):  # killed before, within, at the end of and behind it
        numbers.clear()
        watched(tmp_path / str(cut), scores[:cut], ends=False, on_event=numbers.append)
        heard_again(tmp_path / str(cut), scores, cut - lag, on_event=numbers.append)
        assert (cut, numbers) == (cut, [1, 2])


def test_an_event_that_a_stop_cuts_short_is_reported_then_and_when_it_has_ended(tmp_path):
    numbers, scores = [], QUIET + [0.9] * 30 + QUIET
    cut = len(QUIET) + 20
    watched(tmp_path, scores[:cut], on_event=numbers.append)
    lag = lag_of(tmp_path / "other")
    heard_again(tmp_path, scores, cut - lag, on_event=numbers.append)
    assert numbers == [1, 1]


def test_an_event_that_a_live_watch_was_killed_in_is_reported_when_it_is_watched_again(tmp_path):
    numbers, lines, scores = [], [], QUIET + [0.9] * 30
    watched(tmp_path, scores, ends=False, on_event=numbers.append)
    assert not numbers
    for _ in range(2):  # once, however often it is begun again
        again = alarms_in(tmp_path, tell=lines.append, on_event=numbers.append)
        again.on_live()
        assert numbers == [1] and len(lines) == 1 and lines[0].startswith("event 1: ")


class Killed(BaseException):
    """The process is killed."""


@pytest.mark.parametrize("frames", [6, 30])  # hardly an event, and one that is told while it runs
@pytest.mark.parametrize("recorded", [True, False])
def test_an_event_at_whose_end_the_watch_was_killed_is_reported_by_the_next(
    tmp_path, recorded, frames
):
    def killed(number):
        raise Killed

    scores = QUIET + [0.9] * frames + QUIET
    with pytest.raises(Killed):
        watched(tmp_path, scores, on_event=killed)
    (event,) = read_events(tmp_path)[0]
    assert not event.open
    for expected in ([1], []):  # told once, and not once more
        numbers = []
        if recorded:
            heard_again(tmp_path, scores, event.end, on_event=numbers.append)
        else:
            again = alarms_in(tmp_path, on_event=numbers.append)
            again.on_live()
        assert numbers == expected and read_events(tmp_path)[0] == [event]


@pytest.mark.parametrize(("mark", "expected"), [(160, [1]), (0, [])], ids=["meanwhile", "before"])
def test_of_a_changed_scene_an_event_is_reported_that_began_before_it(tmp_path, mark, expected):
    class Changed:
        """A scene that is another from a frame on."""

        drift, seconds = None, 0

        def push(self, frame, score):
            self.count = getattr(self, "count", 0) + 1
            changed = self.count > mark
            self.drift = Drift("moved", "the view has moved", self.count) if changed else None

    numbers, scores = [], [0.1] * 150 + [0.9] * 40
    watched(tmp_path, scores, ends=False, drift=Changed())
    again = alarms_in(tmp_path, on_event=numbers.append)
    again.on_live()
    again.on_live()
    assert numbers == expected


def test_a_watch_of_a_live_source_catches_up(tmp_path):
    numbers = []
    watched(tmp_path, QUIET + [0.9] * 30, ends=False)
    alarms = alarms_in(tmp_path, on_event=numbers.append)
    watch([], StreamScorer(a_model(), PATCH), tmp_path, [alarms], tell=str)
    assert numbers == [1]
