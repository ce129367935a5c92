# SPDX-License-Identifier: Apache-2.0
"""Bad input, guests that fail, and output that cannot be written: exit codes, messages, and what is left behind."""

import json
import os
import pathlib
import subprocess
import time

from tool import BAD_INPUT, GUEST_FAILED, MODULE_REFUSED, OTHER, TOOL, USAGE, ToolTest, guest, main


class BadInput(ToolTest):
    def refuse(self, line, message, *arguments):
        """The third line of a file is refused."""
        good = '{"value":""}' if "records" in arguments else '"00"' if "json" in arguments else "0000"
        self.write("input.ndjson", f"{good}\n{good}\n{line}\n{good}\n")
        ended = self.run_guest("c_identity", "input.ndjson", *arguments, code=BAD_INPUT)
        self.assertIn("wasm-transform: input.ndjson:3: " + message, ended.stderr)
        self.assertEqual(len(ended.lines), 2, "what came before it is written to standard output")

    def test_json(self):
        self.refuse("{not json}", "not valid JSON: column 3: syntax error", "--format", "json")
        self.refuse("{} {}", "not valid JSON: column 4", "--format", "json")

    def test_messages_are_short(self):
        ended = self.run_guest("c_identity", "-f", "json", stdin='"' + "x" * 1_000_000 + "\n", code=BAD_INPUT)
        self.assertIn("standard input:1: not valid JSON: column 1000002", ended.stderr)
        self.assertLess(len(ended.stderr), 2000)
        ended = self.run_records("c_identity", [{"value": "x" * 1_000_000}], "--encoding", "hex", code=BAD_INPUT)
        self.assertLess(len(ended.stderr), 2000)

    def test_json_without_an_object_for_the_key(self):
        ended = self.run_guest(
            "c_identity", "--format", "json", "--key-field", "id", stdin='{"id":"x"}\n[1]\n', code=BAD_INPUT
        )
        self.assertIn('standard input:2: not a JSON object but array, so there is no member "id"', ended.stderr)

    def test_json_that_is_not_utf8(self):
        ended = self.run_guest("c_identity", "--format", "json", stdin=b'"ok"\n"\xff"\n', code=BAD_INPUT)
        self.assertIn("standard input:2: not valid JSON", ended.stderr)

    def test_records(self):
        for line, message in (
            ("nope", "not valid JSON"),
            ("[]", "not a record but a JSON array"),
            ('{"value":1}', '"value" must be text or null, but is a number'),
            ('{"key":{}}', '"key" must be text or null, but is an object'),
            ('{"topic":1}', '"topic" must be text or null'),
            ('{"headers":{}}', '"headers" must be an array, but is object'),
            ('{"headers":["h"]}', 'each of "headers" must be an object'),
            ('{"headers":[{"value":"x"}]}', 'each of "headers" must be an object'),
            ('{"timestamp":"now"}', '"timestamp" must be an integer from -1'),
            ('{"timestamp":1.5}', '"timestamp" must be an integer'),
            ('{"partition":-1}', '"partition" must be an integer from 0 to 2147483647, but is -1'),
            ('{"partition":2147483648}', '"partition" must be an integer from 0'),
            ('{"offset":18446744073709551615}', '"offset" must be an integer from 0'),
        ):
            with self.subTest(line):
                self.refuse(line, message, "--format", "records")

    def test_encodings(self):
        for text, encoding in (("0", "hex"), ("0g", "hex"), ("AAA", "base64"), ("A===", "base64"), ("AB==", "base64"),
                               ("AA==AA==", "base64"), ("AA A", "base64")):  # fmt: skip
            with self.subTest(text):
                self.refuse(text, f"the line is not valid {encoding}: {text}", "--encoding", encoding)
                self.refuse(
                    json.dumps({"key": text}), f'"key" is not valid {encoding}', "--encoding", encoding,
                    "--format", "records",
                )  # fmt: skip

    def test_a_record_of_another_topic(self):
        records = [{"topic": "a", "value": "1"}, {"topic": "b", "value": "2"}]
        ended = self.run_records("c_identity", records, "--input-topic", "a", code=BAD_INPUT)
        self.assertIn('standard input:2: the record is from the topic "b", but --input-topic is "a"', ended.stderr)
        self.run_records("c_identity", records)

    def test_output_files_are_not_written(self):
        self.write("out.txt", "old")
        self.run_guest("c_identity", "-f", "json", "-o", "out.txt", stdin="1\n2\nx\n", code=BAD_INPUT)
        self.run_guest("c_identity", "-f", "json", "-o", "new.txt", stdin="1\n2\nx\n", code=BAD_INPUT)
        self.assertEqual(self.files(), ["out.txt"])
        self.assertEqual((self.directory / "out.txt").read_text(), "old")

    def test_a_line_without_end(self):
        ended = self.run_guest("c_identity", stdin=b"ok\n" + b"x" * (65 << 20), code=BAD_INPUT)
        self.assertIn("standard input:2: the line is longer than 64 MiB", ended.stderr)


