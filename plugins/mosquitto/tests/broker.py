"""Brokers with the plugin and clients for them. Everything is on the loopback and on free ports.

    PLUGIN=…/mosquitto_wasm.so GUESTS=… python -B -m unittest discover
"""

import os
import queue
import signal
import socket
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

PLUGIN = Path(os.environ["PLUGIN"])
GUESTS = Path(os.environ["GUESTS"])
MOSQUITTO = os.environ.get("MOSQUITTO", "/usr/sbin/mosquitto")
PATIENCE = 20


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def until(condition, what="it"):
    """Waits for a condition. Gives its value."""
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not happen")
        time.sleep(0.01)
    return value


class Broker:
    """A broker whose plugin has this configuration, or None for no plugin. `options`: lines of the broker's own."""

    def __init__(self, configuration, options="", plugin_options=None, log_type="all"):
        self.directory = tempfile.TemporaryDirectory()
        self.path = Path(self.directory.name)
        self.port = free_port()
        self.configuration = self.path / "wasm.conf"
        if plugin_options is None:
            plugin_options = f"plugin_opt_config {self.configuration}\n"
        lines = f"{options}\nlistener {self.port} 127.0.0.1\nallow_anonymous true\n"
        lines += f"log_type {log_type}\nlog_dest stderr\n"
        if os.getuid() == 0:
            lines += "user root\n"
        if configuration is not None:
            self.configure(configuration)
            lines += f"plugin {PLUGIN}\n{plugin_options}"
        (self.path / "mosquitto.conf").write_text(lines)
        self.log_file = open(self.path / "log", "wb")
        self.process = subprocess.Popen(
            [MOSQUITTO, "-c", self.path / "mosquitto.conf"], stdout=self.log_file, stderr=self.log_file
        )

    def configure(self, configuration):
        self.configuration.write_text("metrics_interval 1\n" + configuration)

    def log(self):
        return (self.path / "log").read_text(errors="replace")

    def wait_for_log(self, text, times=1):
        until(lambda: self.log().count(text) >= times or self.process.poll() is not None, f"log {text!r}")
        if self.log().count(text) < times:
            raise AssertionError(f"the broker ended without {text!r}:\n{self.log()}")

    def listening(self):
        """For a broker whose log does not say that it is running."""

        def connects():
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.port)) == 0

        until(connects, "a connection")

    def running(self):
        self.wait_for_log(" running")
        return self

    def reload(self, configuration=None):
        """Sends SIGHUP. The plugin has seen it when this returns."""
        if configuration is not None:
            self.configure(configuration)
        times = self.log().count("Reloading config.")
        self.process.send_signal(signal.SIGHUP)
        self.wait_for_log("Reloading config.", times + 1)

    def ended(self):
        """Waits for the end. Gives the exit code."""
        return self.process.wait(PATIENCE)

    def stop(self):
        """Gives the exit code. 0 if the broker ran until now and ended as it should."""
        self.process.terminate()
        try:
            code = self.ended()
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.log_file.close()
        self.directory.cleanup()
        return code


class Client:
    """A client that keeps what it gets."""

    def __init__(self, broker, version=mqtt.MQTTv5):
        self.version = version
        self.messages = queue.Queue()
        self.reasons = {}
        self.subscribed = 0
        self.mqtt = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=version)
        self.mqtt.max_inflight_messages_set(1000)
        self.mqtt.on_message = lambda _client, _data, message: self.messages.put(message)
        self.mqtt.on_publish = self._on_publish
        self.mqtt.on_subscribe = self._on_subscribe
        self.mqtt.connect("127.0.0.1", broker.port)
        self.mqtt.loop_start()
        until(self.mqtt.is_connected, "a connection")

    def _on_publish(self, _client, _data, mid, reason, _properties):
        self.reasons[mid] = reason.value

    def _on_subscribe(self, *_):
        self.subscribed += 1

    def subscribe(self, *filters, qos=2):
        before = self.subscribed
        for one in filters:
            self.mqtt.subscribe(one, options=SubscribeOptions(qos=qos, retainAsPublished=True)) if (
                self.version == mqtt.MQTTv5
            ) else self.mqtt.subscribe(one, qos)
        until(lambda: self.subscribed == before + len(filters), "a subscription")
        return self

    def publish(self, topic, payload, qos=0, retain=False, **properties):
        """Does not wait. Gives the message's id. `users`: its user properties."""
        made = None
        if self.version == mqtt.MQTTv5:
            made = Properties(PacketTypes.PUBLISH)
            for name, value in properties.items():
                setattr(made, "UserProperty" if name == "users" else name, value)
        return self.mqtt.publish(topic, payload, qos, retain, made).mid

    def acknowledged(self, topic, payload, qos=1, **properties):
        """Publishes and waits for the answer. Gives its reason code."""
        mid = self.publish(topic, payload, qos, **properties)
        until(lambda: mid in self.reasons, "an acknowledgement")
        return self.reasons[mid]

    def get(self):
        try:
            return self.messages.get(timeout=PATIENCE)
        except queue.Empty:
            raise AssertionError("no message came") from None

    def texts(self, count):
        """The next messages as pairs of topic and payload."""
        return [(message.topic, message.payload.decode()) for message in (self.get() for _ in range(count))]

    def stop(self):
        self.mqtt.disconnect()
        self.mqtt.loop_stop()


def users(message):
    """The user properties of a message."""
    return getattr(message.properties, "UserProperty", [])


class Case(unittest.TestCase):
    def broker(self, configuration, exit_code=0, **options):
        broker = Broker(configuration, **options)
        self.addCleanup(lambda: self.assertEqual(broker.stop(), exit_code))
        return broker

    def client(self, broker, *filters, **options):
        client = Client(broker, **options)
        self.addCleanup(client.stop)
        return client.subscribe(*filters)

    def transform(self, guest, *lines, name="t", filters=("in/#",)):
        """The configuration of a transform."""
        text = [f"transform {name}", f"module {GUESTS / guest}.wasm", *(f"filter {one}" for one in filters), *lines]
        return "\n".join(text) + "\n"

    def nothing_more(self, client, publisher, topic="other"):
        """Nothing comes before a message that is sent now."""
        publisher.publish(topic, b"the end")
        self.assertEqual(client.texts(1), [(topic, "the end")])

    def metric(self, broker, name, value, transform="t"):
        """Waits until a metric has this value."""
        client = self.client(broker, f"$SYS/broker/wasm/{transform}/{name}")
        seen = []
        while seen[-1:] != [str(value)]:
            try:
                seen.append(client.messages.get(timeout=PATIENCE).payload.decode())
            except queue.Empty:
                raise AssertionError(f"{name} was {seen}, never {value}") from None
        client.stop()
