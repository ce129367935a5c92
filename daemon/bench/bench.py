# SPDX-License-Identifier: Apache-2.0
"""`make bench-kafka`: from topic to topic, beside librdkafka alone and beside Kafka Streams, on one broker.

    bench.py --daemon FILE --copy FILE --streams DIRECTORY --guest FILE --out DIRECTORY [--rounds N] [--scale F] [--only PART]

The contenders take turns on the same input, each with a new group and a new output topic. What is counted begins when a
contender has a fifth of the input behind it: Java compiles in the beginning. Records per second are those of the machine
with its broker. Records per second and core are records by the contender's own processor time, and say more."""

import argparse
import json
import os
import pathlib
import platform
import statistics
import sys
import tempfile
import threading
import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests"))
from contenders import Place  # noqa: E402
from kafka_cluster import Cluster  # noqa: E402
from report import markdown  # noqa: E402

CONTENDERS = ("daemon", "copy", "streams")
PARTITIONS = 4


class Bench:
    def __init__(self, cluster, place):
        self.cluster = cluster
        self.place = place
        self._topics = 0

    def topic(self, partitions):
        self._topics += 1
        name = f"bench-{self._topics}"
        self.cluster.create_topic(name, partitions, retention_ms=-1)
        return name

    def fill(self, topic, count, size):
        """Records with keys of ten bytes. `size` is that of a value."""
        producer = Producer({"bootstrap.servers": self.cluster.bootstrap, "linger.ms": 20, "partitioner": "murmur2_random",
                             "batch.size": 1 << 20, "queue.buffering.max.messages": 1000000})
        value = os.urandom(size // 2).hex().encode().ljust(size, b"x")
        for i in range(count):
            while True:
                try:
                    producer.produce(topic, key=b"key-%06d" % (i % 10_000), value=value)
                    break
                except BufferError:
                    producer.poll(0.1)
            if i % 1000 == 0:
                producer.poll(0)
        if producer.flush(120) != 0:
            raise RuntimeError("the broker did not take the input")

    def throughput(self, name, inputs, partitions, count, guarantee):
        """One run: `count` records in all of `inputs` together, each of `partitions` partitions."""
        outputs = [self.topic(partitions) for _ in inputs]
        contender = self.place.start(name, inputs, outputs, guarantee)
        watchers = [Consumer({"bootstrap.servers": self.cluster.bootstrap,
                              "group.id": contender.group + ("" if i == 0 else f"-{i}")}) for i in range(len(inputs))]
        places = [[TopicPartition(topic, p) for p in range(partitions)] for topic in inputs]
        try:
            first = None
            begun = time.monotonic()
            while True:
                try:
                    done = sum(max(p.offset, 0) for watcher, at in zip(watchers, places) for p in watcher.committed(at, timeout=60))
                except KafkaException as e:  # the broker makes the topic of positions at the first question
                    if not e.args[0].retriable() and e.args[0].name() != "NOT_COORDINATOR":
                        raise
                    continue
                now, cpu = time.monotonic(), contender.cpu()
                if first is None and done >= count / 5:
                    first = now, cpu, done
                if done >= count:
                    break
                contender.check()
                if now - begun > 300:
                    raise RuntimeError(f"{name} is slow: {done} of {count} records")
                time.sleep(0.02)
            if first[2] == done:  # everything in one commit: its start is counted, too
                first = begun, 0, 0
            seconds, used, records = now - first[0], cpu - first[1], done - first[2]
            return {"records_per_second": records / seconds, "records_per_core_second": records / max(used, 0.01),
                    "cores": used / seconds, "memory_mib": contender.memory()}
        finally:
            contender.stop()
            for watcher in watchers:
                watcher.close()
            for topic in outputs:
                self.cluster.delete_topic(topic)

    def latency(self, name, rate, seconds, guarantee, size=100):
        """Milliseconds from `produce` to a reader of committed records, at a fixed rate. The rate begins when the contender has
        copied a first record: what came while it joined its group would stand in line before what is measured."""
        source, target = self.topic(PARTITIONS), self.topic(PARTITIONS)
        contender = self.place.start(name, [source], [target], guarantee)
        reader = Consumer({"bootstrap.servers": self.cluster.bootstrap, "group.id": "reader", "auto.offset.reset": "earliest",
                           "isolation.level": "read_committed", "fetch.wait.max.ms": 5})
        reader.assign([TopicPartition(target, p, 0) for p in range(PARTITIONS)])
        producer = Producer({"bootstrap.servers": self.cluster.bootstrap, "linger.ms": 1})
        stopping, joined = threading.Event(), threading.Event()

        def feed():
            number, begun, at = 0, time.monotonic(), 10
            while not stopping.is_set():
                if joined.is_set() and at != rate:
                    number, begun, at = 0, time.monotonic(), rate
                while number < (time.monotonic() - begun) * at:
                    producer.produce(source, key=b"%d" % (number % 1000), value=(b"%d" % time.time_ns()).ljust(size))
                    number += 1
                producer.poll(0)
                time.sleep(0.002)

        feeder = threading.Thread(target=feed)
        feeder.start()
        found, warm_at, end = [], None, time.monotonic() + 120
        cpu = None
        try:
            while time.monotonic() < end:
                for message in reader.consume(500, 0.01):
                    if message.error() is None:
                        now = time.time_ns()
                        if warm_at is None:
                            joined.set()
                            warm_at = time.monotonic() + 5
                            end = warm_at + seconds
                        elif time.monotonic() >= warm_at:
                            cpu = cpu or (time.monotonic(), contender.cpu())
                            found.append((now - int(message.value().split()[0])) / 1e6)
                contender.check()
            used = (contender.cpu() - cpu[1]) / (time.monotonic() - cpu[0])
        finally:
            stopping.set()
            feeder.join()
            producer.flush(10)
            reader.close()
            contender.stop()
            for topic in (source, target):
                self.cluster.delete_topic(topic)
        found.sort()
        at = lambda part: found[min(int(len(found) * part), len(found) - 1)]
        return {"p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": found[-1], "records": len(found), "cores": used}


def middle(rows):
    """The median of each figure of several runs, and how far the runs are apart."""
    out = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
    out["runs"] = rows
    return out


def take_turns(rounds, contenders, run, say):
    """Each round begins with another contender. The first run of all is not counted: the broker compiles its code meanwhile."""
    rows = {name: [] for name in contenders}
    run(contenders[-1])
    for begin in range(rounds):
        for i in range(len(contenders)):
            name = contenders[(begin + i) % len(contenders)]
            rows[name].append(run(name))
            say(name, rows[name][-1])
    return {name: middle(found) for name, found in rows.items()}


def measure(bench, options):
    results = {"throughput": [], "latency": [], "partitions": [], "transforms": []}
    wanted = lambda part: not options.only or part in options.only
    show = lambda what: lambda name, row: print(f"{what}, {name}: " + ", ".join(f"{k} {v:,.1f}" for k, v in row.items()), flush=True)
    if wanted("throughput"):
        for size, count in ((100, 1_500_000), (1024, 400_000)):
            count = int(count * options.scale)
            source = bench.topic(PARTITIONS)
            bench.fill(source, count, size)
            for guarantee in ("exactly-once", "at-least-once"):
                found = take_turns(options.rounds, CONTENDERS,
                                   lambda name: bench.throughput(name, [source], PARTITIONS, count, guarantee),
                                   show(f"{size} B, {guarantee}"))
                results["throughput"].append({"size": size, "guarantee": guarantee, "records": count, "contenders": found})
            bench.cluster.delete_topic(source)
    if wanted("latency"):
        for guarantee in ("exactly-once", "at-least-once"):
            found = take_turns(options.rounds, CONTENDERS,
                               lambda name: bench.latency(name, options.rate, 10 * options.scale, guarantee),
                               show(f"latency, {guarantee}"))
            results["latency"].append({"guarantee": guarantee, "rate": options.rate, "contenders": found})
    count = int(1_200_000 * options.scale)
    if wanted("partitions"):
        for partitions in (1, 4, 16):
            source = bench.topic(partitions)
            bench.fill(source, count, 100)
            found = take_turns(options.rounds, ("daemon", "copy"),
                               lambda name: bench.throughput(name, [source], partitions, count, "exactly-once"),
                               show(f"{partitions} partitions"))
            results["partitions"].append({"partitions": partitions, "contenders": found})
            bench.cluster.delete_topic(source)
    if wanted("transforms"):
        for transforms in (1, 4, 16):
            sources = [bench.topic(1) for _ in range(transforms)]
            for source in sources:
                bench.fill(source, count // transforms, 100)
            found = take_turns(options.rounds, ("daemon",), lambda name: bench.throughput(
                name, sources, 1, count // transforms * transforms, "exactly-once"), show(f"{transforms} transforms"))
            results["transforms"].append({"transforms": transforms, "contenders": found})
            for source in sources:
                bench.cluster.delete_topic(source)
    return results


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def main():
    parser = argparse.ArgumentParser()
    for name in ("daemon", "copy", "streams", "guest", "out"):
        parser.add_argument(f"--{name}", type=pathlib.Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1, help="of records and seconds")
    parser.add_argument("--rate", type=int, default=2000, help="records a second for the latency")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--interval", type=int, default=100, help="commit interval in milliseconds")
    parser.add_argument("--only", action="append", choices=["throughput", "latency", "partitions", "transforms"])
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    load = os.getloadavg()
    with tempfile.TemporaryDirectory() as directory, Cluster(java=("-Xmx1g",)) as cluster:
        place = Place(pathlib.Path(directory), cluster.bootstrap, options.daemon, options.copy, options.streams, options.guest,
                      options.threads, options.interval)
        place.compile()
        results = measure(Bench(cluster, place), options)
    results["machine"] = {"date": time.strftime("%Y-%m-%d"), "processor": processor(), "cores": os.cpu_count(),
                          "load_before": load[0], "load_after": os.getloadavg()[0], "threads": options.threads,
                          "interval_ms": options.interval, "rounds": options.rounds, "guest": options.guest.stem}
    (options.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (options.out / "table.md").write_text(markdown(results))
    print(markdown(results))


if __name__ == "__main__":
    main()
