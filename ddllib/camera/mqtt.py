"""Status and events by MQTT, the usual way into home automation (optional: paho-mqtt)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

from ddllib.camera.events import Event
from ddllib.camera.status import Status
from ddllib.errors import DDLError

LONGEST_WAIT_S = 60  # seconds between two attempts to connect
MOST_WAITING = 1000  # messages that wait for the broker; further events are not sent
LAST_S = 2.0  # seconds that the end waits for the last message


@dataclass(frozen=True)
class Broker:
    """Where messages go: ``<topic>/<camera>/status`` and so on; see ``Mqtt``."""

    host: str
    port: int = 1883
    user: str | None = None
    password: str | None = None
    topic: str = "ddl"


class Mqtt:
    """Publishes to a broker, and connects to it again and again; no watch ever waits for it.

    - ``<topic>/state``: ``online`` or ``offline``, retained; the broker says ``offline`` when the
      process dies.
    - ``<topic>/<camera>/status``: the fields of ``Status`` as JSON, retained, when it is new.
    - ``<topic>/<camera>/event``: an event that has ended, as JSON: its number, the fields of
      ``Event``, and the camera's folder; at least once each.

    Used as a context. Raises ``DDLError`` where paho-mqtt is not installed.
    """

    def __init__(self, broker: Broker, tell: Callable[[str], None]):
        try:
            from paho.mqtt import client as paho
        except ImportError:
            raise DDLError(
                "mqtt: the package paho-mqtt is not installed; install it by pip, or leave mqtt out"
            ) from None
        self.broker, self.tell = broker, tell
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        self._client.reconnect_delay_set(1, LONGEST_WAIT_S)
        self._client.max_queued_messages_set(MOST_WAITING)
        self._client.will_set(f"{broker.topic}/state", "offline", qos=1, retain=True)
        if broker.user is not None:
            self._client.username_pw_set(broker.user, broker.password)
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = lambda *_: self._say("cannot be reached")
        self._client.on_disconnect = self._on_disconnect
        self._said: str | None = None

    def __enter__(self) -> Mqtt:
        self._client.connect_async(self.broker.host, self.broker.port)
        self._client.loop_start()
        return self

    def __exit__(self, *_) -> None:
        state = self._client.publish(f"{self.broker.topic}/state", "offline", qos=1, retain=True)
        if self._client.is_connected():
            state.wait_for_publish(LAST_S)
        self._client.disconnect()
        self._client.loop_stop()

    def status(self, status: Status) -> None:
        """A camera's status is new."""
        topic = f"{self.broker.topic}/{status.camera}/status"
        self._client.publish(topic, json.dumps(asdict(status)), retain=True)

    def event(self, camera: str, folder: str, number: int, event: Event) -> None:
        """Event ``number`` of a camera has ended."""
        message = {"event": number, "folder": folder, **asdict(event)}
        self._client.publish(f"{self.broker.topic}/{camera}/event", json.dumps(message), qos=1)

    def _on_connect(self, client, _data, _flags, reason, _properties) -> None:
        if reason.is_failure:
            self._say(f"refuses ({reason})")
            return
        self._say("connected")
        client.publish(f"{self.broker.topic}/state", "online", qos=1, retain=True)

    def _on_disconnect(self, _client, _data, _flags, reason, _properties) -> None:
        if reason.is_failure:
            self._say("connection lost")

    def _say(self, what: str) -> None:
        """Tell a change of the connection, each once."""
        if what != self._said:
            self._said = what
            again = "" if what == "connected" else "; trying again without end"
            self.tell(f"{self.broker.host}:{self.broker.port} {what}{again}")
