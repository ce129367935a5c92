# SPDX-License-Identifier: Apache-2.0
"""Runs that are killed and go on: --checkpoint."""

import fcntl
import gzip
import json
import random
import shutil
import signal
import subprocess
import time
import unittest

from kafka import batch
from tool import DONE, GUEST_FAILED, OTHER, RECORDS_LOST, TOOL, USAGE, ToolTest, guest, main


class Checkpoint(ToolTest):
    def command(self, name, *arguments):
        return [TOOL, "run", guest(name), *map(str, arguments), "--checkpoint", "state"]

    def start(self, name, *arguments):
        return subprocess.Popen(
            self.command(name, *arguments), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, cwd=self.directory,
        )  # fmt: skip

    def size(self, outputs):
        """Bytes of output so far, whether it has its names or not."""
        paths = [self.directory / (output + end) for output in outputs for end in ("", ".partial")]
        return sum(path.stat().st_size for path in paths if path.exists())

    def kill_and_go_on(self, name, arguments, outputs, number, code, times=6):
        """Kills the command when its output has grown by a random part of what it will be, and lets it end at last."""
        random.seed(5)
        kills = went_on = 0
        while True:
            before = self.size(outputs)
            with self.start(name, *arguments) as running:
                wanted = before + random.uniform(0, self.total / 3)
                # What was cut has to grow again.
                deadline = time.monotonic() + 100
                while kills < times and running.poll() is None and self.size(outputs) < wanted:
                    self.assertLess(time.monotonic(), deadline)
                    time.sleep(0.002)
                if kills < times and running.poll() is None:
                    running.send_signal(number)
                running.wait(timeout=100)
            if running.returncode != -number:
                self.assertEqual(running.returncode, code)
                break
            kills += 1
            state = self.directory / "state"
            went_on += state.exists() and json.loads(state.read_text())["position"] > 0
        self.assertGreater(kills, 0, "a run that is not killed shows nothing")
        self.assertGreater(went_on, 0, "nor does one that begins anew")

    def same_as_uninterrupted(self, name, *arguments, outputs=("out",), code=DONE, number=signal.SIGKILL):
        """Whether the outputs are byte by byte those of a run that nobody kills."""
        subprocess.run(self.command(name, *arguments), cwd=self.directory, stderr=subprocess.DEVNULL, check=False)
        wanted = {output: (self.directory / output).read_bytes() for output in outputs}
        self.total = sum(map(len, wanted.values()))
        for output in outputs:
            (self.directory / output).unlink()
        self.kill_and_go_on(name, arguments, outputs, number, code)
        for output in outputs:
            self.assertTrue(wanted[output] == (self.directory / output).read_bytes(), output)
        self.assertFalse([f for f in self.files() if f == "state" or f.endswith(".partial")])

    def big(self, lines=400_000):
        return "".join(f'{{"n":{i},"pad":"{"x" * (i % 700)}"}}\n' for i in range(lines)).encode()

    def test_killed_at_random_moments(self):
        self.write("in", self.big())
        self.same_as_uninterrupted("c_identity", "in", "-f", "json", "-o", "out")

    def test_from_compressed_input(self):
        self.write("in", gzip.compress(self.big(), 1))
        self.same_as_uninterrupted("c_identity", "in", "-f", "json", "-o", "out")

    def test_interrupted(self):
        self.write("in", self.big())
        for number in (signal.SIGTERM, signal.SIGINT):
            self.same_as_uninterrupted("c_identity", "in", "-f", "json", "-o", "out", number=number)

    def test_with_lost_records(self):
        record = '{"value":"%s","timestamp":1}'
        lines = [record % ("u" if i % 97 == 0 else f"{i}{'x' * 1000}") for i in range(40_000)]
        # A letter of a line that is no record has the time at which it was read.
        bad = ["nonsense" if i % 89 == 0 else line for i, line in enumerate(lines)]
        arguments = ["in", "-f", "records", "-o", "out", "--batch-size", "50", "--on-error"]
        self.write("in", "\n".join(bad) + "\n")
        self.same_as_uninterrupted("wat_traps", *arguments, "skip", code=RECORDS_LOST)
        self.write("in", "\n".join(lines) + "\n")
        self.same_as_uninterrupted(
            "wat_traps", *arguments, "dead-letter", "--dead-letter", "dead", outputs=("out", "dead"), code=RECORDS_LOST
        )

    def test_from_csv_to_csv(self):
        self.write("in", "id,text\n" + "".join(f'{i},"a ""b""\n{"y" * (i % 300)}"\n' for i in range(200_000)))
        self.same_as_uninterrupted("c_identity", "in", "-f", "csv", "--origin", "-o", "out")

    def test_from_batches_to_a_file_for_each_topic(self):
        one = batch(0, [(None, b"t:%s\n%d %s" % (b"ab"[i % 2 : i % 2 + 1], i, b"z" * 400)) for i in range(500)])
        self.write("in", one * 1000)
        self.same_as_uninterrupted(
            "c_route", "in", "--input-format", "batches", "--output-format", "records", "--origin", "--output-dir", "d",
            "--output-topic", "a", "--output-topic", "b", outputs=("d/a.ndjson", "d/b.ndjson"),
        )  # fmt: skip

    def test_a_guest_that_fails_is_tried_again_at_that_record(self):
        self.write("in", "a\nb\nboom\nc\n")
        for _ in range(2):
            ended = self.tool(*self.command("rust_panic", "in", "-o", "out")[1:], code=GUEST_FAILED)
            self.assertIn("in:3: the guest failed at this record (offset 2,", ended.stderr)
            self.assertEqual(self.files(), ["in", "out.partial", "state"])
            self.assertEqual((self.directory / "out.partial").read_text(), "a\nb\n")

    def test_what_is_another_run_is_refused(self):
        self.write("in", "a\nboom\n")
        self.write("in2", "a\nboom\n")
        self.tool(*self.command("rust_panic", "in", "-o", "out")[1:], code=GUEST_FAILED)
        for name, arguments, why in (
            ("c_identity", ["in", "-o", "out"], "the module has changed"),
            ("rust_panic", ["in2", "-o", "out"], "the input has changed"),
            ("rust_panic", ["in", "-o", "out2"], "--output has changed"),
            ("rust_panic", ["in", "-o", "out", "--output-format", "records"], "--format has changed"),
            ("rust_panic", ["in", "-o", "out", "--env", "A=B"], "--env has changed"),
        ):
            ended = self.tool(*self.command(name, *arguments)[1:], code=USAGE)
            self.assertIn(f"the checkpoint state is of another run: {why}; remove it to begin anew", ended.stderr)
        self.assertEqual((self.directory / "out.partial").read_text(), "a\n")
        (self.directory / "out.partial").write_text("")
        ended = self.tool(*self.command("rust_panic", "in", "-o", "out")[1:], code=USAGE)
        self.assertIn("out.partial has 0 bytes, but the checkpoint says 2", ended.stderr)
        self.write("state", "{")
        self.assertIn("the checkpoint state is", self.tool(*self.command("rust_panic", "in", "-o", "out")[1:], code=USAGE).stderr)

    def test_another_input_of_the_same_name_is_refused(self):
        command = self.command("rust_panic", "in", "-o", "out")[1:]
        for change in ("replace", "overwrite", "cut"):
            with self.subTest(change):
                for name in self.files():
                    (self.directory / name).unlink()
                self.write("in", "a\nboom\nc\n")
                self.tool(*command, code=GUEST_FAILED)
                if change == "replace":
                    self.write("new", "a\nboom\nc\n")
                    (self.directory / "new").rename(self.directory / "in")
                else:
                    self.write("in", "x\nboom\nc\n" if change == "overwrite" else "a\nboom\n")
                self.assertIn("the input was replaced, or its beginning has changed", self.tool(*command, code=USAGE).stderr)
                self.assertEqual((self.directory / "out.partial").read_text(), "a\n")

    def test_an_input_that_has_grown_goes_on(self):
        text = "".join(f"{i}\n" for i in range(30_000)) + "u\n"
        for size in (4, len(text)):  # less than what is checked of it, and more
            self.write("in", text[-size:])
            command = self.command("wat_traps", "in", "-o", "out", "--on-error", "fail")[1:]
            self.tool(*command, code=GUEST_FAILED)
            with (self.directory / "in").open("a") as file:
                file.write("more\n" * 20_000)
            self.assertIn("the guest failed at this record", self.tool(*command, code=GUEST_FAILED).stderr)
            (self.directory / "state").unlink()

    def test_a_checkpoint_is_used_by_one_run(self):
        self.write("in", "a\nl\n")  # the second record takes forever
        arguments = ["in", "-o", "out"]
        for number, left in ((signal.SIGTERM, []), (signal.SIGKILL, ["state.lock"])):
            with self.start("wat_traps", *arguments, "--record-timeout", "10m") as running:
                while not {"state", "state.lock"} <= set(self.files()):
                    self.assertIsNone(running.poll())
                for more in ([], ["--env", "A=B"]):
                    ended = self.tool(*self.command("wat_traps", *arguments, *more)[1:], code=USAGE)
                    self.assertIn("another run uses the checkpoint state", ended.stderr)
                running.send_signal(number)
                self.assertEqual(running.wait(timeout=100), -number)
            self.assertEqual(self.files(), ["in", "out.partial", "state", *left])
        # What a killed run left behind is in nobody's way.
        command = self.command("wat_traps", *arguments, "--record-timeout", "10ms")[1:]
        self.tool(*command, code=GUEST_FAILED)
        self.assertEqual(self.files(), ["in", "out.partial", "state"])
        # A file of the user's is no lock.
        self.write("state.lock", "mine")
        self.assertIn("state.lock is in the way", self.tool(*command, code=USAGE).stderr)
        self.assertEqual((self.directory / "state.lock").read_text(), "mine")

    def test_dead_letters_of_other_runs_stay(self):
        self.write("in", "a\nboom\nb\n")
        self.write("dead", "before\n")
        command = self.command("rust_panic", "in", "-o", "out", "--on-error", "dead-letter", "--dead-letter", "dead")[1:]
        ended = self.tool(*command, "--max-errors", "0", code=RECORDS_LOST)
        self.assertEqual(self.files(), ["dead", "dead.partial", "in", "out.partial", "state"], ended.stderr)
        with (self.directory / "dead").open("a") as file:
            file.write("of another\n")
        self.tool(*command, code=RECORDS_LOST)
        lines = (self.directory / "dead").read_text().splitlines()
        self.assertEqual(lines[:2], ["before", "of another"])
        self.assertEqual([json.loads(line)["value"] for line in lines[2:]], ["boom"])
        self.assertEqual(self.files(), ["dead", "in", "out"])

    def test_dead_letters_of_a_run_that_was_killed_when_only_names_were_missing(self):
        for before in (None, "before\n"):
            self.write("in", "a\nboom\n")
            self.tool(*self.command("rust_panic", "in", "-o", "out", "--dead-letter", "dead", "--on-error", "dead-letter")[1:],
                      "--max-errors", "0", code=RECORDS_LOST)  # fmt: skip
            state = json.loads((self.directory / "state").read_text())
            self.write("state", json.dumps({**state, "complete": True}))
            self.write("dead.partial", "letter\n" * 300_000 + "last\n")
            if before:
                self.write("dead", before)
            self.tool(*self.command("rust_panic", "in", "-o", "out", "--dead-letter", "dead", "--on-error", "dead-letter")[1:])
            self.assertTrue((self.directory / "dead").read_text() == (before or "") + "letter\n" * 300_000 + "last\n")
            self.assertEqual(self.files(), ["dead", "in", "out"])

    def test_dead_letters_are_appended_once_wherever_the_run_was_killed(self):
        letters = "".join(f'{{"value":"{i}{"x" * (i % 90)}"}}\n' for i in range(20))
        half = len(letters) // 2
        line = letters.index("\n", half) + 1  # the end of a line
        other = '{"value":"of another"}\n'
        for appended, wanted in (
            (0, letters), (1, letters), (half, letters), (line, letters), (len(letters) - 1, letters), (len(letters), letters),
        ):  # fmt: skip
            with self.subTest(appended):
                self.go_on_with_letters("before\n", letters, "before\n" + letters[:appended])
                self.assertEqual((self.directory / "dead").read_text(), "before\n" + wanted)
        for appended in (0, line, len(letters)):  # another run has appended since
            with self.subTest(appended, other=True):
                self.go_on_with_letters("before\n", letters, "before\n" + letters[:appended] + other)
                self.assertEqual((self.directory / "dead").read_text(), "before\n" + letters[:appended] + other + letters[appended:])
        # What was cut off before this run began its letters is no part of them.
        self.go_on_with_letters("cut", letters, "cut\n" + letters[:half])
        self.assertEqual((self.directory / "dead").read_text(), "cut\n" + letters)
        self.go_on_with_letters("before\n", letters, "")  # somebody has begun the file anew
        self.assertEqual((self.directory / "dead").read_text(), letters)

    def go_on_with_letters(self, before, letters, now):
        """Lets a run end that was killed while it appended `letters` to a file that had `before` and has `now`."""
        command = self.command("rust_panic", "in", "-o", "out", "--dead-letter", "dead", "--on-error", "dead-letter")[1:]
        self.write("in", "a\nboom\n")
        self.tool(*command, "--max-errors", "0", code=RECORDS_LOST)
        state = json.loads((self.directory / "state").read_text())
        self.write("state", json.dumps({**state, "complete": True, "append_at": len(before) + (not before.endswith("\n"))}))
        self.write("dead.partial", letters)
        self.write("dead", now)
        self.tool(*command)
        self.assertEqual(self.files(), ["dead", "in", "out"])

    @unittest.skipUnless(shutil.which("strace"), "strace is missing")
    def test_killed_behind_the_last_dead_letter(self):
        self.write("in", "a\nboom\nb\nboom\n")
        for before in ("before\n", "cut"):
            self.write("dead", before)
            command = self.command("rust_panic", "in", "-o", "out", "--dead-letter", "dead", "--on-error", "dead-letter")
            # They are in their file and that of the run is to be removed.
            killed = subprocess.run(["strace", "-f", "-o", "/dev/null", "-P", "dead.partial", "-P", self.directory / "dead.partial",
                                     "-e", "inject=unlink:signal=SIGKILL", *command], cwd=self.directory, capture_output=True)
            self.assertEqual(killed.returncode, -signal.SIGKILL, killed.stderr)
            self.tool(*command[1:], code=RECORDS_LOST)  # as the run would have ended
            lines = (self.directory / "dead").read_text().splitlines()
            self.assertEqual(lines[0], before.strip())
            self.assertEqual([json.loads(line)["value"] for line in lines[1:]], ["boom", "boom"])
            self.assertEqual(self.files(), ["dead", "in", "out"])

    def test_dead_letters_that_have_no_room(self):
        self.write("in", "a\nboom\nb\nboom\n")
        before = "x" * 4000 + "\n"
        self.write("dead", before)
        command = self.command("rust_panic", "in", "-o", "out", "--dead-letter", "dead", "--on-error", "dead-letter")
        # No file may be longer than 4 KiB: as a full disk, for the file that has something already.
        limited = subprocess.run(["bash", "-c", "trap '' XFSZ; ulimit -f 4; exec \"$@\"", "-", *command], cwd=self.directory,
                                 capture_output=True, text=True)
        self.assertEqual(limited.returncode, OTHER, limited.stderr)
        self.assertIn("cannot write", limited.stderr)
        self.assertIn("state", self.files())
        self.tool(*command[1:], code=RECORDS_LOST)
        lines = (self.directory / "dead").read_text().splitlines()
        self.assertEqual(lines[0] + "\n", before)
        self.assertEqual([json.loads(line)["value"] for line in lines[1:]], ["boom", "boom"])
        self.assertEqual(self.files(), ["dead", "in", "out"])

    def test_dead_letters_of_two_runs_at_once(self):
        (self.directory / "dead.partial").touch()
        with (self.directory / "dead.partial").open() as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            self.write("in", "a\n")
            command = self.command("rust_panic", "in", "-o", "out", "--dead-letter", "dead", "--on-error", "dead-letter")
            ended = self.tool(*command[1:], code=USAGE)
            self.assertIn("dead.partial is being written by another run", ended.stderr)

    def test_secrets_are_not_in_the_file(self):
        self.write("in", "a\nboom\n")
        self.tool(*self.command("rust_panic", "in", "-o", "out", "--env", "TOKEN=hunter2")[1:], code=GUEST_FAILED)
        state = self.directory / "state"
        self.assertNotIn("hunter2", state.read_text())
        self.assertEqual(state.stat().st_mode & 0o777, 0o600)
        ended = self.tool(*self.command("rust_panic", "in", "-o", "out", "--env", "TOKEN=hunter3")[1:], code=USAGE)
        self.assertIn("--env has changed", ended.stderr)
        self.tool(*self.command("rust_panic", "in", "-o", "out", "--env", "TOKEN=hunter2")[1:], code=GUEST_FAILED)

    def test_a_run_that_was_killed_when_only_names_were_missing(self):
        self.write("in", "a\nboom\n")
        self.tool(*self.command("rust_panic", "in", "-o", "out")[1:], code=GUEST_FAILED)
        state = json.loads((self.directory / "state").read_text())
        self.write("state", json.dumps({**state, "complete": True}))
        self.tool(*self.command("rust_panic", "in", "-o", "out")[1:])
        self.assertEqual((self.directory / "out").read_text(), "a\n")
        self.assertEqual(self.files(), ["in", "out"])

    def test_usage(self):
        self.write("in", "")
        for arguments, message in (
            (["-o", "out"], "an INPUT that is a file"),
            (["in"], "--output FILE or --output-dir"),
            (["in", "-o", "out", "-j", "2"], "one thread"),
            (["in", "-o", "out", "--output-format", "batches"], "without --remote, --compression and --output-format batches"),
            (["in", "-o", "out", "--on-error", "dead-letter", "--dead-letter", "-"], "a --dead-letter that is a file"),
        ):
            self.assertIn(message, self.tool(*self.command("c_identity", *arguments)[1:], code=USAGE).stderr)


if __name__ == "__main__":
    main()
