"""What a watch of weeks removes: the oldest evidence first, marked events never."""

import os
import time

import pytest
from support.alarms import LOUD, QUIET, watched

from ddllib.camera import retention
from ddllib.camera.event_file import read_events
from ddllib.camera.event_page import write_page
from ddllib.camera.marked import add_mark, marked_events
from ddllib.camera.retention import DAY_S, Keep, Retention
from ddllib.camera.score_table import Table, read_scores

SIZE = 1000  # bytes of an event's files


def evidence(folder, numbers, days=0.0):
    """Files of events, so many days old."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        for suffix, size in ((".jpg", 600), ("-error.jpg", 400)):
            path = folder / f"{number:04d}{suffix}"
            path.write_bytes(b"x" * size)
            os.utime(path, (time.time() - (days - number / 1000) * DAY_S,) * 2)


def left(folder):
    return sorted(int(path.name[:4]) for path in folder.glob("*-error.jpg"))


def test_evidence_of_more_than_so_many_days_is_removed(tmp_path):
    evidence(tmp_path / "a", (1, 2), days=9), evidence(tmp_path / "a", (3,), days=1)
    evidence(tmp_path / "b" / "earlier-2026", (1,), days=9)
    table = tmp_path / "a" / "scores-2026-01-01.csv"
    table.write_text("old")
    os.utime(table, (0, 0))
    assert Retention([tmp_path / "a", tmp_path / "b"], Keep(days=7)).apply() == 4
    assert left(tmp_path / "a") == [3] and not left(tmp_path / "b" / "earlier-2026")
    assert not table.exists()


def test_beyond_so_many_bytes_the_oldest_of_all_cameras_goes_first(tmp_path):
    evidence(tmp_path / "a", (1, 2, 3), days=3), evidence(tmp_path / "b", (1, 2), days=5)
    keep = Keep(gigabytes=2.5 * SIZE / retention.GIGABYTE)
    assert Retention([tmp_path / "a", tmp_path / "b"], keep).apply() == 3
    assert left(tmp_path / "a") == [2, 3] and left(tmp_path / "b") == []
    assert Retention([tmp_path / "a"], keep).apply() == 0


def test_below_the_floor_the_oldest_goes_until_there_is_room(tmp_path, monkeypatch):
    evidence(tmp_path, range(1, 6), days=1)

    def low(folder, floor):
        return floor is not None and len(left(tmp_path)) > 2

    monkeypatch.setattr(retention, "is_low", low)
    assert Retention([tmp_path], Keep(free_gigabytes=1)).apply() == 3
    assert left(tmp_path) == [4, 5]
    assert Retention([tmp_path], Keep()).apply() == 0


def test_marked_events_stay(tmp_path):
    evidence(tmp_path, (1, 2, 3), days=9)
    add_mark(tmp_path, 2), add_mark(tmp_path, 2)
    (tmp_path / "marked.txt").open("a").write("no number\n")
    assert marked_events(tmp_path) == {2}
    assert Retention([tmp_path], Keep(days=1, gigabytes=1e-12)).apply() == 2
    assert left(tmp_path) == [2]


@pytest.mark.parametrize("name", ["scores.csv", "events.csv", "0001", "notes-2020.txt", ".hidden"])
def test_other_files_are_left_alone(tmp_path, name):
    (tmp_path / name).write_text("mine")
    os.utime(tmp_path / name, (0, 0))
    Retention([tmp_path, tmp_path / "missing"], Keep(days=1, gigabytes=1e-12)).apply()
    assert (tmp_path / name).exists()


def test_rows_of_events_and_their_page_outlive_the_evidence(tmp_path):
    watched(tmp_path, QUIET + LOUD + QUIET + LOUD + QUIET)
    events = read_events(tmp_path)[0]
    assert Retention([tmp_path], Keep(gigabytes=1e-12)).apply() == len(events) == 2
    assert not list(tmp_path.glob("*.jpg"))
    assert read_events(tmp_path)[0] == events
    assert "Event 2" in write_page(tmp_path).read_text()


def test_a_live_table_of_a_day_that_is_over_is_put_away(tmp_path):
    noon = time.mktime((2026, 11, 29, 12, 0, 0, 0, 0, -1))
    table = Table(tmp_path / "scores.csv", by_day=True)
    for index, day in enumerate((0, 0, 1, 2, 1, 2)):  # the clock was set back once
        table.add(index, noon + day * DAY_S, 0.5)
    table.close()
    assert read_scores(tmp_path)["frame"].tolist() == [5]
    put_away = {path.name: path for path in tmp_path.glob("scores-*.csv")}
    assert len(put_away) == 4
    frames = []
    for _, path in sorted(put_away.items()):
        os.replace(path, tmp_path / "scores.csv")
        frames += read_scores(tmp_path)["frame"].tolist()
    assert sorted(frames) == [0, 1, 2, 3, 4]


def test_a_table_begun_on_another_day_is_put_away_by_the_next_watch(tmp_path):
    now = time.time()
    first = Table(tmp_path / "scores.csv", by_day=True)
    first.add(0, now, 0.5), first.close()
    os.utime(tmp_path / "scores.csv", (now - 3 * DAY_S,) * 2)
    again = Table(tmp_path / "scores.csv", by_day=True)
    again.add(1, now, 0.5), again.close()
    assert read_scores(tmp_path)["frame"].tolist() == [1]
    assert len(list(tmp_path.glob("scores-*.csv"))) == 1
