# SPDX-License-Identifier: Apache-2.0
"""A transform's file: what is refused, and the words. Needs no broker."""

import os
import pathlib
import subprocess
import tempfile
import unittest

DAEMON = os.environ["WASM_TRANSFORMD"]

GOOD = {"name": "t", "input-topic": "in", "output-topics": "[out]", "module": "m.wasm", "brokers": "localhost:9092"}


class Config(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = pathlib.Path(directory.name)

    def check(self, text, **environment):
        path = self.directory / "t.yaml"
        path.write_text(text)
        done = subprocess.run([DAEMON, "--check", str(path)], capture_output=True, text=True,
                              env={**os.environ, **environment})
        return done.returncode, done.stderr.replace(str(path), "t.yaml")

    def with_members(self, extra="", **members):
        all_members = {**GOOD, **{key.replace("_", "-"): value for key, value in members.items()}}
        return "".join(f"{key}: {value}\n" for key, value in all_members.items() if value is not None) + extra

    def assert_refused(self, text, *words, **environment):
        code, message = self.check(text, **environment)
        self.assertEqual(code, 2, message)
        for word in words:
            self.assertIn(word, message)

    def test_a_file_of_redpandas_is_taken(self):
        code, message = self.check(self.with_members("description: d\nlanguage: tinygo\nenv:\n  A: b\n", compression="lz4"))
        self.assertEqual((code, message), (0, ""))

    def test_faults_name_file_and_line(self):
        self.assert_refused(self.with_members("inputtopic: x\n"), "t.yaml:6:", "no member `inputtopic`", "is `input-topic` meant?")
        self.assert_refused(self.with_members("name: again\n"), "t.yaml:6:", "`name` is there twice")
        self.assert_refused(self.with_members("guarantee: twice\n"), "t.yaml:6:", "exactly-once, at-least-once")
        self.assert_refused(self.with_members("a: [1\n"), "t.yaml:")
        for name in ("'a b'", "..", "."):
            self.assert_refused(self.with_members(name=name), "t.yaml:1:", "no name of a topic")
        self.assert_refused(self.with_members("commit-interval: 4m\n"), "t.yaml:6:", "at most 180 s")
        self.assert_refused(self.with_members("commit-interval: 0s\n"), "t.yaml:6:")
        self.assert_refused(self.with_members("commit-interval: 99999999999999999999s\n"), "t.yaml:6:")
        self.assert_refused(self.with_members("workers: 0\n"), "t.yaml:6:", "from 1 to 1024")
        self.assert_refused(self.with_members("on-error: {topic: x}\n"), "t.yaml:6:", "dead-letter-topic")
        self.assert_refused(self.with_members("on-error: {}\n"), "t.yaml:6:", "dead-letter-topic")
        self.assert_refused(self.with_members(compression="zip"), "t.yaml", "compression")
        self.assert_refused(self.with_members("module-sha256: abc\n"), "t.yaml:6:", "64")
        self.assert_refused(self.with_members(output_topics="[]"), "t.yaml:3:")
        self.assert_refused("[]\n", "t.yaml:1:", "must be a map")
        self.assert_refused("", "t.yaml", "must be a map")

    def test_members_with_members(self):
        good = ["start: {offset: 5}", "start: {timestamp: 1767225600000}", 'start: {timestamp: "2026-01-01T00:00:00.250Z"}',
                "on-error: skip\nmax-errors: {records: 3, of: 100, retry-after: 1m}",
                "limits: {memory: 16MiB, table: 100, record-time: 500ms, output: 4KiB, log-rate: 10}",
                "imports: []", "imports: [redpanda_schema_registry, m.f]", "wasi: []", "wasi: [clocks, random]", "log-topic: logs"]
        for extra in good:
            self.assertEqual(self.check(self.with_members(extra + "\n")), (0, ""), extra)
        bad = [("start: {}", "start is earliest"), ("start: {offset: -1}", "from 0"), ("start: {offset: 1, timestamp: 2}", "start is"),
               ("start: {timestamp: 2026-01-01}", "2026-01-01T00:00:00Z"), ("start: {timestamp: \"1969-01-01T00:00:00Z\"}", "since 1970"), ("start: {at: 1}", "offset, timestamp"),
               ("max-errors: {records: 3, of: 100}", "otherwise no record is lost"),
               ("on-error: skip\nmax-errors: {records: 3}", "has no `of`"),
               ("on-error: skip\nmax-errors: {records: 3, of: 3}", "less than `of`"),
               ("limits: {memory: 16MB}", "16MB"), ("limits: {memory: 1KiB}", "from 65536"), ("limits: {memory: 5GiB}", "to 4294967296"),
               ("limits: {memory: 99999999999999999999GiB}", "memory"), ("limits: {stack: 1}", "no member `stack`"),
               ("limits: 5", "must be a map"), ("imports: all", "must be a list"), ("wasi: [clock]", "clocks"),
               ("log-topic: a b", "no name of a topic"), ("env: {A: 1, A: 2}", "`A` is there twice")]
        for extra, word in bad:
            self.assert_refused(self.with_members(extra + "\n"), "t.yaml:", word)

    def test_a_module_with_an_address_needs_its_sha256(self):
        self.assert_refused(self.with_members(module="https://example.com/m.wasm"), "t.yaml:4:", "module-sha256")
        text = self.with_members(f"module-sha256: {'a' * 64}\n", module="https://example.com/m.wasm")
        self.assertEqual(self.check(text), (0, ""))

    def test_what_is_missing_is_named(self):
        for member in GOOD:
            self.assert_refused(self.with_members(**{member.replace("-", "_"): None}), f"there is no `{member}`")

    def test_settings_of_the_client_are_checked(self):
        self.assert_refused(self.with_members("client:\n  linger: 5\n"), "t.yaml:7:", "no setting `linger`")
        self.assert_refused(self.with_members("client:\n  linger.ms: five\n"), "t.yaml:7:", "linger.ms")
        self.assert_refused(self.with_members("client:\n  group.id: x\n"), "t.yaml:7:", "set by the daemon")
        code, message = self.check(self.with_members("client:\n  security.protocol: ssl\n  linger.ms: 1\n"))
        self.assertEqual((code, message), (0, ""))

    def test_passwords_come_from_the_environment_or_a_file(self):
        text = self.with_members("client:\n  sasl.password: ${TEST_PASSWORD}\n")
        self.assert_refused(text, "t.yaml:7:", "TEST_PASSWORD is not set")
        self.assertEqual(self.check(text, TEST_PASSWORD="x"), (0, ""))
        text = self.with_members("client:\n  sasl.password: ${file:secret}\n")
        self.assert_refused(text, "t.yaml:7:", "cannot read")
        (self.directory / "secret").write_text("x\n")
        self.assertEqual(self.check(text), (0, ""))
        self.assert_refused(self.with_members("group: a$b\n"), "t.yaml:6:", "$$")
        self.assertEqual(self.check(self.with_members("group: a$$b\n")), (0, ""))


if __name__ == "__main__":
    unittest.main(verbosity=2)
