# SPDX-License-Identifier: Apache-2.0
"""`make demo-kafka`: the daemon with two transforms on a broker of its own, and what comes out.

    demo.py DAEMON GUESTS CARS     CARS is the file with the data, cars.json of PyPI's vega_datasets"""

import datetime
import http.client
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

from confluent_kafka import Consumer, Producer, TopicPartition

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "tests"))
from kafka_cluster import Cluster  # noqa: E402

FILES = {
    "redact.yaml": """\
name: redact
input-topic: cars-raw
output-topics: [cars-redacted]
env: {{KEEP_FIELD: Miles_per_Gallon, REDACT_FIELDS: "Name,Year"}}
module: {guests}/rust_redact.wasm
brokers: {brokers}
""",
    "rekey.yaml": """\
name: rekey
input-topic: cars-raw
output-topics: [cars, strong-cars]
env: {{REKEY_FIELD: Origin, ROUTE_FIELD: Horsepower, ROUTE_MIN: "150"}}
module: {guests}/go_rekey.wasm
brokers: {brokers}
""",
}
OUTPUTS = ("cars-redacted", "cars", "strong-cars")


def title(text):
    print(f"\n== {text}\n", flush=True)


def command(text):
    print(f"$ {text}", flush=True)


def feed(brokers, cars):
    producer = Producer({"bootstrap.servers": brokers, "enable.idempotence": True})
    for car in cars:
        year = datetime.datetime.fromisoformat(car["Year"]).replace(tzinfo=datetime.timezone.utc)
        producer.produce("cars-raw", key=car["Name"], value=json.dumps(car), timestamp=int(year.timestamp() * 1000))
    if producer.flush(30) != 0:
        sys.exit("demo: the broker did not take the data")


def read(brokers, topic, partitions):
    """What is committed, to the end."""
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "demo", "isolation.level": "read_committed",
                         "enable.partition.eof": True})
    consumer.assign([TopicPartition(topic, p, 0) for p in range(partitions)])
    found, ends = [], 0
    while ends < partitions:
        for message in consumer.consume(500, 1):
            if message.error() is None:
                found.append(message)
            else:
                ends += 1
    consumer.close()
    return found


class Requests:
    """HTTP to the daemon."""

    def __init__(self, port):
        self._port = port

    def get(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def wait_until(self, process, condition):
        deadline = time.monotonic() + 60
        while True:
            try:
                if condition():
                    return
            except OSError:
                pass
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit("demo: the daemon does not do its work")
            time.sleep(0.1)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def show(daemon, guests, cars, directory, cluster):
    brokers, partitions = cluster.bootstrap, 4
    for topic in ("cars-raw", *OUTPUTS):
        cluster.create_topic(topic, partitions)
    title("Two transforms, a guest in Rust and one in Go, read the same topic")
    for name, text in FILES.items():
        (directory / name).write_text(text.format(guests=guests, brokers=brokers))
        command(f"cat {name}")
        print((directory / name).read_text().replace(str(guests), "guests"))
    port = free_port()
    requests = Requests(port)
    command(f"wasm-transformd redact.yaml rekey.yaml --listen {port} &")
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen([str(daemon), *FILES, "--listen", str(port), "--threads", "2"], cwd=directory,
                                   stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        requests.wait_until(process, lambda: requests.get("/readyz") == "ready\n")
        title(f"{len(cars)} cars of the years 1970 to 1982 go into the topic cars-raw")
        print(json.dumps(cars[0])[:180])
        feed(brokers, cars)
        states = lambda: json.loads(requests.get("/transforms"))["transforms"]
        requests.wait_until(process, lambda: all(sum(w["records_in"] for w in t["workers"]) == len(cars) for t in states()))
        for topic, text in zip(OUTPUTS, ("Without unknown mileages, two fields masked", "The origin is the key",
                                         "Those with 150 horsepowers have a topic of their own")):
            found = read(brokers, topic, partitions)
            title(f"{text}: {topic}, {len(found)} records, exactly once")
            for message in found[:2]:
                print(f"{message.key().decode()}: {message.value().decode()}"[:180])
            if not found or (topic == "cars-redacted" and any(b'"Name":"***"' not in m.value() for m in found)):
                sys.exit(f"demo: {topic} is not what it should be")
        title("The state")
        command(f"curl localhost:{port}/transforms")
        for t in states():
            t["workers"] = [w for w in t["workers"] if w["partitions"]][:1]  # enough to read
            print(json.dumps({key: t[key] for key in ("name", "state", "guarantee", "workers")}))
        if picture := os.environ.get("PICTURE"):
            draw(port, picture)
        title("The metrics")
        command(f"curl localhost:{port}/metrics | grep records_")
        print("\n".join(line for line in requests.get("/metrics").splitlines() if line.startswith("wasm_transformd_records_")))
    finally:
        process.terminate()
        code = process.wait(90)
    title("The end")
    command("kill %1")
    print("\n".join((directory / "log").read_text().splitlines()[-2:]))
    if code != 0:
        sys.exit(f"demo: the daemon ended with {code}")


def draw(port, picture):
    """A picture of the page for the documents, by Debian's chromium."""
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars",
                        "--disable-background-networking", f"--user-data-dir={profile}", "--virtual-time-budget=3000",
                        "--window-size=1000,760", f"--screenshot={pathlib.Path(picture).resolve()}", f"http://127.0.0.1:{port}/"],
                       check=True, capture_output=True)


def main():
    daemon, guests, cars = (pathlib.Path(argument).resolve() for argument in sys.argv[1:])
    title("A broker of Apache Kafka on the loopback")
    with tempfile.TemporaryDirectory() as directory, Cluster() as cluster:
        command(f"echo {cluster.bootstrap}")
        print(cluster.bootstrap)
        show(daemon, guests, json.loads(cars.read_text()), pathlib.Path(directory), cluster)
    print("\nMore: docs/transformd.md")


if __name__ == "__main__":
    main()
