# SPDX-License-Identifier: Apache-2.0
"""Commands that compare: diff, bench and replay."""

import json
import pathlib
import shutil
import subprocess

from tool import BAD_INPUT, DIFFERENT, GUEST_FAILED, MODULE_REFUSED, USAGE, ToolTest, guest, main


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
        save(1e9, 1e-6)
        self.assertIn("% larger", self.bench("c_identity", *limits, code=DIFFERENT).stderr)
        for wrong in ("slower", "slower:x%", "slower:5", "faster:5%"):
            self.assertIn("neither slower:P% nor larger:P%", self.bench("c_identity", *limits[:4], "--fail-if", wrong, code=USAGE).stderr)
        self.write("saved.json", "[]")
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

    def test_json_and_options_of_run(self):
        letter = {"value": "626f6f6d", "headers": [{"key": "mine", "value": "00"}]}
        self.write("dead.ndjson", json.dumps(letter) + "\n\n")
        ended = self.tool("replay", guest("rust_panic"), "dead.ndjson", "--json", "--encoding", "hex", code=DIFFERENT)
        (one,) = json.loads(ended.bytes)
        self.assertEqual((one["error"], one["records_out"], one["offset"]), ("guest-trap", 0, ""))

    def test_what_cannot_be_replayed(self):
        self.write("dead.ndjson", "text\n")
        self.assertIn("dead.ndjson:1: it is no JSON object", self.tool("replay", guest("c_identity"), "dead.ndjson", code=BAD_INPUT).stderr)
        self.tool("replay", guest("c_identity"), "none.ndjson", code=USAGE)
        self.tool("replay", guest("wat_no_start"), "dead.ndjson", code=MODULE_REFUSED)


if __name__ == "__main__":
    main()
