"""Status and events by MQTT, against a real broker where there is one."""

import json
import subprocess
import sys
import time

import pytest
from support.broker import Ear, free_port, needs_broker

from ddllib import DDLError
from ddllib.camera.events import Event
from ddllib.camera.mqtt import Broker, Mqtt
from ddllib.camera.status import Status

STATUS = Status("yard", "live", 1.8e9, 1.8e9, 9.5, 12, 10, 4, 2, 1, 0.1, 0.2, 3, 10**9, "")
EVENT = Event(1.0, 2.0, 1.5, 10, 20, 15, 0.7, box=(0.0, 0.0, 0.5, 0.5))


@needs_broker
def test_status_and_events_are_published_and_the_end_too(broker):
    ear, lines = Ear(broker.port), []
    with Mqtt(Broker("127.0.0.1", broker.port), lines.append) as mqtt:
        assert ear.wait_for("ddl/state") == ["online"]
        mqtt.status(STATUS)
        mqtt.event("yard", "/seen/yard", 7, EVENT)
        status = json.loads(ear.wait_for("ddl/yard/status")[0])
        event = json.loads(ear.wait_for("ddl/yard/event")[0])
    assert status["state"] == "live" and status["frames_per_second"] == 9.5
    assert event["event"] == 7 and event["score"] == 0.7 and event["folder"] == "/seen/yard"
    assert ear.wait_for("ddl/state", lambda messages: len(messages) == 2)[-1] == "offline"
    ear.close()
    late = Ear(broker.port)  # status and state are retained, events are not
    assert json.loads(late.wait_for("ddl/yard/status")[0]) == status
    assert late.wait_for("ddl/state") == ["offline"] and "ddl/yard/event" not in late.heard
    late.close()


DIES = """
import os, sys, time
from ddllib.camera.mqtt import Broker, Mqtt
connected = []
with Mqtt(Broker("127.0.0.1", int(sys.argv[1])), connected.append):
    while not connected:
        time.sleep(0.05)
    time.sleep(1)
    os._exit(9)
"""


@needs_broker
def test_a_process_that_dies_is_reported_offline_by_the_broker(broker):
    ear = Ear(broker.port)
    subprocess.run([sys.executable, "-c", DIES, str(broker.port)])
    assert ear.wait_for("ddl/state", lambda messages: messages and messages[-1] == "offline")
    ear.close()


@needs_broker
def test_events_wait_for_a_broker_that_is_gone(broker):
    lines = []
    with Mqtt(Broker("127.0.0.1", broker.port), lines.append) as mqtt:
        deadline = time.monotonic() + 60
        while not lines and time.monotonic() < deadline:
            time.sleep(0.05)
        broker.stop()
        while len(lines) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        mqtt.event("yard", "/seen/yard", 8, EVENT)
        broker.start()
        ear = Ear(broker.port)
        assert json.loads(ear.wait_for("ddl/yard/event")[0])["event"] == 8
        ear.close()
    assert "connected" in lines[0] and "trying again" in lines[1]


def test_without_a_broker_nothing_waits_and_one_line_says_so():
    lines, port = [], free_port()
    with Mqtt(Broker("127.0.0.1", port), lines.append) as mqtt:
        for _ in range(5):
            mqtt.status(STATUS)
            mqtt.event("yard", "/seen/yard", 7, EVENT)
        deadline = time.monotonic() + 60
        while not lines and time.monotonic() < deadline:
            time.sleep(0.05)
    assert len(lines) == 1 and "cannot be reached; trying again" in lines[0]


def test_a_missing_package_is_reported_with_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "paho.mqtt", None)
    with pytest.raises(DDLError, match="paho-mqtt is not installed; install it"):
        Mqtt(Broker("localhost"), print)
