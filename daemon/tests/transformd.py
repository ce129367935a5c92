# SPDX-License-Identifier: Apache-2.0
"""Runs wasm-transformd as a user does. CTest sets WASM_TRANSFORMD and WASM_ENGINE_GUESTS."""

import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time
import unittest
import uuid

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from kafka_cluster import Cluster

DAEMON = os.environ["WASM_TRANSFORMD"]
GUESTS = pathlib.Path(os.environ["WASM_ENGINE_GUESTS"])


def guest(name):
    return str(GUESTS / f"{name}.wasm")


def unique(name):
    return f"{name}-{uuid.uuid4().hex[:8]}"


def numbered(count, keys=50, first=0):
    return [(f"key-{i % keys}", f"{i:08}") for i in range(first, first + count)]


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=20)
        self._path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Daemon:
    """A process of wasm-transformd. Killed at the end if it is still there."""

    def __init__(self, test, *files, arguments=(), threads=2, stderr=None, environment=()):
        """`stderr` is a file descriptor for the log if the test does not want to read it."""
        self.directory = pathlib.Path(tempfile.mkdtemp(dir=test.directory))
        self.socket = self.directory / "control"
        self.log_path = self.directory / "log"
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [DAEMON, *map(str, files), "--socket", str(self.socket), "--threads", str(threads), *arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log if stderr is None else stderr,
                env={**os.environ, **dict(environment)})
        test.addCleanup(self.kill)

    def kill(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()

    def stop(self):
        """SIGTERM. Returns the exit code."""
        self.process.terminate()
        return self.process.wait(60)

    @property
    def log(self):
        return self.log_path.read_text(errors="replace")

    def request(self, method, target, body=None):
        """The status and the body, decoded if it is JSON."""
        connection = UnixConnection(self.socket)
        try:
            connection.request(method, target, body=body)
            answer = connection.getresponse()
            body = answer.read().decode()
            is_json = answer.getheader("Content-Type") == "application/json"
            return answer.status, json.loads(body) if is_json else body
        finally:
            connection.close()

    def transform(self, name):
        return self.request("GET", f"/transforms/{name}")[1]

    def total(self, name, what):
        return sum(worker[what] for worker in self.transform(name)["workers"])

    def wait_until(self, condition, what, seconds=60):
        deadline = time.monotonic() + seconds
        while True:
            try:
                if condition():
                    return
            except (OSError, KeyError, http.client.HTTPException, KafkaException):
                pass
            if self.process.poll() is not None:
                raise AssertionError(f"the daemon ended while waiting: {what}\n{self.log}")
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds} s: {what}\n{self.log[-6000:]}")
            time.sleep(0.05)

    def wait_assigned(self, name, *each):
        """Until the workers have so many partitions each, in any order. A rebalance commits: none is due after it."""
        self.wait_until(lambda: sorted(len(w["partitions"]) for w in self.transform(name)["workers"]) == sorted(each),
                        f"workers with {each} partitions")

    def status(self, what):
        """A line of /proc/PID/status: `VmRSS` in KiB, `Threads`."""
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(f"{what}:"):
                return int(line.split()[1])
        raise KeyError(what)

    def wait_ready(self):
        self.wait_until(lambda: self.request("GET", "/readyz")[0] == 200, "ready")


class DaemonTest(unittest.TestCase):
    """Tests that share a broker."""

    NODES = 1
    SECURE = False

    @classmethod
    def setUpClass(cls):
        cls.cluster = cls.enterClassContext(Cluster(cls.NODES, cls.SECURE))

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = pathlib.Path(directory.name)
        self.name = unique("t")
        self.input = f"{self.name}-in"
        self.output = f"{self.name}-out"

    def committed(self, topic=None, group=None):
        """The group's position in each partition, 0 where it has none."""
        topic = topic or self.input
        consumer = Consumer({"bootstrap.servers": self.cluster.bootstrap, "group.id": group or f"wasm-transform-{self.name}"})
        try:
            partitions = [TopicPartition(topic, p) for p in self.end_offsets(topic)]
            return {p.partition: max(p.offset, 0) for p in consumer.committed(partitions, timeout=60)}
        finally:
            consumer.close()

    def topics(self, partitions=4):
        self.cluster.create_topic(self.input, partitions)
        self.cluster.create_topic(self.output, partitions)

    def write_file(self, module="rust_identity", extra="", name=None, client=(), brokers=None, topics=None):
        """`topics` are input and output if they are not the test's."""
        name = name or self.name
        path = self.directory / f"{name}.yaml"
        settings = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500, **dict(client)}
        source, target = topics or (self.input, self.output)
        path.write_text(f"""\
name: {name}
input-topic: {source}
output-topics: [{target}]
module: {guest(module)}
brokers: {brokers or self.cluster.bootstrap}
client:
{chr(10).join(f"  {key}: {value}" for key, value in settings.items())}
{extra}
""")
        return path

    def produce(self, records, topic=None, **settings):
        """`records` are (key, value) or (key, value, headers)."""
        producer = Producer({"bootstrap.servers": self.cluster.bootstrap, "linger.ms": 5, "enable.idempotence": True,
                             "partitioner": "murmur2_random", **settings})
        for record in records:
            key, value, *headers = record
            while True:
                try:
                    producer.produce(topic or self.input, key=key, value=value, headers=headers[0] if headers else None)
                    break
                except BufferError:
                    producer.poll(0.1)
        if producer.flush(60) != 0:
            raise AssertionError("the cluster did not take the input")

    def end_offsets(self, topic):
        """The end of each partition. What is not committed counts, too."""
        consumer = Consumer({"bootstrap.servers": self.cluster.bootstrap, "group.id": "nobody",
                             "isolation.level": "read_uncommitted"})
        try:
            partitions = consumer.list_topics(topic, timeout=20).topics[topic].partitions
            return {p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=20)[1] for p in partitions}
        finally:
            consumer.close()

    def read(self, topic=None, isolation="read_committed", seconds=60):
        """All records up to the end, by partition."""
        topic = topic or self.output
        ends = self.end_offsets(topic)
        consumer = Consumer({"bootstrap.servers": self.cluster.bootstrap, "group.id": "nobody",
                             "isolation.level": isolation, "enable.partition.eof": True,
                             "auto.offset.reset": "earliest", "enable.auto.commit": False})
        try:
            consumer.assign([TopicPartition(topic, p, 0) for p in ends])
            found = {p: [] for p in ends}
            open_partitions = set(ends)
            deadline = time.monotonic() + seconds
            while open_partitions:
                for message in consumer.consume(1000, 0.2):
                    if message.error() is None:
                        found[message.partition()].append(message)
                    elif message.error().name() == "_PARTITION_EOF" and message.offset() >= ends[message.partition()]:
                        open_partitions.discard(message.partition())
                if time.monotonic() > deadline:
                    raise AssertionError(f"cannot read to the end of {topic}: an open transaction?")
            return found
        finally:
            consumer.close()

    def values(self, topic=None, **how):
        """The values of all records, sorted."""
        return sorted(m.value() for records in self.read(topic, **how).values() for m in records)

    def check_once_and_in_order(self, count, keys=50):
        by_partition = self.read()
        values = sorted(m.value() for records in by_partition.values() for m in records)
        self.assertEqual(len(values), count)
        self.assertEqual(values, [f"{i:08}".encode() for i in range(count)])
        for records in by_partition.values():
            last = {}
            for message in records:
                self.assertLess(last.get(message.key(), b""), message.value(), "in order per key")
                last[message.key()] = message.value()
        self.assertLessEqual(len({m.key() for records in by_partition.values() for m in records}), keys)
