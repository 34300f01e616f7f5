"""A real MQTT broker on this machine, and one who hears all that is published."""

import shutil
import socket
import subprocess
import threading
import time

import pytest
from paho.mqtt import client as paho

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
needs_broker = pytest.mark.skipif(not MOSQUITTO, reason="mosquitto is not installed")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Mosquitto:
    """A broker on this machine, which can be stopped and started again."""

    def __init__(self, folder):
        self.port, self.config = free_port(), folder / "mosquitto.conf"
        self.config.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\n")
        self.start()

    def start(self):
        command = [MOSQUITTO, "-c", str(self.config)]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError("the broker did not start")

    def stop(self):
        self.process.terminate()
        self.process.wait(60)


class Ear:
    """Hears all topics of a broker."""

    def __init__(self, port):
        self.heard, self.changed = {}, threading.Condition()
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        self.client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self.client.on_message = self._on_message
        self.client.reconnect_delay_set(1, 1)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def _on_message(self, _client, _data, message):
        with self.changed:
            self.heard.setdefault(message.topic, []).append(message.payload.decode())
            self.changed.notify_all()

    def wait_for(self, topic, holds=bool):
        with self.changed:
            assert self.changed.wait_for(lambda: holds(self.heard.get(topic)), 60)
            return self.heard[topic]

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def broker(tmp_path):
    """A running broker."""
    running = Mosquitto(tmp_path)
    yield running
    running.stop()
