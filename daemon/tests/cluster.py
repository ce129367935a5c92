# SPDX-License-Identifier: Apache-2.0
"""`make test-cluster`: three brokers, three daemons, eight partitions and faults at random.

    cluster.py [--seconds 600] [--seed N]

A producer writes records with keys and ids all the time. Each daemon has two transforms, with guests in Rust and Go.
Meanwhile daemons are killed, stopped past their sessions, started and ended, paused, given another module and a log
without room, brokers are killed, and poison records come. At the end every id is exactly once in the output or in the
dead letters, and in order per key. Then the same input goes through new groups without faults: for each key the output
has the same bytes. The seed is printed: it decides which faults come in which order."""

import argparse
import collections
import os
import pathlib
import random
import signal
import sys
import threading
import time
import unittest

from confluent_kafka import Producer

import transformd

PARTITIONS = 8
KEYS = 200
POISON_EVERY = 5000
FAULTS = ["kill", "kill", "stop", "leave", "broker", "pause", "deploy", "log"]


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


def identifier(message):
    return int(dict(message.headers())["id"])


def by_key(output):
    """What each key has, in order: partition, value, headers and timestamp."""
    found = collections.defaultdict(list)
    for partition, records in output.items():
        for m in records:
            found[m.key()].append((partition, m.value(), m.headers(), m.timestamp()))
    return found


def another_module(module, number):
    """The same code in other bytes: a custom section more."""
    payload = b"\x04test" + f"{number:08}".encode()
    return module + b"\x00" + bytes([len(payload)]) + payload


