"""Beside the watches of many cameras: statuses, the page, MQTT, and removal of old evidence."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

from ddllib.camera.cameras_file import Cameras
from ddllib.camera.event_file import read_events
from ddllib.camera.mqtt import Mqtt
from ddllib.camera.post import Post
from ddllib.camera.retention import Keep, Retention
from ddllib.camera.status import Status, StatusFile
from ddllib.camera.status_page import StatusPage
from ddllib.errors import DDLError

STATUS_S = 2.0  # seconds between two statuses
TOLD_S = 30.0  # seconds after which an unchanged status is published again
RETENTION_S = 60.0  # seconds between two looks at what is to be removed


class Overseer:
    """Used as a context, within which the page is served and the broker connected to.

    ``look`` is called again and again, by one thread. A disk that is full or gone is no fault
    here: the status says so, and the camera's own watch meets it.
    """

    def __init__(self, cameras: Cameras, posts: Sequence[Post], tell: Callable[[str, str], None]):
        keep = cameras.keep or Keep()
        self.posts, self.cameras, self.tell = posts, cameras, tell
        self.files = [StatusFile(post, keep.free_gigabytes) for post in posts]
        self.retention = Retention([post.camera.folder for post in posts], keep)
        self.page: StatusPage | None = None
        self.mqtt: Mqtt | None = None
        self._published: dict[str, tuple[str, float]] = {}  # the state of each camera, and when
        self._status_due = self._retention_due = 0.0
        self._held = ExitStack()

    def __enter__(self) -> Overseer:
        with ExitStack() as held:
            if self.cameras.page:
                folders = {post.name: post.camera.folder for post in self.posts}
                self.page = StatusPage(*self.cameras.page, self.statuses, folders)
                held.enter_context(self.page)
                self.tell("page", self.page.address)
            if self.cameras.broker:
                self.mqtt = Mqtt(self.cameras.broker, partial(self.tell, "mqtt"))
                held.enter_context(self.mqtt)
                for post in self.posts:
                    post.camera.also_on_event = partial(self._publish_event, post)
            self._held = held.pop_all()
        return self

    def __exit__(self, *_) -> None:
        self._held.close()

    def statuses(self) -> list[Status]:
        """The newest status of each camera."""
        return [file.newest for file in self.files if file.newest]

    def look(self, now: bool = False) -> None:
        """Do what is due; ``now`` writes the statuses in any case."""
        moment = time.monotonic()
        if now or moment >= self._status_due:
            self._status_due = moment + STATUS_S
            for file in self.files:
                with contextlib.suppress(DDLError, OSError):
                    file.write()
            self._publish()
        if moment >= self._retention_due:
            self._retention_due = moment + RETENTION_S
            with contextlib.suppress(OSError):
                removed = self.retention.apply()
                if removed:
                    self.tell("retention", f"{removed} old events or tables removed")

    def _publish(self) -> None:
        for status in self.statuses() if self.mqtt else ():
            state, at_s = self._published.get(status.camera, ("", 0.0))
            if status.state != state or time.monotonic() - at_s >= TOLD_S:
                self._published[status.camera] = status.state, time.monotonic()
                self.mqtt.status(status)

    def _publish_event(self, post: Post, number: int) -> None:
        folder = post.camera.folder
        events, _ = read_events(folder)
        self.mqtt.event(post.name, str(folder.resolve()), number, events[number - 1])