class GuestFails(ToolTest):
    def test_the_record_is_named_and_what_came_before_is_kept(self):
        self.write("input.txt", "a\nb\nc\nboom\nd\n")
        ended = self.run_guest(
            "rust_panic", "input.txt", "--output", "out.txt", "--batch-size", "3", "--name", "mine", code=GUEST_FAILED
        )
        self.assertIn(
            "wasm-transform: input.txt:4: the guest failed at this record (offset 3, index 0 in a batch of 2)\n"
            '  guest-trap: transform "mine"', ended.stderr,
        )  # fmt: skip
        self.assertIn("    at panic::main\n", ended.stderr)
        self.assertIn("[mine] warn: boom, as the record asked\n", ended.stderr)
        self.assertEqual((self.directory / "out.txt").read_text(), "a\nb\nc\n")
        self.assertEqual(self.files(), ["input.txt", "out.txt"])

    def test_partition_and_offset(self):
        records = [{"partition": 7, "offset": 100 + i, "value": v} for i, v in enumerate(["a", "b", "boom"])]
        ended = self.run_records("rust_panic", records, code=GUEST_FAILED)
        self.assertIn(
            "standard input:3: the guest failed at this record (partition 7, offset 102, index 2 in a batch of 3)",
            ended.stderr,
        )
        self.assertEqual([r["value"] for r in ended.records], ["a", "b"])

    def test_every_way_to_fail(self):
        for value, status in (("exit3", "guest-exit"), ("exit0", "guest-exit"), ("recurse", "guest-stack-overflow"),
                              ("hog", "guest-memory-limit"), ("boom", "guest-trap")):  # fmt: skip
            with self.subTest(value):
                ended = self.run_guest("rust_panic", stdin=f"a\n{value}\nb\n", code=GUEST_FAILED)
                self.assertEqual(ended.lines, ["a"])
                self.assertIn("standard input:2: the guest failed at this record", ended.stderr)
                self.assertIn(f"\n  {status}: ", ended.stderr)

    def test_a_record_that_takes_too_long(self):
        begin = time.monotonic()
        ended = self.run_guest("rust_panic", "--record-timeout", "200ms", stdin="a\nspin\nb\n", code=GUEST_FAILED)
        self.assertLess(time.monotonic() - begin, 5)
        self.assertIn("standard input:2: the guest failed at this record", ended.stderr)
        self.assertIn("guest-timeout", ended.stderr)
        self.assertEqual(ended.lines, ["a"])

    def test_memory_limit(self):
        ended = self.run_guest("rust_panic", "--memory-limit", "4MiB", stdin="hog\n", code=GUEST_FAILED)
        self.assertIn("guest-memory-limit", ended.stderr)

    def test_start_fails(self):
        for name in ("wat_start_trap", "wat_start_section_trap", "wat_returns", "wat_data_out_of_bounds"):
            with self.subTest(name):
                ended = self.run_guest(name, "-o", "out", "--threads", "2", stdin="a\n", code=GUEST_FAILED)
                self.assertIn("the guest failed when it was started, before it got any record\n  guest-", ended.stderr)

    def test_start_takes_too_long(self):
        ended = self.run_guest("wat_start_loop", "--record-timeout", "100ms", stdin="a\n", code=GUEST_FAILED)
        self.assertIn("guest-timeout", ended.stderr)

    def test_on_two_threads_all_records_before_the_failure_are_done(self):
        records = [{"partition": i % 4, "offset": i // 4, "value": str(i)} for i in range(4000)]
        records[2500]["value"] = "boom"
        for size in (1, 7, 1000):
            with self.subTest(size):
                ended = self.run_records("rust_panic", records, "-j", "2", "--batch-size", size, code=GUEST_FAILED)
                self.assertIn("input:2501: the guest failed at this record (partition 0, offset 625,", ended.stderr)
                done = {int(r["value"]) for r in ended.records}
                self.assertFalse(set(range(2500)) - done)
                self.assertFalse([n for n in done if n >= 2500 and n % 4 == 0], "nothing after it in its partition")

    def test_the_first_of_several_failures_counts(self):
        records = [{"partition": i % 2, "offset": i // 2, "value": str(i)} for i in range(2000)]
        records[1501]["value"] = "boom"
        records[1000]["value"] = "exit3"
        for _ in range(3):
            ended = self.run_records("rust_panic", records, "--threads", "2", code=GUEST_FAILED)
            self.assertIn("standard input:1001: the guest failed", ended.stderr)

    def test_whichever_comes_first_of_bad_input_and_failure(self):
        text = "\n".join(["1"] * 50 + ["exit3"] + ["1"] * 50)
        records = [{"value": v} for v in text.split("\n")]
        self.run_records("rust_panic", records + ["bad"], code=GUEST_FAILED)
        self.run_records("rust_panic", records[:10] + ["bad"] + records, code=BAD_INPUT)

    def test_a_failure_ends_the_tool_though_the_input_goes_on(self):
        with subprocess.Popen(
            [TOOL, "run", guest("rust_panic")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as running:
            running.stdin.write(b"a\nboom\n")
            running.stdin.flush()
            self.assertEqual(running.wait(timeout=30), GUEST_FAILED)
            self.assertEqual(running.stdout.read(), b"a\n")


class OutputFails(ToolTest):
    def newline_guest(self):
        source = pathlib.Path(__file__).with_name("newline.wat")
        subprocess.run(["wat2wasm", source, "-o", self.directory / "newline.wasm"], check=True)
        return "newline.wasm"

    def test_a_value_with_a_newline_would_be_two_lines(self):
        ended = self.tool("run", self.newline_guest(), stdin="a\nb\nc\n", code=GUEST_FAILED)
        self.assertEqual(ended.bytes, b"ok\n")
        self.assertIn(
            "standard input:2: the guest wrote a value with a newline in it, which would be several lines of output; "
            "use --format records, or --encoding base64 or hex (offset 1, index 1 in a batch of 3)", ended.stderr,
        )  # fmt: skip

    def test_but_records_can_express_it(self):
        ended = self.tool("run", self.newline_guest(), "-f", "records", stdin="{}\n{}\n")
        self.assertEqual([r["value"] for r in ended.records], ["ok", "a\nb"])

    def test_output_that_is_not_utf8(self):
        # The guest writes the payload that it is told to, cut in the middle of a letter: è is the bytes c3 a8, of which
        # c3 becomes a key, and a8 01 the length of the value, 84.
        record = {"value": "payload:\x02è\x01" + "v" * 84 + "\0"}
        ended = self.run_records("odd_bad_write", [{"value": "fine"}, record], code=GUEST_FAILED)
        self.assertIn("standard input:2: the guest wrote a key that is not valid UTF-8; use --encoding", ended.stderr)
        self.assertEqual([r["value"] for r in ended.records], ["fine"])

    def test_what_is_printed_into_a_full_disk(self):
        with open("/dev/full", "wb") as full:
            ended = subprocess.run([TOOL, "inspect", guest("c_identity")], stdout=full, stderr=subprocess.PIPE, text=True)
        self.assertEqual((ended.returncode, ended.stderr), (OTHER, "wasm-transform: standard output cannot be written\n"))

    def test_a_full_disk(self):
        ended = self.run_guest("c_identity", "-o", "/dev/full", stdin="a\n" * 1000, code=OTHER)
        self.assertIn("wasm-transform: cannot write /dev/full: No space left on device", ended.stderr)

    def test_a_full_disk_with_much_to_write(self):
        text = ("x" * 1000 + "\n") * 20000
        ended = self.run_guest("c_identity", "-o", "/dev/full", "--threads", "2", stdin=text, code=OTHER)
        self.assertIn("wasm-transform: cannot write /dev/full: No space left on device", ended.stderr)

    def test_a_directory_that_is_not_there(self):
        ended = self.run_guest("c_identity", "-o", "no/such/file", stdin="a\n", code=OTHER)
        self.assertIn("cannot create no/such/file: No such file or directory", ended.stderr)


class Modules(ToolTest):
    refused = {
        "wat_unknown_import": "module-unknown-import: the module imports what this host does not have: "
        "redpanda_transform.make_coffee, env.launch",
        "wat_no_start": "module-no-start",
        "wat_no_memory": "module-no-memory",
        "wat_no_abi": "module-no-abi",
        "wat_abi9": "module-unknown-abi",
        "wat_sr_abi9": "module-unknown-schema-registry",
        "wat_memory64": "module-memory64",
        "wat_start_signature": "module-start-signature",
        "wat_import_signature": "module-import-signature",
        "wat_big_memory": "module-memory-limit",
    }

    def test_validate(self):
        for name, message in self.refused.items():
            with self.subTest(name):
                ended = self.tool("validate", guest(name), code=MODULE_REFUSED)
                self.assertIn(f"wasm-transform: {guest(name)}: {message}", ended.stderr)
        for name in ("c_identity", "cpp_filter", "rust_sr_unused", "go_rekey"):
            with self.subTest(name):
                self.assertEqual(self.tool("validate", guest(name)).lines, [guest(name) + ": accepted"])

    def test_run_refuses_them_too(self):
        for name, message in self.refused.items():
            with self.subTest(name):
                ended = self.run_guest(name, "-o", "out", stdin="a\n", code=MODULE_REFUSED)
                self.assertIn(message.split(": ")[0], ended.stderr)
        self.assertEqual(self.files(), [])

    def test_what_is_no_module(self):
        for content, message in (
            (b"", "module-"),
            (b"(module)", "module-text-format"),
            (b"\x7fELF", "module-not-wasm"),
        ):
            with self.subTest(content):
                self.write("some.wasm", content)
                self.assertIn(message, self.tool("validate", "some.wasm", code=MODULE_REFUSED).stderr)
                self.assertIn(message, self.tool("run", "some.wasm", code=MODULE_REFUSED).stderr)

    def test_memory_limit(self):
        self.tool("validate", guest("go_identity"))
        ended = self.tool("validate", guest("go_identity"), "--memory-limit", "1MiB", code=MODULE_REFUSED)
        self.assertIn("module-memory-limit", ended.stderr)
        self.run_guest("go_identity", "--memory-limit", "1MiB", code=MODULE_REFUSED)

    def test_rights(self):
        module = guest("rust_identity")
        self.tool("validate", module, "--allow", "none", "--wasi", "output,environment")
        for arguments, missing in (
            (["--wasi", "none"], "wasi_snapshot_preview1.fd_write (wasi_rights needs WASM_WASI_RIGHT_OUTPUT)"),
            (["--wasi", "output"], "wasi_snapshot_preview1.environ_get"),
        ):
            for command in ("validate", "run"):
                ended = self.tool(command, module, *arguments, code=MODULE_REFUSED)
                self.assertIn("module-import-denied", ended.stderr)
                self.assertIn(missing, ended.stderr)
        registry = guest("rust_sr_unused")
        self.run_guest("rust_sr_unused", "--allow", "redpanda_schema_registry", stdin="x\n")
        ended = self.tool("validate", registry, "--allow", "none", code=MODULE_REFUSED)
        self.assertIn("redpanda_schema_registry.", ended.stderr)
        ended = self.tool("validate", registry, "--wasi", "everything", code=USAGE)
        self.assertIn('"everything" is no right', ended.stderr)

    def test_limits_of_the_transform(self):
        ended = self.run_guest("rust_identity", "--output-limit", "1KiB", stdin="x" * 2000 + "\n", code=GUEST_FAILED)
        self.assertIn("output_buffer_limit is 1024", ended.stderr)
        ended = self.run_guest("rust_identity", "--table-limit", "1", stdin="x\n", code=MODULE_REFUSED)
        self.assertIn("table_limit (1)", ended.stderr)
        ended = self.run_guest("c_logger", "--log-rate", "1", stdin="x\n" * 100)
        self.assertIn("log_lines_per_second (1)", ended.stderr)
        self.assertIn("--output-limit must be", self.run_guest("c_identity", "--output-limit", "1", code=USAGE).stderr)

    def test_inspect(self):
        text = self.tool("inspect", guest("c_identity")).bytes.decode()
        self.assertIn("ABI        transform 2, schema registry none\n", text)
        self.assertIn("function redpanda_transform.write_record: (i32, i32) -> (i32)\n", text)
        self.assertIn("accepted   yes\n", text)

    def test_inspect_json(self):
        module = json.loads(self.tool("inspect", "--json", guest("wat_unknown_import")).bytes)
        self.assertEqual(module["refused"]["status"], "module-unknown-import")
        self.assertEqual(module["size"], os.path.getsize(guest("wat_unknown_import")))

    def test_inspect_what_is_refused(self):
        for name in (*self.refused, "rust_redact", "go_rekey", "rust_sr_unused"):
            with self.subTest(name):
                self.tool("inspect", guest(name))


class Usage(ToolTest):
    def test_wrong_usage(self):
        module = guest("c_identity")
        for arguments, message in (
            ([], "A subcommand is required"),
            (["run"], "GUEST is required"),
            (["run", "none.wasm"], "none.wasm"),
            (["run", module, "none.txt"], "cannot open none.txt: No such file or directory"),
            (["run", module, "."], "cannot read .: it is a directory"),
            (["run", module, "--format", "xml"], "--format"),
            (["run", module, "--frmt", "json"], "--frmt"),
            (["run", module, "--encoding", "utf16"], "--encoding"),
            (["run", module, "--compression", "brotli"], "--compression"),
            (["run", module, "--memory-limit", "lots"], "--memory-limit"),
            (["run", module, "--memory-limit", "1"], "--memory-limit must be from 64KiB to 4GiB"),
            (["run", module, "--record-timeout", "3"], "--record-timeout"),
            (["run", module, "--record-timeout", "-3s"], "--record-timeout"),
            (["run", module, "--threads", "0"], "--threads"),
            (["run", module, "--batch-size", "0"], "--batch-size"),
            (["run", module, "--env", "A"], '"A" is not of the form NAME=VALUE'),
            (["run", module, "--env", "=A"], '"=A" is not of the form NAME=VALUE'),
            (["run", module, "--output-topic", "../x"], '"../x" is no topic name'),
            (["run", module, "--output-topic", "a", "--output-topic", "a"], "the same topic is named twice"),
            (["run", module, "--output", "a", "--output-dir", "b"], "--output"),
            (["run", module, "--on-error", "ignore"], "--on-error"),
            (["run", module, "--on-error", "dead-letter"], "--on-error dead-letter and --dead-letter FILE go together"),
            (["run", module, "--on-error", "skip", "--dead-letter", "a"], "go together"),
            (["run", module, "--dead-letter", "a"], "--dead-letter"),
            (["run", module, "-o", "a", "--on-error", "dead-letter", "--dead-letter", "a"], "are the same"),
            (["run", module, "-o", "./a", "--on-error", "dead-letter", "--dead-letter", "a"], "are the same"),
            (["run", module, "x", "-o", "a", "--checkpoint", "../" + self.directory.name + "/a"], "are the same"),
            (["run", module, "--output-dir", "d", "--on-error", "dead-letter", "--dead-letter", "d/x"], "in the directory"),
            (["bench", module, "--against", module, "--fail-if", "slower:nan%"], "slower:P%"),
            (["list", "--admin", "http://u:secret@localhost:1"], "--password-file"),
            (["run", module, "--on-error", "dead-letter", "--dead-letter", "-"], "are the same"),
        ):
            with self.subTest(arguments):
                ended = self.tool(*arguments, code=USAGE)
                self.assertIn(message, ended.stderr)
                self.assertTrue(ended.stderr.startswith("wasm-transform: "))
        self.assertEqual(self.files(), [])

    def test_help(self):
        for arguments in (["--help"], ["run", "--help"], ["validate", "--help"], ["inspect", "--help"]):
            with self.subTest(arguments):
                text = self.tool(*arguments).bytes.decode()
                self.assertIn("Exit codes:", text)
        self.assertRegex(self.tool("--version").bytes.decode(), r"^\d+\.\d+\.\d+\n$")


if __name__ == "__main__":
    main()
