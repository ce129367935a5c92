# SPDX-License-Identifier: Apache-2.0
"""Commands that compare: diff, bench and replay."""

import json
import pathlib
import shutil
import subprocess

from kafka import batch
from tool import BAD_INPUT, DIFFERENT, GUEST_FAILED, MODULE_REFUSED, USAGE, ToolTest, guest, main


READ = """
  (import "redpanda_transform" "check_abi_version_2" (func))
  (import "redpanda_transform" "read_batch_header" (func $header (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "read_next_record" (func $read (param i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "write_record" (func $write (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $chance (param i32 i32) (result i32)))
  (memory (export "memory") 3)
  (func $batch
    (drop (call $header (i32.const 0) (i32.const 8) (i32.const 12) (i32.const 16) (i32.const 24) (i32.const 32) (i32.const 40)
      (i32.const 48) (i32.const 52) (i32.const 56))))
  (func $next (result i32) (call $read (i32.const 64) (i32.const 72) (i32.const 80) (i32.const 1024) (i32.const 65536)))"""

def writes(bytes_at_90000, size, before=""):
    """A guest that writes this record for each, after what is done `before`."""
    return f"""(module {READ}
  (data (i32.const 90000) "{bytes_at_90000}")
  (func (export "_start")
    (loop $batches
      (call $batch)
      (loop $records
        (if (i32.ge_s (call $next) (i32.const 0))
          (then
            {before}
            (drop (call $write (i32.const 90000) (i32.const {size})))
            (br $records))))
      (br $batches))))
"""


# Each record becomes one of eight bytes of chance.
CHANCE = writes("\\01\\10", 11, "(drop (call $chance (i32.const 90002) (i32.const 8)))")
# Each record becomes an object without members.
EMPTY_OBJECT = writes("\\01\\04{}", 5)


