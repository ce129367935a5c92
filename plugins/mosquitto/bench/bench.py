"""What the plugin costs: brokers with and without it, measured in turns in one run. Prints a table of ratios.

    PLUGIN=…/mosquitto_wasm.so GUESTS=… python -B bench.py

Latency: a client on the loopback publishes a message and waits for it to come back, one at a time. Processor time:
that of the broker's thread for a message, while the client publishes many at once. Both with QoS 0, by plain sockets: a
client library would take longer than the broker.
"""

import statistics
import sys
import time
from pathlib import Path
from socket import IPPROTO_TCP, TCP_NODELAY, create_connection

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from broker import GUESTS, Broker  # noqa: E402

PAYLOAD = b'{"a": "1", "text": "' + b"x" * 78 + b'"}'
ROUNDS = 60
PINGS = 300
FLOOD = 2000


def transform(guest, *lines):
    return "\n".join(["wake signal", "transform t", f"module {GUESTS / guest}.wasm", "filter in/#", *lines]) + "\n"


def text(value):
    return len(value).to_bytes(2, "big") + value


def packet(kind, body):
    length, size = b"", len(body)
    while True:
        size, low = size >> 7, size & 127
        length += bytes([low | 128 if size else low])
        if not size:
            return bytes([kind]) + length + body


class Client:
    """As little of MQTT 3.1.1 as will do."""

    def __init__(self, port):
        self.socket = create_connection(("127.0.0.1", port))
        self.socket.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        self.buffer = b""
        self.socket.sendall(packet(0x10, text(b"MQTT") + b"\4\2\0\0" + text(b"bench")))
        self.receive()

    def receive(self):
        """The next packet's first byte and body."""
        while True:
            size = shift = 0
            for at, byte in enumerate(self.buffer[1:5], 2):
                size |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    if len(self.buffer) >= at + size:
                        kind, body = self.buffer[0], self.buffer[at : at + size]
                        self.buffer = self.buffer[at + size :]
                        return kind, body
                    break
            self.buffer += self.socket.recv(1 << 16)

    def subscribe(self, topic):
        self.socket.sendall(packet(0x82, b"\0\1" + text(topic) + b"\0"))
        while self.receive()[0] != 0x90:
            pass


def latency(client, topic):
    message = packet(0x30, text(topic) + PAYLOAD)
    times = []
    for _ in range(PINGS):
        begin = time.perf_counter_ns()
        client.socket.sendall(message)
        client.receive()
        times.append(time.perf_counter_ns() - begin)
    return times


def processor_time(broker, client, topic):
    """Nanoseconds of the broker's thread for a message."""
    spent = Path(f"/proc/{broker.process.pid}/task/{broker.process.pid}/schedstat")
    messages = packet(0x30, text(topic) + PAYLOAD) * 100
    begin = int(spent.read_text().split()[0])
    # Some at a time, so that neither side's buffer of the connection is full. All topics are of one length.
    for _ in range(FLOOD // 100):
        client.socket.sendall(messages)
        wanted = len(messages)
        while wanted > 0:
            wanted -= len(client.socket.recv(1 << 20))
    assert wanted == 0
    return (int(spent.read_text().split()[0]) - begin) / FLOOD


CASES = {
    # Its name, the plugin's configuration and the topics that are published and received.
    "no plugin": (None, b"in/x", b"in/x"),
    "plugin, other topic": (transform("c_identity"), b"no/x", b"no/x"),
    "identity": (transform("c_identity"), b"in/x", b"in/x"),
    "identity, other topic out": (transform("c_identity", "output o to/x"), b"in/x", b"to/x"),
    "filter of JSON in C++": (transform("cpp_filter", "env FILTER_FIELD=a", "env FILTER_VALUE=1"), b"in/x", b"in/x"),
}


def main():
    brokers, clients, times, costs = {}, {}, {}, {}
    try:
        for name, (configuration, _, receive) in CASES.items():
            broker = Broker(configuration, "set_tcp_nodelay true", log_type="error")
            brokers[name] = broker
            broker.listening()
            clients[name] = Client(broker.port)
            clients[name].subscribe(receive)
        for turn in range(ROUNDS + 1):
            for name, (_, publish, _) in CASES.items():
                pings = latency(clients[name], publish)
                cost = processor_time(brokers[name], clients[name], publish)
                if turn != 0:  # the first one warms up
                    times.setdefault(name, []).append(pings)
                    costs.setdefault(name, []).append(cost)
    finally:
        for broker in brokers.values():
            broker.stop()

    def percentile(number):
        return {name: [statistics.quantiles(each, n=100)[number - 1] for each in all] for name, all in times.items()}

    columns = {"latency, median": percentile(50), "99th percentile": percentile(99), "processor time": costs}
    print(f"| broker | {' | '.join(columns)} |\n|{' --- |' * (1 + len(columns))}")
    for name in CASES:
        cells = []
        for values in columns.values():
            # Ratios of one turn: what else the machine does falls on both.
            ratio = statistics.median(now / then for now, then in zip(values[name], values["no plugin"]))
            cells.append(f"{statistics.median(values[name]) / 1000:.1f} µs, × {ratio:.2f}")
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
