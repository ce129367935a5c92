# SPDX-License-Identifier: Apache-2.0
"""Runs that go on when the guest fails: --on-error."""

import json

from tool import GUEST_FAILED, OTHER, ToolTest, main

MIXED = ["a", "boom", "b", "exit3", "hog", "c", "recurse"]
GOOD = ["a", "b", "c"]


class OnError(ToolTest):
    def lines(self, *arguments, **rest):
        return self.run_guest("rust_panic", *arguments, stdin="\n".join(MIXED) + "\n", **rest)

    def test_fail_is_the_default(self):
        for arguments in ([], ["--on-error", "fail"]):
            ended = self.lines(*arguments, code=GUEST_FAILED)
            self.assertEqual(ended.lines, ["a"])
            self.assertIn("standard input:2: the guest failed at this record", ended.stderr)

    def test_skip(self):
        for codec in ("none", "zstd"):
            for size in (1, 3, 1000):
                with self.subTest((codec, size)):
                    ended = self.lines("--on-error", "skip", "--batch-size", size, "--compression", codec)
                    self.assertEqual(ended.lines, GOOD)
                    self.assertIn("  skipped       4; the last: guest-", ended.stderr)
                    self.assertIn("  errors        0", ended.stderr)
                    self.assertNotIn("dead letters", ended.stderr)

    def test_nothing_is_said_where_nothing_is_lost(self):
        ended = self.run_guest("rust_panic", "--on-error", "skip", stdin="a\nb\n")
        self.assertEqual(ended.lines, ["a", "b"])
        self.assertNotIn("skipped", ended.stderr)

    def test_dead_letters_are_records_whatever_the_format(self):
        ended = self.lines("--on-error", "dead-letter", "--dead-letter", "dead.ndjson", "--name", "mine", "-o", "out.txt")
        self.assertEqual((self.directory / "out.txt").read_text().splitlines(), GOOD)
        self.assertEqual(self.files(), ["dead.ndjson", "out.txt"])
        self.assertIn("  dead letters  4; the last: guest-", ended.stderr)
        self.assertIn("  records out   3 (", ended.stderr)
        letters = self.letters("dead.ndjson")
        self.assertEqual([r["value"] for r in letters], ["boom", "exit3", "hog", "recurse"])
        statuses = ["guest-trap", "guest-exit", "guest-memory-limit", "guest-stack-overflow"]
        for letter, status, offset in zip(letters, statuses, (1, 3, 4, 6)):
            self.assertEqual(letter["topic"], "input")
            self.assertIsNone(letter["key"])
            headers = [(h["key"], h["value"]) for h in letter["headers"]]
            self.assertEqual(
                headers[:3], [("wasm-transform", "mine"), ("wasm-offset", str(offset)), ("wasm-error", status)]
            )
            self.assertEqual(headers[3][0], "wasm-error-message")
            self.assertIn(f'transform "mine", record {offset} of the batch', headers[3][1])

    def test_dead_letters_keep_what_the_record_had_and_can_be_run_again(self):
        records = [
            {"topic": "t", "key": "k", "value": "boom", "headers": [{"key": "h", "value": None}], "timestamp": 5,
             "partition": 3, "offset": 70},
            {"topic": "t", "key": None, "value": "fine", "partition": 3, "offset": 75},
        ]  # fmt: skip
        arguments = ["--on-error", "dead-letter", "--dead-letter", "dead", "--input-topic", "t"]
        ended = self.run_records("rust_panic", records, *arguments)
        self.assertEqual([r["value"] for r in ended.records], ["fine"])
        (letter,) = self.letters("dead")
        self.assertEqual((letter["topic"], letter["key"], letter["value"]), ("t", "k", "boom"))
        self.assertEqual((letter["timestamp"], letter["partition"]), (5, 3))
        self.assertEqual(letter["headers"][0], {"key": "h", "value": None})
        self.assertEqual(letter["headers"][2], {"key": "wasm-offset", "value": "70"})
        again = self.run_guest("c_identity", "dead", "--format", "records", "--input-topic", "t")
        self.assertEqual([r["headers"] for r in again.records], [letter["headers"]])

    def test_dead_letters_beside_a_file_per_topic(self):
        self.lines(
            "--output-dir", "out", "--output-topic", "x", "--output-topic", "y", "--on-error", "dead-letter",
            "--dead-letter", "-",
        )  # fmt: skip
        self.assertEqual(self.files(), ["out/x.txt", "out/y.txt"])
        self.assertEqual((self.directory / "out/x.txt").read_text().splitlines(), GOOD)
        self.assertEqual((self.directory / "out/y.txt").read_text(), "")

    def test_no_dead_letters_are_an_empty_file(self):
        self.run_guest("c_identity", "--on-error", "dead-letter", "--dead-letter", "dead", stdin="a\n")
        self.assertEqual((self.directory / "dead").read_text(), "")

    def test_several_threads(self):
        records = [{"partition": i % 4, "offset": i // 4, "value": str(i)} for i in range(400)]
        for i in (0, 1, 5, 200, 399):
            records[i]["value"] = "boom"
        ended = self.run_records(
            "rust_panic", records, "-j", "2", "--batch-size", "7", "--on-error", "dead-letter", "--dead-letter", "dead"
        )
        good = [r["value"] for r in records if r["value"] != "boom"]
        self.assertEqual(sorted(r["value"] for r in ended.records), sorted(good))
        self.assertEqual(len(self.letters("dead")), 5)

    def test_letters_that_cannot_be_written(self):
        text = b"ok\nboom\n"
        ended = self.run_guest(
            "rust_panic", "--on-error", "dead-letter", "--dead-letter", "/dev/full", stdin=text, code=OTHER
        )
        self.assertIn("wasm-transform: cannot write /dev/full: No space left on device", ended.stderr)

    def test_a_guest_that_does_not_start_fails_whatever_the_policy(self):
        for name in ("wat_start_trap", "wat_returns"):
            ended = self.run_guest(name, "--on-error", "skip", stdin="a\n", code=GUEST_FAILED)
            self.assertIn("the guest failed when it was started", ended.stderr)

    def letters(self, name):
        return [json.loads(line) for line in (self.directory / name).read_text().splitlines()]


if __name__ == "__main__":
    main()
