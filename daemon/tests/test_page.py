# SPDX-License-Identifier: Apache-2.0
"""The daemon's page in a browser, and the requests that it makes."""

import http.client
import re
import shutil
import subprocess
import threading
import time
import unittest

from transformd import Daemon, DaemonTest, unique

CHROMIUM = shutil.which("chromium")
BROWSER = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
           "--disable-component-update", "--disable-sync", "--hide-scrollbars"]


class Page(DaemonTest):
    def listening(self, *files):
        daemon = Daemon(self, *files, arguments=("--listen", "0"))
        daemon.wait_until(lambda: "listens on http://127.0.0.1:" in daemon.log, "it listens")
        daemon.port = int(re.search(r"listens on http://127.0.0.1:(\d+)", daemon.log)[1])
        return daemon

    def ask(self, daemon, target="/", **headers):
        connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=20)
        try:
            connection.request("GET", target, headers={name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.read().decode(), dict(answer.getheaders())
        finally:
            connection.close()

    def browse(self, daemon, *how):
        profile = self.directory / unique("profile")
        done = subprocess.run([CHROMIUM, *BROWSER, f"--user-data-dir={profile}", "--virtual-time-budget=4000", *how,
                               f"http://127.0.0.1:{daemon.port}/"], capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    @unittest.skipUnless(CHROMIUM, "wants Debian's chromium")
    def test_it_shows_transforms_partitions_errors_and_log_lines(self):
        self.topics(3)
        bad_in = f"{self.name}-bad-in"
        self.cluster.create_topic(bad_in)
        logging = self.write_file("c_logger")
        bad = self.directory / "bad.yaml"
        bad.write_text(logging.read_text().replace("c_logger", "rust_panic").replace(self.input, bad_in)
                       .replace(f"name: {self.name}", f"name: {self.name}-bad"))
        daemon = self.listening(logging, bad)
        daemon.wait_ready()
        self.produce([(f"k{i}", "<b>bold</b>") for i in range(30)])
        self.produce([(None, "boom")], topic=bad_in)
        daemon.wait_until(lambda: daemon.total(self.name, "records_in") == 30, "the records")
        daemon.wait_until(lambda: daemon.transform(f"{self.name}-bad")["state"] == "failed", "failed")
        page = self.browse(daemon, "--dump-dom")
        text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page.split("<main", 1)[1].split("<script", 1)[0]))
        for word in (self.name, "running", "failed", "boom, as the record asked", f"{self.input} 2", "records in 30", "3 partitions here",
                     "(guest)"):
            self.assertIn(word, text)
        self.assertIn("not ready", page)
        # What guests write is text and never becomes part of the page.
        self.assertNotIn("<b>bold</b>", page)

    def test_only_this_machine_may_look(self):
        self.topics(1)
        daemon = self.listening(self.write_file())
        for host in (f"127.0.0.1:{daemon.port}", "localhost", f"localhost:{daemon.port}", "[::1]:1", "127.8.9.10"):
            self.assertEqual(self.ask(daemon, Host=host)[0], 200, host)
        for host in ("evil.example", "127.0.0.1.evil.example:80", "192.168.0.1"):
            self.assertEqual(self.ask(daemon, "/transforms", Host=host)[0], 403, host)
        self.assertEqual(self.ask(daemon, "/transforms", Origin="http://evil.example")[0], 403)
        status, page, headers = self.ask(daemon)
        self.assertEqual((status, headers["Content-Type"]), (200, "text/html; charset=utf-8"))
        self.assertIn("default-src 'self'", headers["Content-Security-Policy"])
        self.assertNotIn("http://", page.replace("http://www.w3.org", ""))

    def test_logs_are_followed(self):
        self.topics(1)
        daemon = self.listening(self.write_file("c_logger", extra="workers: 1"))
        daemon.wait_ready()
        path = f"/transforms/{self.name}/logs"
        daemon.wait_assigned(self.name, 1)
        lines = daemon.request("GET", path)[1]["lines"]
        last = lines[-1]["number"]
        started = time.monotonic()
        self.assertEqual(daemon.request("GET", f"{path}?from={last + 1}&wait=1")[1]["lines"], [])
        self.assertGreaterEqual(time.monotonic() - started, 0.9)
        found = []
        follower = threading.Thread(target=lambda: found.extend(daemon.request("GET", f"{path}?from={last + 1}&wait=15")[1]["lines"]))
        follower.start()
        self.produce([("k", "v")])
        follower.join()
        self.assertTrue(found)
        self.assertGreater(found[0]["number"], last)
        at = found[0]["time_ms"]
        self.assertEqual(daemon.request("GET", f"{path}?since={at + 3_600_000}")[1]["lines"], [])
        self.assertIn(found[0], daemon.request("GET", f"{path}?since={at}")[1]["lines"])
        for query in ("from=x", "since=-1", "wait=61"):
            self.assertEqual(daemon.request("GET", f"{path}?{query}")[0], 400, query)


if __name__ == "__main__":
    unittest.main(verbosity=2)