class Diff(ToolTest):
    def diff(self, old, new, *rest, **how):
        return self.tool("diff", guest(old), guest(new), *rest, **how)

    def test_the_same(self):
        self.write("in.txt", "1\n2\n")
        ended = self.diff("c_identity", "cpp_identity", "in.txt")
        self.assertIn("the outputs are the same", ended.lines)
        self.assertRegex(ended.bytes.decode(), r"(?m)^records out +2 +2 *$")
        self.assertRegex(ended.bytes.decode(), r"(?m)^memory +[\d.]+ MiB +[\d.]+ MiB +x [\d.]+$")

    def test_the_first_record_that_differs(self):
        ended = self.diff("c_identity", "c_tee", "-", stdin="1\n2\n3\n", code=DIFFERENT)
        self.assertIn("- 3", ended.lines)
        self.assertIn("+ 2", ended.lines)
        self.assertIn("the outputs differ from record 3 on; 2 records are the same", ended.stderr)

    def test_an_output_that_is_longer(self):
        ended = self.diff("c_identity", "c_tee", "-", stdin="1\n2\n", code=DIFFERENT)
        self.assertIn("- (there are no more)", ended.lines)

    def test_members_of_json(self):
        records = '{"a":1,"secret":"x","list":[1,2]}\n{"a":2,"secret":"y"}\n'
        options = ("--", "--format", "json", "--env", "REDACT_FIELDS=secret")
        ended = self.diff("c_identity", "rust_redact", "-", "--json", *options, stdin=records, code=DIFFERENT)
        result = json.loads(ended.bytes)
        self.assertEqual((result["old"]["records"], result["new"]["records"], result["same_records"]), (2, 2, 0))
        first = result["first_difference"]
        self.assertEqual(first["record"], 1)
        self.assertEqual(json.loads(first["old"])["secret"], "x")
        self.assertEqual([member.split(":")[0] for member in first["members"]], ["/secret"])

    def test_a_guest_that_fails(self):
        ended = self.diff("c_identity", "rust_panic", "-", stdin="a\nboom\nb\n", code=DIFFERENT)
        self.assertRegex(ended.bytes.decode(), r"(?m)^end +done +failed")
        self.assertIn("guest-trap", ended.bytes.decode())
        ended = self.diff("rust_panic", "rust_panic", "-", stdin="a\nboom\nb\n")
        self.assertIn("the outputs are the same", ended.lines)

    def test_a_module_does_not_differ_from_itself(self):
        self.write("in", "".join(f'{{"value":"{i}"}}\n' for i in range(3000)))
        for name in ("c_identity", "go_identity"):
            for shape in ([], ["--output-format", "json"], ["--origin"]):
                with self.subTest(name, shape=shape):
                    self.diff(name, name, "in", "--", "-f", "records", *shape)
        ended = self.diff("c_identity", "c_identity", "in", "--json", "--", "-f", "records", "--default-timestamp", "5")
        self.assertEqual(json.loads(ended.bytes)["old"]["records"], 3000)

    def test_chance_is_the_same(self):
        self.write("chance.wat", CHANCE)
        subprocess.run(["wat2wasm", "chance.wat"], cwd=self.directory, check=True)
        run = lambda *more: self.tool("run", "chance.wasm", "--encoding", "hex", *more, stdin="00\n").bytes
        self.assertEqual(run("--seed", "7"), run("--seed", "7"))
        self.assertNotEqual(run("--seed", "7"), run("--seed", "8"))
        self.assertNotEqual(run(), run())
        self.tool("diff", "chance.wasm", "chance.wasm", "-", "--", "--encoding", "hex", stdin="00\n01\n")

    def test_the_input_record_is_named(self):
        ended = self.diff("c_identity", "c_tee", "-", stdin="1\n2\n3\n", code=DIFFERENT)
        self.assertIn("the first record that differs is number 3 of the output:\n  old: from line 3 of the input (offset 2)\n"
                      "  new: from line 2 of the input (offset 1)\n- 3\n+ 2\n", ended.bytes.decode())
        ended = self.diff("c_identity", "c_tee", "-", stdin="1\n2\n", code=DIFFERENT)
        self.assertIn("number 3 of the output:\n  from line 2 of the input (offset 1)\n- (there are no more)\n", ended.bytes.decode())
        records = "\n" + "".join(json.dumps({"value": str(i), "offset": 50 + i}) + "\n" for i in range(1, 4))
        ended = self.diff("c_identity", "c_tee", "-", "--json", "--", "-f", "records", stdin=records, code=DIFFERENT)
        first = json.loads(ended.bytes)["first_difference"]
        self.assertEqual((first["old_input"], first["new_input"]),
                         ({"line": 4, "index": 2, "offset": 53}, {"line": 3, "index": 1, "offset": 52}))
        self.write("segment", batch(70, [(None, b"1"), (None, b"2")]))
        ended = self.diff("c_identity", "c_tee", "segment", "--", "--input-format", "batches", "--output-format", "lines", code=DIFFERENT)
        self.assertIn("  from record 2 of the input (offset 71)\n", ended.bytes.decode())

    def test_records_of_several_lines(self):
        self.write("in", 'a,b\n1,"x\ny"\n2,z\n')
        ended = self.diff("c_identity", "c_identity", "in", "--json", "--", "-f", "csv")
        self.assertEqual(json.loads(ended.bytes)["same_records"], 2)
        self.write("other.wat", EMPTY_OBJECT)
        subprocess.run(["wat2wasm", "other.wat"], cwd=self.directory, check=True)
        ended = self.tool("diff", guest("c_identity"), "other.wasm", "in", "--", "-f", "csv", code=DIFFERENT)
        self.assertIn('number 1 of the output:\n  from line 2 of the input (offset 0)\n- 1,"x\ny"\n+ ,\n', ended.bytes.decode())

    def test_what_has_no_order(self):
        for more in (["-j", "2"], ["--output-format", "batches"]):
            ended = self.diff("c_identity", "c_identity", "-", "--", *more, stdin="a\n", code=USAGE)
            self.assertIn("--output-places, which diff needs, goes with one output file and one thread", ended.stderr)

    def test_what_cannot_be_compared(self):
        self.assertIn("module-no-start", self.diff("c_identity", "wat_no_start", "-", code=MODULE_REFUSED).stderr)
        self.diff("c_identity", "c_identity", "nothing.txt", code=USAGE)
        self.diff("c_identity", "c_identity", "-", "--", "--format", "json", stdin="{\n", code=BAD_INPUT)
        self.diff("c_identity", "c_identity", "-", "--", "--formt", "json", code=USAGE)


