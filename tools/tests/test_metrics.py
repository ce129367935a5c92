# SPDX-License-Identifier: Apache-2.0
"""wasm-transform run --metrics-listen: what is served, to whom, and who cannot disturb it."""

import contextlib
import http.client
import re
import shutil
import socket
import subprocess
import time
import urllib.parse

from tool import TOOL, USAGE, OTHER, ToolTest, guest, main


class Served(ToolTest):
    """A run that waits for input, with its metrics."""

    def begin(self, listen="0", *arguments):
        process = subprocess.Popen(
            [TOOL, "run", guest("c_identity"), "--name", 'a "b"', "--batch-size", "1", "--metrics-listen", listen,
             *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.addCleanup(self.finish, process)
        line = process.stderr.readline().decode()
        found = re.fullmatch(r"wasm-transform: metrics are at (http://\S+/metrics)\n", line)
        self.assertIsNotNone(found, line)
        self.process, self.url = process, found.group(1)
        parts = urllib.parse.urlsplit(self.url)
        self.address = (parts.hostname, parts.port)
        return process

    @staticmethod
    def finish(process):
        if process.stdin.closed:
            process.stdin = None  # communicate() would flush it
        with contextlib.suppress(BrokenPipeError):
            process.communicate(timeout=60)

    def feed(self, *lines):
        """Each line is a batch; returns when all came out."""
        for line in lines:
            self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()
        for line in lines:
            self.assertEqual(self.process.stdout.readline().decode(), line + "\n")

    def curl(self, *arguments, url=None):
        ended = subprocess.run(
            ["curl", "-sS", "--max-time", "60", *arguments, url or self.url], capture_output=True, check=False
        )
        self.assertEqual(ended.returncode, 0, ended.stderr)
        return ended.stdout.decode()

    def connect(self):
        client = socket.create_connection(self.address, timeout=60)
        self.addCleanup(client.close)
        return client

    def test_curl_gets_the_metrics_of_the_run(self):
        self.begin()
        self.feed("a", "b", "c")
        head = self.curl("-D", "-", "-o", "/dev/null")
        self.assertRegex(head, r"^HTTP/1.1 200 OK\r\n")
        self.assertIn("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n", head)
        text = self.curl()
        self.assertIn('wasm_transform_engines{transform="a \\"b\\"",shard="0"} 1\n', text)
        # What came out was counted at the end of its poll, so only the last one may still be missing.
        count = int(re.search(r"^wasm_input_records_total\{.*\} (\d+)$", text, re.MULTILINE).group(1))
        self.assertIn(count, (2, 3))
        if shutil.which("promtool"):
            subprocess.run(["promtool", "check", "metrics"], input=text.encode(), check=True)
        self.process.stdin.close()
        self.assertEqual(self.process.wait(timeout=60), 0)
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(self.address, timeout=60)

    def test_head_has_no_body_and_queries_are_fine(self):
        self.begin()
        head = self.curl("-I")
        self.assertGreater(int(re.search(r"Content-Length: (\d+)", head).group(1)), 100)
        self.feed("a")  # then there is an engine
        self.assertIn("wasm_engines 1\n", self.curl(url=self.url + "?x=y"))

    def test_each_thread_is_a_shard(self):
        self.begin("0", "--threads", "3")
        shards, end = set(), time.monotonic() + 60
        while len(shards) < 3 and time.monotonic() < end:  # the threads are just beginning
            shards = set(re.findall(r'^wasm_transform_engines\{.*,shard="(\d+)"\} 1$', self.curl(), re.MULTILINE))
        self.assertEqual(shards, {"0", "1", "2"})

    def test_listens_where_it_is_told(self):
        for listen, host in (("127.0.0.2:0", "127.0.0.2"), ("[::1]:0", "::1")):
            with self.subTest(listen):
                if host == "::1" and not has_ipv6():
                    self.skipTest("no IPv6 here")
                self.begin(listen)
                self.assertEqual(self.address[0], host)
                self.assertIn("wasm_engines", self.curl("-g"))

    def test_requests_that_are_no_good_get_an_answer(self):
        self.begin()
        long = b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 20_000
        for request, status in (
            (b"GET / HTTP/1.1\r\n\r\n", 404),
            (b"GET /metricsx HTTP/1.1\r\n\r\n", 404),
            (b"POST /metrics HTTP/1.1\r\nContent-Length: 1\r\n\r\nx", 405),
            (b"nonsense\r\n\r\n", 400),
            (b" \r\n\r\n", 400),
            (b"\r\n\r\n", 400),
            (b"GET  HTTP/1.1\r\n\r\n", 400),
            (b"GET /metrics\r\n\r\n", 400),
            (b"\x16\x03\x01\x02\x00\x01\xff\r\n\r\n", 400),
            (b"GET /metrics HTTP/1.0\n\n", 200),
            (long, 431),
        ):
            with self.subTest(request[:40]):
                client = self.connect()
                client.sendall(request)
                answer = http.client.HTTPResponse(client)
                answer.begin()
                self.assertEqual(answer.status, status)
                self.assertEqual(len(answer.read()), int(answer.headers["Content-Length"]))
        self.assertIn("wasm_engines", self.curl())

    def test_a_request_may_come_in_pieces(self):
        self.begin()
        client = self.connect()
        for byte in b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n":
            client.sendall(bytes([byte]))
        self.assertEqual(client.recv(15), b"HTTP/1.1 200 OK")

    def test_clients_that_say_nothing_hold_up_nobody_and_are_sent_away(self):
        self.begin()
        silent = [self.connect() for _ in range(100)]
        half = self.connect()
        half.sendall(b"GET /metrics HTT")
        gone = self.connect()
        gone.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        gone.close()
        self.feed("the run goes on")
        self.assertIn("wasm_engines", self.curl())
        for client in silent:
            self.assertEqual(client.recv(1), b"")

    def test_the_end_of_the_run_waits_for_no_client(self):
        self.begin()
        clients = [self.connect() for _ in range(40)]
        self.feed("x")
        self.process.stdin.close()
        self.assertEqual(self.process.wait(timeout=60), 0)
        for client in clients:
            with contextlib.suppress(ConnectionResetError):
                self.assertEqual(client.recv(1), b"")


class Refused(ToolTest):
    def test_addresses_that_are_none(self):
        for listen in ("", "x", ":1", "1:2:3", "127.0.0.1:", "127.0.0.1:65536", "localhost:1", "-1", "1 "):
            with self.subTest(listen):
                ended = self.run_guest("c_identity", f"--metrics-listen={listen}", code=USAGE)
                self.assertIn("--metrics-listen", ended.stderr)

    def test_a_port_that_is_taken(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            ended = self.run_guest("c_identity", "--metrics-listen", port, code=OTHER)
            self.assertIn(f"--metrics-listen 127.0.0.1:{port}: cannot listen: Address already in use", ended.stderr)


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
        return True
    except OSError:
        return False


if __name__ == "__main__":
    main()
