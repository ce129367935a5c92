# SPDX-License-Identifier: Apache-2.0
"""Runs that go on when the guest fails: --on-error."""

import json

from tool import DONE, GUEST_FAILED, OTHER, RECORDS_LOST, USAGE, ToolTest, main

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
                    ended = self.lines("--on-error", "skip", "--batch-size", size, "--compression", codec,
                                       code=RECORDS_LOST)
                    self.assertEqual(ended.lines, GOOD)
                    self.assertIn("  skipped       4; the last: guest-", ended.stderr)
                    self.assertIn("  errors        4", ended.stderr)
                    self.assertIn("4 of 7 records were lost and --max-errors allows none", ended.stderr)
                    self.assertNotIn("dead letters", ended.stderr)

    def test_nothing_is_said_where_nothing_is_lost(self):
        ended = self.run_guest("rust_panic", "--on-error", "skip", stdin="a\nb\n")
        self.assertEqual(ended.lines, ["a", "b"])
        self.assertNotIn("skipped", ended.stderr)
        self.assertIn("  errors        0", ended.stderr)

    def test_a_guest_that_panics_at_each_record_is_no_success(self):
        ended = self.run_guest("rust_panic", "--on-error", "skip", stdin="boom\n" * 2000, code=RECORDS_LOST)
        self.assertEqual(ended.lines, [])
        self.assertIn("  skipped       2,000; the last: guest-trap", ended.stderr)
        self.assertIn("  errors        2,000\n", ended.stderr)
        self.assertIn("wasm-transform: 2,000 of 2,000 records were lost and --max-errors allows none", ended.stderr)

    def test_a_number_of_errors_is_allowed_and_ends_the_run_at_the_next_one(self):
        ended = self.lines("--on-error", "skip", "--max-errors", "4")
        self.assertEqual(ended.lines, GOOD)
        self.assertIn("  errors        4", ended.stderr)
        for size in (1, 3, 1000):
            with self.subTest(size):
                ended = self.lines(
                    "--on-error", "skip", "--max-errors", "2", "--batch-size", size, "-o", "out", code=RECORDS_LOST
                )
                self.assertEqual((self.directory / "out").read_text().splitlines(), ["a", "b"], "the output is kept")
                self.assertIn("  skipped       2; the last: ", ended.stderr)
                self.assertIn("  errors        3", ended.stderr)
                self.assertIn("standard input:5: the guest failed at this record", ended.stderr)
                self.assertIn("2 of the last ", ended.stderr)
        ended = self.lines("--on-error", "skip", "--max-errors", "0", code=RECORDS_LOST)
        self.assertEqual(ended.lines, ["a"])

    def test_letters_before_the_end_are_kept(self):
        self.lines(
            "--on-error", "dead-letter", "--dead-letter", "dead", "--max-errors", "1", "-o", "out", code=RECORDS_LOST
        )
        self.assertEqual([r["value"] for r in self.letters("dead")], ["boom"])

    def test_a_share_of_errors_is_judged_at_the_end(self):
        for share, code in (("57%", RECORDS_LOST), ("57.2%", DONE), ("100%", DONE), ("0%", RECORDS_LOST)):
            with self.subTest(share):
                ended = self.lines("--on-error", "skip", "--max-errors", share, code=code)
                self.assertEqual(ended.lines, GOOD)
                self.assertIn("  errors        4", ended.stderr)
                self.assertEqual(f"--max-errors allows {share}" in ended.stderr, code == RECORDS_LOST)

    def test_several_threads_allow_as_many_together(self):
        records = [{"partition": i % 2, "offset": i // 2, "value": "boom"} for i in range(40)]
        arguments = ["-j", "2", "--batch-size", "1", "--on-error", "skip", "--max-errors"]
        ended = self.run_records("rust_panic", records, *arguments, "25", code=RECORDS_LOST)
        self.assertIn("and --max-errors allows 25", ended.stderr)
        self.run_records("rust_panic", records, *arguments, "40")

    def test_what_is_no_limit_of_errors(self):
        for wrong in ("", "%", "x", "-1", "1.5", "101%", "-1%", "nan%", "5%%", "1 "):
            with self.subTest(wrong):
                ended = self.lines("--on-error", "skip", f"--max-errors={wrong}", code=USAGE)
                self.assertIn("--max-errors", ended.stderr)
        self.assertIn("goes with", self.lines("--on-error", "fail", "--max-errors", "1", code=USAGE).stderr)
        self.assertIn("--on-error", self.lines("--max-errors", "1", code=USAGE).stderr)

    def test_dead_letters_are_records_whatever_the_format(self):
        ended = self.lines("--on-error", "dead-letter", "--dead-letter", "dead.ndjson", "--name", "mine", "-o", "out.txt",
                           code=RECORDS_LOST)
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
        ended = self.run_records("rust_panic", records, *arguments, code=RECORDS_LOST)
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
            "--dead-letter", "-", code=RECORDS_LOST,
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
            "rust_panic", records, "-j", "2", "--batch-size", "7", "--on-error", "dead-letter", "--dead-letter", "dead",
            code=RECORDS_LOST,
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