class Bench(ToolTest):
    def bench(self, name, *rest, **how):
        return self.tool("bench", guest(name), "--seconds", "0.01", *rest, **how)

    def test_what_is_measured(self):
        ended = self.bench("rust_identity", "--sizes", "64,1KiB", "--json")
        result = json.loads(ended.bytes)
        self.assertEqual(result["sha256"], subprocess.run(["sha256sum", guest("rust_identity")], capture_output=True, text=True).stdout.split()[0])
        self.assertEqual([(one["name"], one["bytes"]) for one in result["records"]], [("64 B", 64), ("1,024 B", 1024)])
        for one in result["records"]:
            self.assertGreater(one["ns"], 0)
            self.assertAlmostEqual(one["ratio"], one["ns"] / one["identity_ns"])
            self.assertEqual(one["out_per_record"], 1)
        self.assertGreater(result["memory_bytes"], 1 << 16)
        self.assertRegex(self.bench("rust_identity", "--sizes", "64").bytes.decode(), r"(?m)^64 B +[\d.]+ +[\d.]+ +[\d.]+ +\d+ +1.00$")

    def test_records_of_a_file(self):
        self.write("in.txt", "2a\n" * 1500)
        (one,) = json.loads(self.bench("c_tee", "in.txt", "--json").bytes)["records"]
        self.assertEqual((one["name"], one["bytes"], one["out_per_record"]), ("input", 2, 2))
        self.write("empty.txt", "")
        self.bench("c_tee", "empty.txt", code=BAD_INPUT)
        self.write("boom.txt", "boom\n")
        self.assertIn("guest-trap", self.bench("rust_panic", "boom.txt", code=GUEST_FAILED).stderr)
        self.bench("wat_no_start", code=MODULE_REFUSED)

    def test_limits_against_a_saved_result(self):
        self.bench("c_identity", "--sizes", "64", "--save", "saved.json")
        limits = ("--sizes", "64", "--against", "saved.json", "--fail-if", "slower:50%", "--fail-if", "larger:50%")
        saved = json.loads((self.directory / "saved.json").read_text())

        def save(ratio, memory):
            saved["records"][0]["ratio"] *= ratio
            saved["memory_bytes"] = int(saved["memory_bytes"] * memory)
            self.write("saved.json", json.dumps(saved))

        save(1000, 1000)
        self.bench("c_identity", *limits)
        save(1e-9, 1)
        ended = self.bench("c_identity", *limits, code=DIFFERENT)
        self.assertRegex(ended.stderr, r"compared with saved.json: records of 64 B are [\d.e+]+% slower")
        ended = self.bench("c_identity", *limits, "--json", code=DIFFERENT)
        result = json.loads(ended.bytes)
        self.assertEqual(result["against"], "saved.json")
        self.assertRegex(result["breaches"][0], r"^records of 64 B are [\d.e+]+% slower$")
        self.assertEqual(json.loads(ended.stderr)["exit_code"], DIFFERENT)
        save(1e9, 1e-6)
        self.assertIn("% larger", self.bench("c_identity", *limits, code=DIFFERENT).stderr)
        for wrong in ("slower", "slower:x%", "slower:5", "faster:5%"):
            self.assertIn("neither slower:P% nor larger:P%", self.bench("c_identity", *limits[:4], "--fail-if", wrong, code=USAGE).stderr)
        for text in ("[]", "{", '{"records":[],"memory_bytes":"x"}', '{"records":[1],"memory_bytes":1}', '{"records":{},"memory_bytes":1}'):
            self.write("saved.json", text)
            self.assertIn("is no result that --save wrote", self.bench("c_identity", *limits, code=USAGE).stderr)

    def test_the_identity_is_what_its_source_says(self):
        tools = pathlib.Path(__file__).parent.parent
        self.assertIsNotNone(shutil.which("wat2wasm"))
        subprocess.run(["wat2wasm", tools / "bench/identity.wat", "-o", self.directory / "identity.wasm"], check=True)
        source = (tools / "bench/identity.cc").read_text()
        listed = source[source.index("> bytes = {") + 11:source.index("};")]
        self.assertEqual(bytes(int(b, 16) for b in listed.replace(",", " ").split()), (self.directory / "identity.wasm").read_bytes())
        ended = self.tool("run", "identity.wasm", "--batch-size", "2", stdin="a\n" + "b" * 200_000 + "\nc\n")
        self.assertEqual(ended.lines, ["a", "b" * 200_000, "c"])


