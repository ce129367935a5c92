# SPDX-License-Identifier: Apache-2.0
"""However a run ends: dead letters, profile and summary are written. And bad lines are lost as records are."""

import base64
import gzip
import json
import os
import pty
import signal
import subprocess
import time

from tool import BAD_INPUT, GUEST_FAILED, RECORDS_LOST, TOOL, ToolTest, guest, main, read_terminal


class LettersTest(ToolTest):
    LETTERS = ["--on-error", "dead-letter", "--dead-letter", "dead"]

    def letters(self, name="dead"):
        return [json.loads(line) for line in (self.directory / name).read_bytes().splitlines()]

    def wait_until(self, condition):
        deadline = time.monotonic() + 60
        while not condition():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)

    def has_letter(self):
        path = self.directory / "dead"
        return path.exists() and path.read_bytes().endswith(b"\n")

    def interrupted(self, number, *arguments, text=b"a\nboom\nb\n", ready=None):
        """A run that gets a signal when it has lost a record, while its input is open."""
        with subprocess.Popen(
            [TOOL, "run", guest("rust_panic"), *self.LETTERS, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, cwd=self.directory,
        ) as running:  # fmt: skip
            running.stdin.write(text)
            running.stdin.flush()
            self.wait_until(ready or self.has_letter)
            running.send_signal(number)
            output, shown = running.communicate(timeout=60)
            self.assertEqual(running.returncode, -number, shown)
        return output, shown.decode()


class Ends(LettersTest):
    def test_signals(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with self.subTest(number):
                (self.directory / "dead").unlink(missing_ok=True)
                (self.directory / "profile").unlink(missing_ok=True)
                output, shown = self.interrupted(number, "--profile", "profile")
                self.assertEqual(output, b"a\nb\n")
                self.assertEqual([r["value"] for r in self.letters()], ["boom"])
                self.assertIn("  dead letters  1; the last: guest-trap", shown)
                self.assertRegex(shown, r"errors +1\n")
                self.assertEqual(len(json.loads((self.directory / "profile").read_bytes())["threads"]), 1)

    def test_a_signal_ends_the_record_in_progress(self):
        begin = time.monotonic()
        output, shown = self.interrupted(
            signal.SIGINT, "--record-timeout", "1m", text=b"a\nboom\nspin\nb\n",
        )  # fmt: skip
        self.assertLess(time.monotonic() - begin, 50)
        self.assertEqual(output, b"a\n")
        self.assertRegex(shown, r"records in +2 \(")

    def test_a_second_signal_ends_it_at_once_and_so_does_time(self):
        text = (b"x" * 1000 + b"\n") * 20_000
        for number_of_signals in (2, 1):
            with subprocess.Popen(
                [TOOL, "run", guest("c_identity"), self.write("in", text)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
            ) as running:
                time.sleep(1)  # nobody reads the output
                for _ in range(number_of_signals):
                    running.send_signal(signal.SIGTERM)
                    time.sleep(0.3)
                self.assertEqual(running.wait(timeout=30), -signal.SIGTERM)

    def test_whoever_reads_the_output_goes_away(self):
        text = (b"x" * 1000 + b"\n") * 20_000 + b"boom\n"
        with subprocess.Popen(
            [TOOL, "run", guest("rust_panic"), self.write("in", b"boom\n" + text), *self.LETTERS], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, cwd=self.directory,
        ) as running:  # fmt: skip
            self.assertEqual(running.stdout.read(5), b"xxxxx")
            running.stdout.close()
            self.assertEqual(running.wait(timeout=60), -signal.SIGPIPE)
            self.assertIn("records in", running.stderr.read().decode())
        self.assertEqual(self.letters()[0]["value"], "boom")

    def test_bad_input(self):
        text = "boom\n" * 3 + "x" * 10
        ended = self.run_guest("rust_panic", *self.LETTERS, "--profile", "profile", "--input-compression", "gzip", "-o", "out",
                               stdin=text, code=BAD_INPUT)  # fmt: skip
        self.assertIn("  errors        1", ended.stderr)
        self.assertTrue((self.directory / "profile").exists())

    def test_bad_input_behind_a_lost_record(self):
        packed = gzip.compress(b"boom\nok\n" * 2000)[:-8]
        ended = self.run_guest("rust_panic", *self.LETTERS, "--profile", "profile", stdin=packed, code=BAD_INPUT)
        self.assertIn("is cut off", ended.stderr)
        self.assertGreater(len(self.letters()), 0)
        self.assertIn("  dead letters  ", ended.stderr)
        self.assertTrue((self.directory / "profile").exists())


class DeadLetters(LettersTest):
    def test_they_are_written_through_and_appended(self):
        for count in (1, 2):
            self.interrupted(signal.SIGKILL, ready=lambda: self.has_letter() and len(self.letters()) == count)
            self.assertEqual([r["value"] for r in self.letters()], ["boom"] * count)
        self.run_guest("rust_panic", *self.LETTERS, stdin="fine\n")
        self.assertEqual(len(self.letters()), 2)

    def test_what_was_cut_off_before_does_not_hide_a_letter(self):
        self.write("dead", '{"value":"cut')
        self.run_guest("rust_panic", *self.LETTERS, stdin="boom\n", code=RECORDS_LOST)
        first, second = (self.directory / "dead").read_text().splitlines()
        self.assertEqual(first, '{"value":"cut')
        self.assertEqual(json.loads(second)["value"], "boom")

    def test_any_bytes(self):
        poison = b"\xff\x00\xfe"
        self.write("poison.wat", POISON)
        subprocess.run(["wat2wasm", "poison.wat"], cwd=self.directory, check=True)
        ended = self.tool("run", "poison.wasm", *self.LETTERS, stdin=poison + b"\nok\n", code=RECORDS_LOST)
        self.assertEqual(ended.code, RECORDS_LOST)
        first, second = self.letters()
        self.assertNotIn("value", first)
        self.assertEqual(base64.b64decode(first["value_base64"]), poison)
        self.assertEqual(second["value"], "ok")
        again = self.run_guest("c_identity", "dead", "-f", "records", "--output-format", "lines")
        self.assertEqual(again.bytes, poison + b"\nok\n")

    def test_a_letter_to_a_device(self):
        ended = self.run_guest("rust_panic", "--on-error", "dead-letter", "--dead-letter", "/dev/null", stdin="boom\n",
                               code=RECORDS_LOST)  # fmt: skip
        self.assertIn("dead letters  1", ended.stderr)


# A guest that fails at each record.
POISON = """(module
  (import "redpanda_transform" "check_abi_version_2" (func))
  (import "redpanda_transform" "read_batch_header" (func $header (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "read_next_record" (func $read (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (func (export "_start")
    (loop $batches
      (drop (call $header (i32.const 0) (i32.const 8) (i32.const 12) (i32.const 16) (i32.const 24) (i32.const 32)
        (i32.const 40) (i32.const 48) (i32.const 52) (i32.const 56)))
      (drop (call $read (i32.const 64) (i32.const 72) (i32.const 80) (i32.const 1024) (i32.const 65536)))
      unreachable)))
"""


class BadLines(LettersTest):
    MIXED = '{"value":"a"}\n{"vaule":"x"}\n{"value":"boom"}\n\nnonsense\n{"value":"b"}\n'

    def test_they_are_skipped(self):
        for size in (1, 1000):
            ended = self.run_guest("rust_panic", "-f", "records", "--on-error", "skip", "--batch-size", size, stdin=self.MIXED,
                                   code=RECORDS_LOST)  # fmt: skip
            self.assertEqual([r["value"] for r in ended.records], ["a", "b"])
            self.assertIn("  skipped       3; the last: ", ended.stderr)
            self.assertIn("3 of 5 records were lost", ended.stderr)
        self.run_guest("rust_panic", "-f", "records", "--on-error", "skip", "--max-errors", "3", stdin=self.MIXED)

    def test_they_are_dead_letters_as_they_were(self):
        text = self.MIXED.encode() + b'{"value":"\xff"}\n'
        ended = self.run_guest("rust_panic", "-f", "records", *self.LETTERS, stdin=text, code=RECORDS_LOST)
        self.assertEqual([r["value"] for r in ended.records], ["a", "b"])
        letters = self.letters()
        self.assertEqual([r.get("value") for r in letters], ['{"vaule":"x"}', "boom", "nonsense", None])
        self.assertEqual(base64.b64decode(letters[3]["value_base64"]), b'{"value":"\xff"}')
        headers = {h["key"]: h["value"] for h in letters[0]["headers"]}
        self.assertEqual(headers["wasm-error"], "bad-input")
        self.assertEqual(headers["wasm-line"], "2")
        self.assertEqual(headers["wasm-offset"], "1")
        self.assertEqual(headers["wasm-error-message"], 'a record has no member "vaule"')

    def test_a_limit_ends_the_run(self):
        for size in (1, 1000):
            ended = self.run_guest("rust_panic", "-f", "records", "--on-error", "skip", "--max-errors", "2", "--batch-size", size,
                                   "-o", "out", stdin=self.MIXED, code=RECORDS_LOST)  # fmt: skip
            self.assertIn("standard input:5: not valid JSON", ended.stderr)
            self.assertIn("--max-errors allows no more than 2", ended.stderr)
            self.assertEqual([json.loads(x)["value"] for x in (self.directory / "out").read_text().splitlines()], ["a"])

    def test_many_of_them_are_kept_in_bounded_memory(self):
        ended = self.run_guest("c_identity", "-f", "json", *self.LETTERS, stdin="x\n" * 50_000, code=RECORDS_LOST)
        self.assertEqual(len(self.letters()), 50_000)
        self.assertIn("  errors        50,000\n", ended.stderr)

    def test_without_it_a_bad_line_ends_the_run(self):
        self.run_guest("c_identity", "-f", "records", stdin=self.MIXED, code=BAD_INPUT)
        self.run_guest("rust_panic", "-f", "records", stdin=self.MIXED.replace("vaule", "value"), code=GUEST_FAILED)


class Terminal(ToolTest):
    def on_terminal(self, *arguments, stdout_too):
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            [TOOL, "run", guest("c_identity"), *arguments], stdin=subprocess.PIPE, stderr=theirs, cwd=self.directory,
            stdout=theirs if stdout_too else subprocess.DEVNULL,
        ) as running:  # fmt: skip
            os.close(theirs)
            for _ in range(8):
                running.stdin.write(b"line\n")
                running.stdin.flush()
                time.sleep(0.15)
            running.stdin.close()
            shown = read_terminal(ours)
            self.assertEqual(running.wait(timeout=60), 0)
        return shown.split("wasm-transform:\n")[0]

    def test_progress_never_touches_output_on_the_same_terminal(self):
        for arguments in ([], ["--progress"], ["-o", "/dev/stdout"]):
            shown = self.on_terminal(*arguments, stdout_too=True)
            self.assertEqual(shown.replace("compiling the module …\r\x1b[K", ""), "line\n" * 8)
        self.assertIn("records …", self.on_terminal(stdout_too=False))


if __name__ == "__main__":
    main()
