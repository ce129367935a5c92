# SPDX-License-Identifier: Apache-2.0
"""`make test-cluster`: three brokers, three daemons, eight partitions and faults at random.

    cluster.py [--seconds 600] [--seed N]

A producer writes records with keys and ids all the time. Meanwhile daemons are killed, stopped past their sessions,
started and ended, brokers are killed, and poison records come. At the end every id is exactly once in the output or in
the dead letters, and in order per key. The seed is printed: it decides which faults come in which order."""

import argparse
import collections
import pathlib
import random
import signal
import sys
import tempfile
import threading
import time

from confluent_kafka import Consumer, Producer, TopicPartition

import transformd
from kafka_cluster import Cluster

PARTITIONS = 8
KEYS = 200
POISON_EVERY = 5000


class Feed(threading.Thread):
    """Writes numbered records until it is told to stop."""

    def __init__(self, bootstrap, topic):
        super().__init__(daemon=True)
        self.sent = []  # (key, id, poison), acknowledged
        self._topic = topic
        self._stop_asked = threading.Event()
        self._producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 5,
                                   "partitioner": "murmur2_random", "message.timeout.ms": 300000, "log_level": 0})
        self.failures = 0

    def run(self):
        number = 0
        while not self._stop_asked.is_set():
            key = f"key-{number % KEYS}".encode()
            poison = number % POISON_EVERY == POISON_EVERY - 1
            value = b"boom" if poison else f"{number:010}".encode()
            # The id of a poison record is in its header: the guest fails at the value.
            self._producer.produce(self._topic, key=key, value=value, headers=[("id", str(number).encode())],
                                   on_delivery=lambda e, _, r=(key, number, poison): self._delivered(e, r))
            number += 1
            if number % 100 == 0:
                self._producer.poll(0)
                time.sleep(0.05)
        self._producer.flush(300)

    def _delivered(self, error, record):
        if error is None:
            self.sent.append(record)
        else:
            self.failures += 1

    def finish(self):
        self._stop_asked.set()
        self.join()


class Chaos(transformd.DaemonTest):
    NODES = 3

    def runTest(self):
        options, random_of = self.options, random.Random(self.options.seed)
        self.topics(PARTITIONS)
        letters = f"{self.name}-letters"
        self.cluster.create_topic(letters, 1)
        path = self.write_file("rust_panic", extra=f"on-error: {{dead-letter-topic: {letters}}}",
                               client={"transaction.timeout.ms": 8000})
        daemons = [transformd.Daemon(self, path) for _ in range(3)]
        for daemon in daemons:
            daemon.wait_ready()
        feed = Feed(self.cluster.bootstrap, self.input)
        feed.start()
        done = collections.Counter()
        deadline = time.monotonic() + options.seconds
        while time.monotonic() < deadline:
            time.sleep(random_of.uniform(1, 5))
            fault = random_of.choice(["kill", "kill", "stop", "leave", "broker", "pause"])
            at = random_of.randrange(3)
            done[fault] += 1
            if fault == "kill":
                daemons[at].kill()
                daemons[at] = transformd.Daemon(self, path)
            elif fault == "stop":
                daemons[at].process.send_signal(signal.SIGSTOP)
                time.sleep(9)  # longer than its session
                daemons[at].process.send_signal(signal.SIGCONT)
            elif fault == "leave":
                self.assertEqual(daemons[at].stop(), 0, daemons[at].log)
                daemons[at] = transformd.Daemon(self, path)
            elif fault == "broker":
                node = self.cluster.nodes[at]
                node.kill()
                time.sleep(random_of.uniform(1, 4))
                node.start()
                time.sleep(8)  # so that two are in step again before the next one goes
            elif fault == "pause":
                for what in ("pause", "resume"):
                    try:
                        daemons[at].request("POST", f"/transforms/{self.name}/{what}")
                    except OSError:
                        pass
                    time.sleep(1)
        feed.finish()
        self.assertEqual(feed.failures, 0, "the producer lost records: the cluster was down for too long")
        self.wait_for_the_end(daemons)
        self.judge(feed.sent, letters)
        print(f"seed {options.seed}: {len(feed.sent)} records, faults: {dict(sorted(done.items()))}")

    def wait_for_the_end(self, daemons):
        ends = self.end_offsets(self.input)
        consumer = Consumer({"bootstrap.servers": self.cluster.bootstrap, "group.id": f"wasm-transform-{self.name}"})
        deadline = time.monotonic() + 180
        try:
            while True:
                positions = consumer.committed([TopicPartition(self.input, p) for p in ends], timeout=60)
                # Kafka counts the markers of transactions, too; there are none in the input.
                if all(p.offset == ends[p.partition] for p in positions):
                    return
                if time.monotonic() > deadline:
                    logs = "\n".join(daemon.log[-3000:] for daemon in daemons)
                    self.fail(f"not at the end: {positions}\n{logs}")
                time.sleep(0.5)
        finally:
            consumer.close()

    def judge(self, sent, letters):
        identifier = lambda message: int(dict(message.headers())["id"])
        good = {number for _, number, poison in sent if not poison}
        bad = {number for _, number, poison in sent if poison}
        output = self.read(self.output, seconds=120)
        found = collections.Counter(identifier(m) for records in output.values() for m in records)
        self.assertEqual([n for n, times in found.items() if times > 1][:10], [], "twice in the output")
        self.assertEqual(sorted(good - found.keys())[:10], [], "lost")
        self.assertEqual(sorted(found.keys() - good)[:10], [], "out of nowhere")
        lost = collections.Counter(identifier(m) for records in self.read(letters, seconds=120).values() for m in records)
        self.assertEqual(lost, collections.Counter(bad), "dead letters")
        for partition, records in output.items():
            last = {}
            for m in records:
                self.assertLess(last.get(m.key(), -1), identifier(m), f"order of {m.key()} in partition {partition}")
                last[m.key()] = identifier(m)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    Chaos.options = parser.parse_args()
    print(f"seed {Chaos.options.seed}", flush=True)
    import unittest
    result = unittest.TextTestRunner(verbosity=2).run(Chaos())
    passed = result.wasSuccessful()
    print(f"cluster: {int(passed)} passed, {int(not passed)} failed")
    sys.exit(not passed)


if __name__ == "__main__":
    main()