class Replay(ToolTest):
    def dead_letters(self, *values):
        self.run_guest("rust_panic", "--on-error", "dead-letter", "--dead-letter", "dead.ndjson", "--max-errors", "100%",
                       stdin="\n".join(values) + "\n")

    def test_one_by_one_with_the_error_of_now(self):
        self.dead_letters("a", "boom", "b", "exit3")
        ended = self.tool("replay", guest("rust_panic"), "dead.ndjson", code=DIFFERENT)
        self.assertRegex(ended.lines[0], "^FAILED offset 1: guest-trap, as before$")
        self.assertIn("boom, as the record asked", ended.bytes.decode())
        self.assertIn("2 of 2 dead letters fail still", ended.stderr)
        ended = self.tool("replay", guest("c_identity"), "dead.ndjson", "-o", "out.ndjson")
        self.assertEqual(len(ended.lines), 2)
        self.assertRegex(ended.lines[0], "^ok     offset 1: 1 record out; it was guest-trap$")
        written = [json.loads(line) for line in (self.directory / "out.ndjson").read_text().splitlines()]
        self.assertEqual([(record["value"], record["headers"]) for record in written], [("boom", []), ("exit3", [])])

    def test_output_in_the_place_of_the_letters(self):
        self.dead_letters("a", "boom")
        letters = (self.directory / "dead.ndjson").read_bytes()
        ended = self.tool("replay", guest("rust_panic"), "dead.ndjson", "-o", "./dead.ndjson", code=USAGE)
        self.assertIn("those that fail still would be gone", ended.stderr)
        self.assertEqual((self.directory / "dead.ndjson").read_bytes(), letters)

    def test_json_and_options_of_run(self):
        letter = {"value": "626f6f6d", "headers": [{"key": "mine", "value": "00"}]}
        self.write("dead.ndjson", json.dumps(letter) + "\n\n")
        ended = self.tool("replay", guest("rust_panic"), "dead.ndjson", "--json", "--encoding", "hex", code=DIFFERENT)
        (one,) = json.loads(ended.bytes)
        self.assertEqual((one["error"], one["records_out"], one["offset"]), ("guest-trap", 0, ""))

    def replay(self, name, *rest, **how):
        return self.tool("replay", guest(name), "dead.ndjson", *rest, **how)

    def test_lines_that_are_no_records(self):
        dead = ("--on-error", "dead-letter", "--dead-letter", "dead.ndjson", "--max-errors", "100%")
        for arguments, text, bad, mended in (
            (["-f", "json"], '{"a":1}\n{"a":\n', '{\\"a\\":', '{\\"a\\":2}'),
            (["-f", "json", "--key-field", "id"], '{"id":1}\n[1]\n', "[1]", '{\\"id\\":2}'),
            (["-f", "records"], '{"value":"x"}\n{"vaule":"x"}\n', "vaule", "value"),
            (["--input-format", "kcat", "--output-format", "records"], '{"payload":"x"}\n{"value":"x"}\n', '\\"value', '\\"payload'),
            (["-f", "csv", "--separator", ";", "--key-field", "b"], "a;b\n1;2\n1\n", '"value":"1"', '"value":"1;2"'),
            (["-f", "records"], '{\n"value":"x"\n}\n{\n"vaule":"y"\n}\n', "vaule", "value"),
        ):
            with self.subTest(arguments):
                (self.directory / "dead.ndjson").unlink(missing_ok=True)
                self.run_guest("c_identity", *arguments, *dead, stdin=text)
                line = 4 if "\n}" in text else text.count("\n")
                ended = self.replay("c_identity", code=DIFFERENT)
                self.assertRegex(ended.lines[0], rf"^FAILED line {line} of the input: bad-input: the line is no record, as before$")
                self.assertRegex(ended.lines[1], "^    .+")
                (one,) = json.loads(self.replay("c_identity", "--json", code=DIFFERENT).bytes)
                self.assertEqual((one["kind"], one["input_line"], one["is_record"], one["line"]), ("line", str(line), False, 1))
                letter = (self.directory / "dead.ndjson").read_text()
                self.assertIn(bad, letter)
                self.write("dead.ndjson", letter.replace(bad, mended, 1))
                ended = self.replay("c_identity", "-o", "out.ndjson")
                self.assertEqual(ended.lines, [f"ok     line {line} of the input: 1 record out; the line was no record and is one now"])
                (written,) = [json.loads(one) for one in (self.directory / "out.ndjson").read_text().splitlines()]
                self.assertEqual(written["headers"], [])
        # A line that is a record now, at which the guest fails.
        self.write("dead.ndjson", letter.replace(bad, mended, 1).replace('\\"y\\"', '\\"boom\\"'))
        ended = self.replay("rust_panic", code=DIFFERENT)
        self.assertEqual(ended.lines[0], "FAILED line 4 of the input: guest-trap; the line was no record and is one now")

    def test_a_line_of_an_encoding(self):
        self.run_guest("c_identity", "--encoding", "hex", "--delimiter", ";", "--on-error", "dead-letter", "--dead-letter", "dead.ndjson",
                       "--max-errors", "1", stdin="61;62\n63;64;")
        ended = self.replay("c_identity", "--encoding", "hex", code=DIFFERENT)
        self.assertIn("FAILED line 2 of the input: bad-input: the line is no record, as before", ended.lines)

    def test_a_letter_that_does_not_say_how_its_line_was_read(self):
        letter = {"value": "x", "headers": [{"key": f"wasm-{name}", "value": "1"} for name in
                                            ("transform", "offset", "error", "error-message", "line")]}
        self.write("dead.ndjson", "\n\n" + json.dumps(letter))
        ended = self.replay("c_identity", code=BAD_INPUT)
        self.assertIn("dead.ndjson:3: the header wasm-input does not say how the line was read", ended.stderr)

    def test_headers_of_the_record_stay(self):
        own = [{"key": "wasm-error", "value": "mine"}, {"key": "wasm-", "value": None}, {"key": "wasm-offset", "value": "7"},
               {"key": "wasm-stderr", "value": "mine"}]
        arguments = ("--on-error", "dead-letter", "--dead-letter", "dead.ndjson", "--max-errors", "1")
        self.run_records("rust_panic", [{"value": "boom", "headers": own, "offset": 5}], *arguments)
        ended = self.replay("c_identity", "-o", "out.ndjson")
        self.assertEqual(ended.lines, ["ok     offset 5: 1 record out; it was guest-trap"])
        self.assertEqual(json.loads((self.directory / "out.ndjson").read_text())["headers"], own)
        # A letter that became one again has lost what both runs added.
        text = (self.directory / "dead.ndjson").read_text()
        (self.directory / "dead.ndjson").unlink()
        self.run_guest("rust_panic", "-f", "records", *arguments, stdin=text)
        self.replay("c_identity", "-o", "out.ndjson")
        self.assertEqual(json.loads((self.directory / "out.ndjson").read_text())["headers"], own)
        # What looks like one of ours, in what is no dead letter.
        self.write("dead.ndjson", json.dumps({"value": "x", "headers": own}))
        self.assertEqual(self.replay("c_identity", "-o", "out.ndjson").lines, ["ok     dead.ndjson:1: 1 record out; it was not said why"])
        self.assertEqual(json.loads((self.directory / "out.ndjson").read_text())["headers"], own)

    def test_places_are_those_of_the_file(self):
        self.write("dead.ndjson", '{"value":"a"}\n\n\n{"value":"b"}\n{"value_base64":"/w=="}\n')
        ended = self.replay("c_identity", code=DIFFERENT)
        self.assertEqual([line.split(": ")[0] for line in ended.lines[:3]],
                         ["ok     dead.ndjson:1", "ok     dead.ndjson:4", "FAILED dead.ndjson:5"])
        self.assertIn("dead.ndjson:5: the guest wrote a value that is not valid UTF-8", ended.lines[3])
        self.assertNotIn("wasm-transform-", ended.bytes.decode())
        self.write("dead.ndjson", '{"value":"a"}\n\n[]\n')
        self.assertIn("dead.ndjson:3: it is no JSON object", self.replay("c_identity", code=BAD_INPUT).stderr)

    def test_headers_that_are_none(self):
        for headers in ([1], [{"key": None}], [{"key": 5, "value": 6}], {"a": "b"}, "x"):
            self.write("dead.ndjson", json.dumps({"value": "x", "headers": headers}))
            ended = self.replay("c_identity", code=DIFFERENT)
            self.assertIn("FAILED dead.ndjson:1: bad-input: the letter is no record", ended.lines[0])
            self.assertNotIn("json.exception", ended.bytes.decode() + ended.stderr)

    def test_what_cannot_be_replayed(self):
        self.write("dead.ndjson", "text\n")
        self.assertIn("dead.ndjson:1: it is no JSON object", self.tool("replay", guest("c_identity"), "dead.ndjson", code=BAD_INPUT).stderr)
        self.tool("replay", guest("c_identity"), "none.ndjson", code=USAGE)
        self.tool("replay", guest("wat_no_start"), "dead.ndjson", code=MODULE_REFUSED)


if __name__ == "__main__":
    main()
