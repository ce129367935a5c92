# SPDX-License-Identifier: Apache-2.0
"""Limits, rights and records that are too large."""

import json
import subprocess
import unittest

from transformd import DAEMON, Daemon, DaemonTest


class Limits(DaemonTest):
    def state(self, daemon, state):
        daemon.wait_until(lambda: daemon.transform(self.name)["state"] == state, state)
        return daemon.transform(self.name)

    def test_too_many_lost_records_stop_the_transform(self):
        self.topics(1)
        daemon = Daemon(self, self.write_file("rust_panic", extra="on-error: skip\nworkers: 1\nmax-errors: {records: 2, of: 100}"))
        daemon.wait_ready()
        self.produce([(None, b"boom"), (None, b"good"), (None, b"boom")])
        daemon.wait_until(lambda: daemon.total(self.name, "records_in") == 3, "three records")
        self.assertEqual(daemon.total(self.name, "skipped"), 2)
        self.produce([(None, b"boom")])
        self.assertIn("policy-threshold", self.state(daemon, "failed")["error"])
        self.assertEqual(daemon.total(self.name, "records_in"), 3)

    def test_it_begins_again_after_a_while_if_the_file_says_so(self):
        self.topics(1)
        daemon = Daemon(self, self.write_file(
            "rust_panic", extra="on-error: skip\nworkers: 1\nmax-errors: {records: 0, of: 100, retry-after: 300ms}"))
        daemon.wait_ready()
        self.produce([(None, b"boom"), (None, b"good")])
        daemon.wait_until(lambda: daemon.log.count("begins again in 300 ms") >= 2, "two attempts")
        self.assertEqual(daemon.request("POST", f"/transforms/{self.name}/seek?offset=1")[0], 202)
        daemon.wait_until(lambda: daemon.total(self.name, "records_in") == 1, "the good record")
        self.assertEqual(self.values(), [b"good"])

    def test_limits_hold(self):
        self.topics(1)
        daemon = Daemon(self, self.write_file("odd_hog", extra="workers: 1\nlimits: {memory: 1MiB}"))
        daemon.wait_ready()
        self.produce([(None, b"memory")])
        daemon.wait_until(lambda: daemon.total(self.name, "records_out") == 1, "the guest's report")
        self.assertIn(b"16", self.values()[0])
        self.assertEqual(daemon.request("POST", f"/transforms/{self.name}/stop")[0], 202)
        path = self.write_file("odd_busy", extra="workers: 1\nlimits: {record-time: 100ms}", name=f"{self.name}-busy")
        busy = Daemon(self, path)
        busy.wait_ready()
        self.produce([(None, b"spin")])
        busy.wait_until(lambda: busy.transform(path.stem)["state"] == "failed", "failed")
        self.assertIn("100 ms", busy.transform(path.stem)["error"])

    def test_imports_are_refused_by_name(self):
        self.topics(1)
        for module, right, word in [("rust_avro", "imports: []", "redpanda_schema_registry"), ("go_identity", "wasi: [output]", "clock")]:
            daemon = Daemon(self, self.write_file(module, extra=right))
            self.assertIn(word, self.state(daemon, "failed")["error"])
            daemon.kill()

    def test_a_record_that_the_client_would_not_send_is_the_guests_failure(self):
        self.topics(1)
        self.cluster.create_topic(f"{self.name}-letters")
        path = self.write_file("c_tee", extra=f"workers: 1\non-error: {{dead-letter-topic: {self.name}-letters}}",
                               client={"message.max.bytes": 4000})
        daemon = Daemon(self, path)
        daemon.wait_ready()
        self.produce([(None, b"1" + b"x" * 3700), (None, b"1" + b"y" * 500)])
        daemon.wait_until(lambda: daemon.total(self.name, "records_in") == 2, "both records")
        self.assertEqual([v[:2] for v in self.values()], [b"1y"])
        self.assertEqual(daemon.total(self.name, "dead_lettered"), 1)
        letter = self.read(f"{self.name}-letters")[0][0]
        self.assertEqual(letter.value(), b"1" + b"x" * 3700)
        # There is no room for the error's text.
        self.assertNotIn("wasm-error-message", dict(letter.headers()))
        self.assertIn("wasm-error", dict(letter.headers()))

    def test_a_record_that_the_topic_refuses_stops_the_transform(self):
        self.cluster.create_topic(self.input, 1)
        self.cluster.create_topic(self.output, 1, max_message_bytes=2000)
        for guarantee in ("exactly-once", "at-least-once"):
            daemon = Daemon(self, self.write_file("c_tee", extra=f"workers: 1\nguarantee: {guarantee}"))
            daemon.wait_ready()
            self.produce([(None, b"1" + b"x" * 5000)])
            error = self.state(daemon, "failed")["error"]
            self.assertIn("max.message.bytes", error)
            self.assertIn("too large", error)
            daemon.kill()

    def test_guests_have_the_schema_registry(self):
        self.topics(1)
        path = self.write_file("rust_avro", extra="workers: 1\nenv: {SUBJECT: readings}")
        self.produce([(None, b"x")])
        without = Daemon(self, path)
        self.assertIn("registry", self.state(without, "failed")["error"])
        without.kill()
        daemon = Daemon(self, path, arguments=("--schema-registry", "memory:"))
        daemon.wait_until(lambda: daemon.total(self.name, "records_in") == 1, "the record")
        self.assertEqual(daemon.stop(), 0, daemon.log)
        refused = subprocess.run([DAEMON, str(path), "--schema-registry", "ftp://x"], capture_output=True, text=True, timeout=20)
        self.assertEqual(refused.returncode, 2)
        self.assertIn("--schema-registry", refused.stderr)

    def test_log_lines_go_to_a_topic(self):
        self.topics(1)
        logs = f"{self.name}-logs"
        self.cluster.create_topic(logs, 1)
        daemon = Daemon(self, self.write_file("c_logger", extra=f"workers: 1\nlog-topic: {logs}"))
        daemon.wait_ready()
        self.produce([(b"k", b"v")])
        daemon.wait_until(lambda: daemon.total(self.name, "records_in") == 1, "the record")
        self.assertEqual(daemon.stop(), 0, daemon.log)
        found = self.read(logs)[0]
        self.assertTrue(found)
        for message in found:
            self.assertEqual(message.key(), self.name.encode())
            line = json.loads(message.value())
            self.assertEqual(line["attributes"][0], {"key": "transform_name", "value": {"stringValue": self.name}})
            self.assertIn(line["severityNumber"], (9, 13))
            self.assertIn(line["body"]["stringValue"], daemon.log)
            self.assertGreater(line["timeUnixNano"], 1_700_000_000_000_000_000)


if __name__ == "__main__":
    unittest.main(verbosity=2)
