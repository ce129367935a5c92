# SPDX-License-Identifier: Apache-2.0
"""Files, threads, batches, compression, the guest's surroundings, and what is shown."""

import collections
import json
import os
import pty
import re
import signal
import subprocess
import time

from tool import DONE, RECORDS_LOST, TOOL, USAGE, ToolTest, guest, main, read_terminal


class Files(ToolTest):
    def test_from_file_to_file(self):
        self.write("in.txt", "a\nb\n")
        ended = self.run_guest("c_identity", "in.txt", "--output", "out.txt")
        self.assertEqual(ended.bytes, b"")
        self.assertEqual((self.directory / "out.txt").read_text(), "a\nb\n")
        self.assertEqual(self.files(), ["in.txt", "out.txt"])

    def test_in_place(self):
        path = self.write("data.txt", "1x\n0y\n2z\n")
        path.chmod(0o640)
        self.run_guest("c_tee", "data.txt", "-o", "data.txt")
        self.assertEqual(path.read_text(), "1x\n2z\n2z\n")
        self.assertEqual(path.stat().st_mode & 0o777, 0o640)

    def test_a_link_stays_one(self):
        self.write("real.txt", "old")
        (self.directory / "link.txt").symlink_to("real.txt")
        self.run_guest("c_identity", "-o", "link.txt", stdin="new\n")
        self.assertEqual((self.directory / "real.txt").read_text(), "new\n")
        self.assertTrue((self.directory / "link.txt").is_symlink())

    def test_new_files_have_the_usual_permissions(self):
        self.run_guest("c_identity", "-o", "out.txt", stdin="new\n")
        self.write("other", "")
        modes = [(self.directory / n).stat().st_mode for n in ("out.txt", "other")]
        self.assertEqual(modes[0], modes[1])

    def test_a_file_for_each_topic(self):
        records = [{"value": "t:b\n1"}, {"value": "2"}]
        topics = ("--output-topic", "a", "--output-topic", "b", "--output-topic", "c")
        self.run_records("c_route", records, "--output-dir", "out", *topics)
        self.assertEqual(self.files(), ["out/a.ndjson", "out/b.ndjson", "out/c.ndjson"])
        read = {n: [json.loads(x)["value"] for x in (self.directory / "out" / n).read_text().splitlines()]
                for n in ("a.ndjson", "b.ndjson", "c.ndjson")}  # fmt: skip
        self.assertEqual(read, {"a.ndjson": ["2"], "b.ndjson": ["t:b\n1"], "c.ndjson": []})
        self.run_guest("c_identity", "--output-dir", "out2", stdin="x\n")
        self.assertEqual((self.directory / "out2/output.txt").read_text(), "x\n")

    def test_topics_may_have_the_longest_names_that_kafka_allows(self):
        names = ["t" * 249, "u" * 248, "v" * 100]
        options = [word for name in names for word in ("--output-topic", name)]
        self.run_records("c_identity", [{"value": "1"}], "--output-dir", "out", *options)
        written = [f"out/{names[0]}.jsonl", f"out/{names[1]}.ndjson", f"out/{names[2]}.ndjson"]
        self.assertEqual(self.files(), written)
        self.run_guest("c_identity", "--output-dir", "out2", "--output-topic", names[0], stdin="x\n")
        self.assertIn(f"out2/{names[0]}.txt", self.files())

    def test_output_may_be_a_pipe(self):
        os.mkfifo(self.directory / "pipe")
        with subprocess.Popen(["cat", "pipe"], cwd=self.directory, stdout=subprocess.PIPE) as cat:
            self.run_guest("c_identity", "-o", "pipe", stdin="x\n")
            self.assertEqual(cat.communicate()[0], b"x\n")

    def test_output_of_one_is_input_of_the_next(self):
        records = [{"value": str(i), "timestamp": i, "partition": i % 3, "offset": i // 3} for i in range(3000)]
        first = self.run_records("c_identity", records)
        second = self.run_records("rust_identity", first.lines)
        self.assertEqual(sorted(first.lines), sorted(second.lines))

    def test_an_interrupt_leaves_no_files(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with subprocess.Popen(
                [TOOL, "run", guest("c_identity"), "-o", "out.txt"], stdin=subprocess.PIPE, stderr=subprocess.PIPE,
                cwd=self.directory,
            ) as running:  # fmt: skip
                running.stdin.write(b"a\n")
                running.stdin.flush()
                self.wait_until(self.files)
                running.send_signal(number)
                self.assertEqual(running.wait(timeout=30), -number)
            self.assertEqual(self.files(), [])

    def wait_until(self, condition):
        deadline = time.monotonic() + 30
        while not condition():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)


class Streaming(ToolTest):
    def test_lines_come_out_while_input_is_open(self):
        with subprocess.Popen(
            [TOOL, "run", guest("c_identity")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as running:
            for line in (b"one\n", b"two\n", b"three\n"):
                running.stdin.write(line)
                running.stdin.flush()
                self.assertEqual(running.stdout.readline(), line)
            running.stdin.close()
            self.assertEqual(running.wait(timeout=30), DONE)

    def test_memory_is_bounded_when_output_is_slow(self):
        # 200 MB of input, and nobody reads the output at first.
        line = b"x" * 999 + b"\n"
        path = self.write("in.txt", line * 200_000)
        with subprocess.Popen(
            [TOOL, "run", guest("c_identity"), path, "-j", "2"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as running:
            time.sleep(1)
            with open(f"/proc/{running.pid}/status", encoding="ascii") as status:
                resident = int(re.search(r"VmHWM:\s+(\d+) kB", status.read())[1])
            self.assertLess(resident, 150 * 1024)
            size = sum(len(block) for block in iter(lambda: running.stdout.read(1 << 20), b""))
            self.assertEqual(size, 200_000_000)
            self.assertEqual(running.wait(timeout=60), DONE)


class Threads(ToolTest):
    def values_by(self, records, member):
        by = collections.defaultdict(list)
        for record in records:
            by[record[member]].append(int(record["value"]))
        return by

    def test_order_in_each_partition(self):
        count = 20000
        records = [{"partition": i % 7, "offset": i // 7, "value": str(i)} for i in range(count)]
        for threads in (1, 2, 5):
            with self.subTest(threads):
                ended = self.run_records("c_identity", records, "--threads", threads, "--batch-size", "100")
                by = self.values_by(ended.records, "partition")
                self.assertEqual(by, {p: list(range(p, count, 7)) for p in range(7)})

    def test_order_of_each_key(self):
        count = 20000
        records = [{"key": f"k{i % 11}", "value": str(i)} for i in range(count)]
        ended = self.run_records("c_identity", records, "--threads", "4", "--batch-size", "64")
        self.assertEqual(self.values_by(ended.records, "key"), {f"k{k}": list(range(k, count, 11)) for k in range(11)})

    def test_one_thread_keeps_all_order_of_keys(self):
        text = "".join(f"{i}\n" for i in range(5000))
        self.assertEqual(self.run_guest("c_identity", "--batch-size", "33", stdin=text).bytes.decode(), text)

    def test_lines_on_several_threads(self):
        lines = [str(i) for i in range(10000)]
        ended = self.run_guest("go_identity", "--threads", "3", "--batch-size", "50", stdin="\n".join(lines))
        self.assertEqual(sorted(ended.lines, key=int), lines)

    def test_a_topic_per_file_on_several_threads(self):
        records = [{"partition": i % 4, "offset": i // 4, "value": f"t:{'ab'[i % 2]}\n{i}"} for i in range(4000)]
        self.run_records(
            "c_route", records, "--threads", "2", "--output-dir", ".", "--output-topic", "a", "--output-topic", "b"
        )
        for name, first in (("a", 0), ("b", 1)):
            lines = (self.directory / f"{name}.ndjson").read_text().splitlines()
            values = sorted(int(json.loads(x)["value"].split("\n")[1]) for x in lines)
            self.assertEqual(values, list(range(first, 4000, 2)))


class Batches(ToolTest):
    def test_compression(self):
        records = [{"key": str(i), "value": f"value {i} " * 10, "timestamp": 1600000000000 + i} for i in range(2500)]
        plain = self.run_records("c_identity", records).lines
        self.assertEqual(len(plain), 2500)
        for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
            with self.subTest(codec):
                self.assertEqual(self.run_records("c_identity", records, "--compression", codec).lines, plain)

    def test_sizes(self):
        text = "".join(f"{i}\n" for i in range(1001))
        for size, batches in ((1, "1,001 batches"), (10, "101 batches"), (1000, "2 batches"), (100000, "1 batch")):
            with self.subTest(size):
                ended = self.run_guest("c_identity", "--batch-size", size, stdin=text)
                self.assertEqual(ended.bytes.decode(), text)
                self.assertIn(f"in {batches})", ended.stderr)

    def test_offsets_in_any_order(self):
        offsets = [5, 6, 2, 2, 9223372036854775806, 0, 4294967296, 1]
        records = [{"partition": 0, "offset": o, "value": str(i)} for i, o in enumerate(offsets)]
        ended = self.run_records("c_logger", records)
        self.assertEqual([r["value"] for r in ended.records], [str(i) for i in range(len(offsets))])
        seen = [int(n) for n in re.findall(r"logger saw (\d+)", ended.stderr)]
        self.assertEqual(seen, offsets)

    def test_timestamps(self):
        stamps = [0, 1600000000000, -1, 9223372036854775807, 1]
        records = [{"timestamp": t, "value": "x"} for t in stamps]
        self.assertEqual([r["timestamp"] for r in self.run_records("c_identity", records).records], stamps)


class Guests(ToolTest):
    def test_log_lines_go_to_standard_error(self):
        ended = self.run_guest("c_logger", "--name", "noisy", stdin="x\ny\n")
        self.assertEqual(ended.lines, ["x", "y"])
        for line in ("[noisy] info: record 0: x\n", "[noisy] warn: logger saw 0\n", "[noisy] info: record 1: y\n"):
            self.assertIn(line, ended.stderr)

    def test_log_lines_do_not_control_the_terminal(self):
        ended = self.run_guest("c_logger", stdin="\x1b[2Jbell\x07\x9b\n")
        self.assertIn("record 0: \\x1b[2Jbell\\x07\\x9b\n", ended.stderr)

    def test_log_lines_that_are_hard(self):
        ended = self.run_guest("odd_log_flood", stdin="flood\nutf8\nopen\n")
        self.assertEqual(ended.lines, ["flood", "utf8", "open"])
        self.assertGreater(len(ended.stderr), 10 << 20)
        self.assertIn("not \\xff\\xfe UTF-8", ended.stderr)

    def test_threads_do_not_mix_their_lines(self):
        text = "".join(f"{'abcdefgh' * 8}{i}\n" for i in range(2000))
        ended = self.run_guest("c_logger", "--threads", "4", "--batch-size", "10", stdin=text)
        logged = [line for line in ended.stderr.splitlines() if line.startswith("[")]
        self.assertEqual(len(logged), 4000)
        for line in logged:
            self.assertRegex(line, r"^\[c_logger\] (info: record \d+: (abcdefgh){8}\d+|warn: logger saw \d+)$")

    def test_all_languages(self):
        for name in ("c_identity", "cpp_identity", "rust_identity", "go_identity", "rust_sr_unused"):
            with self.subTest(name):
                self.assertEqual(self.run_guest(name, stdin="a\nb\n").lines, ["a", "b"])


class Shown(ToolTest):
    def test_the_summary(self):
        ended = self.run_guest("c_tee", "--threads", "2", stdin="2a\n0b\nc\n")
        text = ended.stderr
        self.assertRegex(text, r"records in +3 \(5 bytes of keys, values and headers, in 1 batch\)\n")
        self.assertRegex(text, r"records out +3 \(")
        self.assertRegex(text, r"wall time +[\d.]+ [mµ]?s, after [\d.]+ [mµ]?s for compiling")
        self.assertRegex(text, r"records/s +[\d,]+; per core [\d,]+ ")
        self.assertRegex(text, r"latency +p50 [\d.]+ [mnµ]s, p99 [\d.]+ [mnµ]s, max [\d.]+ [mnµ]s per record")
        self.assertRegex(text, r"guest memory +[\d.]+ KiB \(the largest of 2 guests\)\n")
        self.assertRegex(text, r"errors +0\n$")

    def test_no_progress_bar_in_a_pipe(self):
        ended = self.run_guest("c_logger", stdin="x\n" * 1000)
        self.assertNotIn("\x1b", ended.stderr)
        self.assertNotIn("100%", ended.stderr)

    def on_terminal(self, *arguments, feed=()):
        """What is shown when standard error is a terminal, and the output. `feed` is input, in portions."""
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            [TOOL, "run", *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=theirs,
            cwd=self.directory,
        ) as running:  # fmt: skip
            os.close(theirs)
            for portion in feed:
                running.stdin.write(portion)
                running.stdin.flush()
                time.sleep(0.15)
            running.stdin.close()
            shown = read_terminal(ours)
            output = running.stdout.read()
            self.assertEqual(running.wait(timeout=60), DONE)
        return shown, output

    def test_a_progress_bar_on_a_terminal(self):
        self.write("in.txt", "1\n" * 300)
        shown, output = self.on_terminal(guest("c_logger"), "in.txt", "--batch-size", "10")
        self.assertEqual(output, b"1\n" * 300)
        self.assertIn("0%   10   20", shown)
        self.assertIn("|----|----|", shown)
        self.assertTrue(shown.split("wasm-transform:\n")[0].endswith("\x1b[J"), "it is taken off before the summary")
        # Log lines are written where the bar was, and the bar again below them.
        self.assertRegex(shown, r"(^|\x1b\[J|\n)\[c_logger\] info: record 299: 1\n")

    def test_a_count_when_the_size_is_not_known(self):
        shown, output = self.on_terminal(guest("c_identity"), feed=[b"a\n", b"b\n", b"c\n"])
        self.assertEqual(output, b"a\nb\nc\n")
        self.assertRegex(shown, r"\d records …")
        self.assertNotIn("|----|", shown)


class Summary(ToolTest):
    def test_as_json(self):
        ended = self.run_guest("c_tee", "--json", stdin="2a\n2b\n")
        summary = json.loads(ended.stderr)
        self.assertEqual((summary["records_in"], summary["bytes_in"], summary["records_out"], summary["errors"]), (2, 4, 4, 0))
        self.assertLessEqual(summary["latency_ns"]["p50"], summary["latency_ns"]["max"])
        ended = self.run_guest("rust_panic", "--json", "--on-error", "skip", stdin="a\nboom\n", code=RECORDS_LOST)
        summary, error = (json.loads(line) for line in ended.stderr.splitlines() if line.startswith("{"))
        self.assertEqual((summary["skipped"], summary["errors"], error["exit_code"]), (1, 1, RECORDS_LOST))
        self.assertIn("guest-trap", summary["last_loss"])
        error = json.loads(self.tool("run", "nothing.wasm", "--json", code=USAGE).stderr)
        self.assertIn("nothing.wasm", error["error"])

    def test_quiet(self):
        self.assertEqual(self.run_guest("c_identity", "--quiet", stdin="a\n").stderr, "")


if __name__ == "__main__":
    main()
