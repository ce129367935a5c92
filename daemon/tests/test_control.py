# SPDX-License-Identifier: Apache-2.0
"""Requests, metrics and what happens when something is missing, against a real broker."""

import json
import pathlib
import subprocess
import time
import unittest

from transformd import Daemon, DaemonTest, guest


class Control(DaemonTest):
    def test_requests_have_the_answers_that_the_page_lists(self):
        self.topics(2)
        daemon = Daemon(self, self.write_file())
        daemon.wait_ready()
        self.produce([("k", f"{i}") for i in range(10)])
        daemon.wait_until(lambda: daemon.total(self.name, "records_in") == 10, "all records")
        self.assertEqual(daemon.request("GET", "/healthz"), (200, "ok\n"))
        self.assertEqual(daemon.request("GET", "/readyz"), (200, "ready\n"))
        status, everything = daemon.request("GET", "/transforms")
        self.assertEqual((status, [t["name"] for t in everything["transforms"]]), (200, [self.name]))
        one = daemon.transform(self.name)
        self.assertEqual((one["state"], one["input_topic"], one["guarantee"]), ("running", self.input, "exactly-once"))
        self.assertEqual(len(one["module_sha256"]), 64)
        daemon.wait_until(lambda: sum(p["position"] or 0 for w in daemon.transform(self.name)["workers"]
                                      for p in w["partitions"]) == 10, "positions add up")
        text = daemon.request("GET", "/metrics")[1]
        self.assertIn(f'wasm_transformd_records_in_total{{transform="{self.name}"}} 10\n', text)
        self.assertIn(f'wasm_transformd_workers{{transform="{self.name}",state="running"}} 2\n', text)
        self.assertIn("# TYPE wasm_transformd_lag gauge\n", text)
        checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
        self.assertEqual((checked.returncode, checked.stderr), (0, ""))

    def test_faults_of_requests(self):
        self.topics(1)
        daemon = Daemon(self, self.write_file())
        daemon.wait_until(daemon.socket.exists, "the socket")
        for method, target, status in [("GET", "/nothing", 404), ("GET", "/transforms/nobody", 404),
                                       ("GET", f"/transforms/{self.name}/nothing", 404),
                                       ("GET", f"/transforms/{self.name}/pause", 405), ("POST", "/healthz", 405),
                                       ("POST", f"/transforms/{self.name}", 405), ("GET", "/%00", 404)]:
            got, answer = daemon.request(method, target)
            self.assertEqual(got, status, target)
            self.assertTrue(answer["error"])
        self.assertEqual(daemon.socket.stat().st_mode & 0o777, 0o600)
        self.assertEqual(daemon.stop(), 0, daemon.log)
        self.assertFalse(daemon.socket.exists())

    def test_stop_ends_one_transform(self):
        self.topics(1)
        daemon = Daemon(self, self.write_file())
        daemon.wait_ready()
        self.assertEqual(daemon.request("POST", f"/transforms/{self.name}/stop")[0], 202)
        daemon.wait_until(lambda: daemon.transform(self.name)["state"] == "stopped", "stopped")
        self.assertEqual(daemon.request("GET", "/readyz")[0], 503)
        self.assertEqual(daemon.request("GET", "/healthz")[0], 200)

    def test_a_module_that_is_refused_is_told_in_the_state(self):
        self.topics(1)
        for module, word in [("wat_no_abi", "transform"), ("wat_unknown_import", "import")]:
            daemon = Daemon(self, self.write_file(module))
            daemon.wait_until(lambda d=daemon: d.transform(self.name)["state"] == "failed", "failed")
            self.assertIn(word, daemon.transform(self.name)["error"])
            self.assertIn(self.name, daemon.request("GET", "/readyz")[1])
            self.assertEqual(daemon.stop(), 0, daemon.log)

    def test_another_module_than_the_file_wants_is_refused(self):
        self.topics(1)
        daemon = Daemon(self, self.write_file(extra=f"module-sha256: {'0' * 64}"))
        daemon.wait_until(lambda: daemon.transform(self.name)["state"] == "failed", "failed")
        self.assertIn("SHA-256", daemon.transform(self.name)["error"])

    def test_the_guests_lines_are_in_the_log(self):
        self.topics(1)
        daemon = Daemon(self, self.write_file("c_logger"))
        daemon.wait_ready()
        self.produce([("k", "v")])
        path = f"/transforms/{self.name}/logs"
        mine = lambda: [line for line in daemon.request("GET", path)[1]["lines"] if line["source"] == "guest"]
        daemon.wait_until(mine, "a line of the guest")
        last = mine()[-1]["number"]
        self.assertEqual(daemon.request("GET", f"{path}?from={last + 1}")[1]["lines"], [])

    def test_it_waits_for_topics_and_for_the_cluster(self):
        daemon = Daemon(self, self.write_file(client={"topic.metadata.refresh.interval.ms": 500}))
        daemon.wait_until(daemon.socket.exists, "the socket")
        time.sleep(2)
        self.topics(1)
        self.produce([("k", "v")])
        daemon.wait_until(lambda: daemon.total(self.name, "records_out") == 1, "the record", seconds=120)
        away = Daemon(self, self.write_away())
        away.wait_until(lambda: away.transform("away")["workers"], "workers")
        time.sleep(1)
        self.assertEqual(away.request("GET", "/readyz")[0], 503)
        self.assertEqual(away.stop(), 0, away.log)

    def write_away(self):
        path = self.write_file(name="away")
        text = path.read_text().replace(self.cluster.bootstrap, "127.0.0.1:1")
        path.write_text(text)
        return path

    def test_the_schema_knows_the_members_of_the_file(self):
        schema = json.loads((pathlib.Path(__file__).parent.parent / "schema/transform.schema.json").read_text())
        source = (pathlib.Path(__file__).parent.parent / "config.cc").read_text()
        for member in schema["properties"]:
            self.assertIn(f'{{"{member}",', source)
        page = (pathlib.Path(__file__).parents[2] / "docs/transformd.md").read_text()
        for member in schema["properties"]:
            if member != "output-topic":
                self.assertIn(f"`{member}`", page)


if __name__ == "__main__":
    unittest.main(verbosity=2)
