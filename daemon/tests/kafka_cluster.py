# SPDX-License-Identifier: Apache-2.0
"""An Apache Kafka cluster on the loopback: KRaft mode, one process per node.

KAFKA_LIB is the directory with Kafka's jars, which `scripts/setup.sh kafka` fills."""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time

from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from security import Security

JARS = pathlib.Path(os.environ.get("KAFKA_LIB", pathlib.Path.home() / ".cache/wasm-engine/kafka/lib"))
CLUSTER_ID = "wasmEngineTests0000000"


def free_ports(count):
    """Ports that nothing listens on. All are taken before the first is given back."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]


class Node:
    """A broker that is a controller, too."""

    def __init__(self, directory, number, ports, voters, replicas, security=None, java=()):
        self.number = number
        self.port = ports[0]
        self.directory = directory
        self.process = None
        # One compiler is enough for a test and starts faster.
        self._java_options = java or ("-Xmx512m", "-XX:TieredStopAtLevel=1")
        directory.mkdir()
        self.properties = directory / "server.properties"
        more = security.listeners(ports[2:]) if security else {}
        listeners = ",".join(f"{name}://127.0.0.1:{port}" for name, port in {"PLAINTEXT": ports[0], **more}.items())
        self.properties.write_text("\n".join([
            "process.roles=broker,controller",
            f"node.id={number}",
            f"controller.quorum.voters={voters}",
            f"listeners={listeners},CONTROLLER://127.0.0.1:{ports[1]}",
            f"advertised.listeners={listeners}",
            "controller.listener.names=CONTROLLER",
            f"log.dirs={directory / 'data'}",
            "auto.create.topics.enable=false",
            f"default.replication.factor={replicas}",
            f"min.insync.replicas={min(replicas, 2)}",
            f"offsets.topic.replication.factor={replicas}",
            "offsets.topic.num.partitions=4",
            f"transaction.state.log.replication.factor={replicas}",
            f"transaction.state.log.min.isr={min(replicas, 2)}",
            "transaction.state.log.num.partitions=4",
            "transaction.abort.timed.out.transaction.cleanup.interval.ms=1000",
            "group.initial.rebalance.delay.ms=0",
            "group.min.session.timeout.ms=1000",
            "log.segment.bytes=67108864",
            "log.cleaner.dedupe.buffer.size=16777216",
            "log.cleaner.backoff.ms=500",
            *(security.properties() if security else ()),
            "",
        ]))
        users = security.format_arguments() if security else ()
        self._java(["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(self.properties), *users],
                   "format.log").wait()

    def _java(self, arguments, log):
        with (self.directory / log).open("ab") as out:
            return subprocess.Popen(["java", *self._java_options, "-cp", f"{JARS}/*", *arguments],
                                    stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)

    def start(self):
        self.process = self._java(["kafka.Kafka", str(self.properties)], "broker.log")

    def kill(self, how=signal.SIGKILL):
        self.process.send_signal(how)
        if how in (signal.SIGKILL, signal.SIGTERM):
            self.process.wait()

    def log(self):
        return (self.directory / "broker.log").read_text(errors="replace")[-4000:]


class Cluster:
    """`with Cluster(3) as cluster:` starts it and waits until it can be used. With `secure` it has the listeners of
    `security.Security`, too. `java` are options for Java instead of those for tests."""

    def __init__(self, nodes=1, secure=False, java=()):
        self._temporary = tempfile.TemporaryDirectory(prefix="kafka-")
        directory = pathlib.Path(self._temporary.name)
        self.security = Security(directory) if secure else None
        each = 2 + (len(Security.LISTENERS) if secure else 0)
        ports = free_ports(each * nodes)
        voters = ",".join(f"{i + 1}@127.0.0.1:{ports[each * i + 1]}" for i in range(nodes))
        replicas = min(nodes, 3)
        self.nodes = [Node(directory / f"node-{i + 1}", i + 1, ports[each * i:each * (i + 1)], voters, replicas,
                           self.security, java)
                      for i in range(nodes)]
        self.bootstrap = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        self.replicas = replicas

    def __enter__(self):
        for node in self.nodes:
            node.start()
        self.admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        deadline = time.monotonic() + 90
        while True:
            with contextlib.suppress(Exception):
                if len(self.admin.list_topics(timeout=2).brokers) == len(self.nodes):
                    return self
            if time.monotonic() > deadline or any(node.process.poll() is not None for node in self.nodes):
                logs = "\n".join(node.log() for node in self.nodes)
                self.__exit__()
                raise RuntimeError(f"Kafka did not start:\n{logs}")
            time.sleep(0.2)

    def __exit__(self, *_):
        for node in self.nodes:
            if node.process is not None and node.process.poll() is None:
                node.kill(signal.SIGCONT)
                node.kill()
        self._temporary.cleanup()

    def create_topic(self, name, partitions=1, **config):
        topic = NewTopic(name, num_partitions=partitions, replication_factor=self.replicas,
                         config={key.replace("_", "."): str(value) for key, value in config.items()})
        for done in self.admin.create_topics([topic]).values():
            done.result(30)

    def delete_topic(self, name):
        for done in self.admin.delete_topics([name], operation_timeout=30).values():
            done.result(30)

    def add_partitions(self, name, total):
        for done in self.admin.create_partitions([NewPartitions(name, total)]).values():
            done.result(30)