class Chaos(transformd.DaemonTest):
    NODES = 3

    def runTest(self):
        self.random = random.Random(self.options.seed)
        self.topics(PARTITIONS)
        self.files, self.letters = self.transforms(self.name)
        self.go_output = f"{self.name}-go-out"
        self.daemons = [transformd.Daemon(self, *self.files) for _ in range(3)]
        for daemon in self.daemons:
            daemon.wait_ready()
        feed = Feed(self.cluster.bootstrap, self.input)
        feed.start()
        done = collections.Counter()
        deadline = time.monotonic() + self.options.seconds
        while time.monotonic() < deadline:
            time.sleep(self.random.uniform(1, 5))
            fault = self.random.choice(FAULTS)
            # Of a daemon without the request for it: none.
            done[fault] += getattr(self, f"do_{fault}")(self.random.randrange(3)) is not False
        feed.finish()
        self.assertEqual(feed.failures, 0, "the producer lost records: the cluster was down for too long")
        for name in (self.name, f"{self.name}-go"):
            self.wait_for_the_end(name, self.daemons)
        self.judge(feed.sent)
        for daemon in self.daemons:
            self.assertEqual(daemon.stop(), 0, daemon.log[-3000:])
        self.compare()
        print(f"seed {self.options.seed}: {len(feed.sent)} records, faults: {dict(sorted(done.items()))}")

    def transforms(self, name):
        """The files of a transform in Rust that fails at poison, and of one in Go. And the topic of dead letters."""
        letters = f"{name}-letters"
        self.cluster.create_topic(letters, 1)
        for output in (f"{name}-out", f"{name}-go-out"):
            if output != self.output:
                self.cluster.create_topic(output, PARTITIONS)
        client = {"transaction.timeout.ms": 8000}
        return [self.write_file("rust_panic", extra=f"on-error: {{dead-letter-topic: {letters}}}", name=name, client=client,
                                topics=(self.input, f"{name}-out")),
                self.write_file("go_identity", name=f"{name}-go", client=client,
                                topics=(self.input, f"{name}-go-out"))], letters

    def start(self, at, stderr=None):
        self.daemons[at] = transformd.Daemon(self, *self.files, stderr=stderr)

    def do_kill(self, at):
        self.daemons[at].kill()
        self.start(at)

    def do_stop(self, at):
        self.daemons[at].process.send_signal(signal.SIGSTOP)
        time.sleep(9)  # longer than its session
        self.daemons[at].process.send_signal(signal.SIGCONT)

    def do_leave(self, at):
        self.assertEqual(self.daemons[at].stop(), 0, self.daemons[at].log)
        self.start(at)

    def do_broker(self, at):
        node = self.cluster.nodes[at]
        node.kill()
        time.sleep(self.random.uniform(1, 4))
        node.start()
        time.sleep(8)  # so that two are in step again before the next one goes

    def do_pause(self, at):
        for what in ("pause", "resume"):
            self.try_request(at, what)
            time.sleep(1)

    def do_deploy(self, at):
        """False if the daemon has no such request."""
        number = self.random.randrange(1 << 20)
        # A module is larger than what a daemon takes that has no use for it: it is asked first.
        if self.try_request(at, "deploy", body=b"")[0] == 404:
            return False
        for name, guest in ((self.name, "rust_panic"), (f"{self.name}-go", "go_identity")):
            module = pathlib.Path(transformd.guest(guest)).read_bytes()
            self.try_request(at, "deploy", name, another_module(module, number))
        return True

    def do_log(self, at):
        """The log's disk is full, or nobody reads the pipe that it goes to."""
        self.daemons[at].kill()
        if self.random.random() < 0.5:
            with open("/dev/full", "wb") as full:
                self.start(at, full)
        else:
            reading, writing = os.pipe()
            self.addCleanup(os.close, reading)
            self.start(at, writing)
            os.close(writing)

    def try_request(self, at, what, name=None, body=None):
        """The status and the answer. A daemon that was started a moment ago may not listen yet."""
        try:
            return self.daemons[at].request("POST", f"/transforms/{name or self.name}/{what}", body)
        except OSError:
            return 0, ""

    def wait_for_the_end(self, name, daemons):
        """Kafka counts the markers of transactions, too; there are none in the input."""
        ends = self.end_offsets(self.input)
        deadline = time.monotonic() + 180
        while (positions := self.committed(group=f"wasm-transform-{name}")) != ends:
            if time.monotonic() > deadline:
                logs = "\n".join(daemon.log[-3000:] for daemon in daemons)
                self.fail(f"{name} is not at the end: {positions} of {ends}\n{logs}")
            time.sleep(0.5)

    def judge(self, sent):
        everything = {number for _, number, _ in sent}
        bad = {number for _, number, poison in sent if poison}
        self.judge_output(self.output, everything - bad)
        self.judge_output(self.go_output, everything)
        lost = collections.Counter(identifier(m) for records in self.read(self.letters, seconds=120).values()
                                   for m in records)
        self.assertEqual(lost, collections.Counter(bad), "dead letters")

    def judge_output(self, topic, good):
        output = self.read(topic, seconds=120)
        found = collections.Counter(identifier(m) for records in output.values() for m in records)
        self.assertEqual([n for n, times in found.items() if times > 1][:10], [], f"twice in {topic}")
        self.assertEqual(sorted(good - found.keys())[:10], [], f"lost: not in {topic}")
        self.assertEqual(sorted(found.keys() - good)[:10], [], f"out of nowhere: in {topic}")
        for partition, records in output.items():
            last = {}
            for m in records:
                self.assertLess(last.get(m.key(), -1), identifier(m), f"order of {m.key()} in {topic}/{partition}")
                last[m.key()] = identifier(m)

    def compare(self):
        """The same input again, by one daemon that nothing happens to."""
        again = f"{self.name}-again"
        files, letters = self.transforms(again)
        daemon = transformd.Daemon(self, *files)
        for name in (again, f"{again}-go"):
            self.wait_for_the_end(name, [daemon])
        self.assertEqual(daemon.stop(), 0, daemon.log[-3000:])
        for before, after in ((self.output, f"{again}-out"), (self.go_output, f"{again}-go-out")):
            one, other = by_key(self.read(before, seconds=120)), by_key(self.read(after, seconds=120))
            self.assertEqual(one.keys(), other.keys())
            for key, records in one.items():
                self.assertTrue(records == other[key], f"{key} differs in {before} and {after}")
        values = lambda topic: sorted((m.key(), m.value(), identifier(m)) for records in self.read(topic, seconds=120).values()
                                      for m in records)
        self.assertEqual(values(self.letters), values(letters))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    Chaos.options = parser.parse_args()
    print(f"seed {Chaos.options.seed}", flush=True)
    result = unittest.TextTestRunner(verbosity=2).run(Chaos())
    passed = result.wasSuccessful()
    print(f"cluster: {int(passed)} passed, {int(not passed)} failed")
    sys.exit(not passed)


if __name__ == "__main__":
    main()
