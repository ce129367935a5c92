# SPDX-License-Identifier: Apache-2.0
"""What goes in and comes out in each format and encoding."""

import base64
import json
import time

from tool import BAD_INPUT, GUEST_FAILED, USAGE, ToolTest, main


class Lines(ToolTest):
    def test_values_come_out_as_they_went_in(self):
        text = "one\nzwölf\n\n  spaces  \nthe end\n"
        self.assertEqual(self.run_guest("c_identity", stdin=text).bytes, text.encode())

    def test_a_last_line_without_newline_is_a_record(self):
        self.assertEqual(self.run_guest("c_identity", stdin="a\nb").bytes, b"a\nb\n")

    def test_values_need_not_be_utf8(self):
        raw = b"\xff\xfe\x00\x01\n\x80\n"
        self.assertEqual(self.run_guest("c_identity", stdin=raw).bytes, raw)

    def test_empty_input(self):
        ended = self.run_guest("c_identity")
        self.assertEqual(ended.bytes, b"")
        self.assertRegex(ended.stderr, r"records in +0 ")

    def test_one_record_may_become_none_or_many(self):
        self.assertEqual(self.run_guest("c_tee", stdin="0\n3x\ny\n").lines, ["3x", "3x", "3x", "y"])

    def test_base64(self):
        values = [b"", b"a", b"ab", b"abc", bytes(range(256))]
        text = "".join(base64.b64encode(v).decode() + "\n" for v in values)
        self.assertEqual(self.run_guest("c_identity", "--encoding", "base64", stdin=text).bytes, text.encode())

    def test_hex(self):
        self.assertEqual(self.run_guest("c_identity", "--encoding", "hex", stdin="00FFaB\n\n").lines, ["00ffab", ""])

    def test_what_the_guest_gets_is_decoded(self):
        # The guest copies a record as often as its first digit says.
        self.assertEqual(self.run_guest("c_tee", "--encoding", "hex", stdin=b"2!".hex() + "\n").lines, ["3221"] * 2)

    def test_long_lines(self):
        text = "x" * (5 << 20) + "\nshort\n"
        self.assertEqual(self.run_guest("c_identity", stdin=text).bytes, text.encode())


class Json(ToolTest):
    def test_values_are_not_reformatted(self):
        text = '{"b": 1,   "a":2}\n[1, 2]\n"text"\n null\n1e3\n'
        self.assertEqual(self.run_guest("c_identity", "--format", "json", stdin=text).bytes, text.encode())

    def test_blank_lines_are_skipped(self):
        self.assertEqual(self.run_guest("c_identity", "--format", "json", stdin="1\n\n  \r\n2\n").lines, ["1", "2"])

    def test_what_comes_out_is_json(self):
        """Whatever the guest writes: it may have got something else."""
        for text, why in (("text", "column 2"), ('{"a":1', "unexpected end of input"), ("", ""), ("1 2", "column 3"), ('"\xff"', "UTF-8")):
            for arguments in ([], ["--compression", "lz4"]):
                ended = self.run_guest("c_identity", "--input-format", "lines", "--output-format", "json", *arguments,
                                       stdin=b'{"a":1}\n' + text.encode("latin-1") + b"\n2\n", code=GUEST_FAILED)  # fmt: skip
                self.assertEqual(ended.lines, ['{"a":1}'])
                self.assertIn("standard input:2: the guest wrote a value that is not valid JSON: ", ended.stderr)
                self.assertIn(why, ended.stderr)
                self.assertIn("use --output-format lines or records (offset 1, ", ended.stderr)
        text = '{"n":123456789012345678901234567890,"e":1e999}\n'
        ended = self.run_guest("c_identity", "--input-format", "lines", "--output-format", "json", stdin=text)
        self.assertEqual(ended.bytes, text.encode())

    def test_numbers_that_no_type_has(self):
        text = '{"id":123456789012345678901234567890,"e":-1e999,"s":"1e999 \\\\\\" 2","l":[1e999]}\n'
        arguments = ["-f", "json", "--key-field", "id"]
        (record,) = self.run_guest("c_identity", *arguments, "--output-format", "records", stdin=text).records
        self.assertEqual(record["key"], "123456789012345678901234567890")
        self.assertEqual(record["value"] + "\n", text)
        ended = self.run_guest("c_identity", *arguments, "--output-key-field", "k", stdin=text)
        self.assertEqual(ended.bytes.decode(), '{"k":"123456789012345678901234567890",' + text[1:])
        ended = self.run_guest("c_identity", "--input-format", "json", "--output-format", "csv", "--columns", "id,e,s,l", stdin=text)
        self.assertEqual(ended.lines[1][:40], "123456789012345678901234567890,-1e999,\"1")
        for bad in ('{"e":1e999,}', '{"e":1e999} x', '[1e999', "1e9999 1"):
            for more in ([], ["--key-field", "id"]):
                ended = self.run_guest("c_identity", "-f", "json", *more, stdin=bad, code=BAD_INPUT)
                self.assertIn("not valid JSON", ended.stderr)

    def test_the_filter_in_cpp(self):
        text = '{"kind":"a","n":1}\n{"kind":"b","n":2}\n{"n":3}\n'
        ended = self.run_guest(
            "cpp_filter", "-f", "json", "--env", "FILTER_FIELD=kind", "--env", "FILTER_VALUE=b", stdin=text
        )
        self.assertEqual(ended.records, [{"kind": "b", "n": 2}])

    def test_redact_in_rust(self):
        text = '{"name":"Ann","n":7}\n{"name":"Bob","n":1}\n'
        ended = self.run_guest(
            "rust_redact", "-f", "json", "--env", "REDACT_FIELDS=name", "--env", "KEEP_FIELD=n", "--env", "KEEP_MIN=5",
            stdin=text,
        )  # fmt: skip
        self.assertEqual(ended.records, [{"name": "***", "n": 7}])

    def test_the_key_field_is_optional_in_each_line(self):
        text = '{"id":"x"}\n{"id":5}\n{"id":null}\n{}\n'
        ended = self.run_guest("c_identity", "-f", "json", "--key-field", "id", stdin=text)
        self.assertEqual(ended.bytes, text.encode())

    def test_options_that_do_not_fit(self):
        ended = self.run_guest("c_identity", "-f", "json", "--encoding", "hex", code=USAGE)
        self.assertIn("--encoding goes with --format lines and records only", ended.stderr)
        ended = self.run_guest("c_identity", "--key-field", "id", code=USAGE)
        self.assertIn("--key-field goes with --format json only", ended.stderr)


class Records(ToolTest):
    def test_every_member(self):
        record = {
            "topic": "in", "key": "k", "value": "v",
            "headers": [{"key": "h", "value": "1"}, {"key": "h", "value": None}],
            "timestamp": 1600000000123, "partition": 3, "offset": 42,
        }  # fmt: skip
        ended = self.run_records("c_identity", [record])
        expected = {**record, "topic": "output"}
        del expected["offset"]
        self.assertEqual(ended.records, [expected])
        self.assertEqual(list(ended.records[0]), ["topic", "key", "value", "headers", "timestamp", "partition"])

    def test_null_absent_and_empty_are_told_apart(self):
        ended = self.run_records("c_identity", [{}, {"key": None, "value": None}, {"key": "", "value": ""}])
        self.assertEqual([(r["key"], r["value"]) for r in ended.records], [(None, None), (None, None), ("", "")])
        self.assertEqual([r["headers"] for r in ended.records], [[], [], []])

    def test_a_record_without_a_timestamp_is_from_now(self):
        before = time.time() * 1000
        stamp = self.run_records("c_identity", [{"value": "x"}]).records[0]["timestamp"]
        self.assertTrue(before - 1 <= stamp <= time.time() * 1000 + 1)

    def test_encodings_of_keys_values_and_headers(self):
        raw = bytes([0, 255, 10])
        for name, encode in (("base64", lambda b: base64.b64encode(b).decode()), ("hex", bytes.hex)):
            with self.subTest(name):
                record = {"key": encode(raw), "value": encode(b""), "headers": [{"key": "h", "value": encode(raw)}]}
                out = self.run_records("c_identity", [record], "--encoding", name).records[0]
                self.assertEqual({m: out[m] for m in record}, record)

    def test_escapes(self):
        value = 'quote " backslash \\ newline \n nul \0 emoji 🦀'
        self.assertEqual(self.run_records("rust_identity", [{"value": value}]).records[0]["value"], value)

    def test_topics_by_name(self):
        # This guest writes "t:NAME\n…" to the topic NAME.
        records = [{"value": "t:b\nx"}, {"value": "y"}, {"value": "t:none\nz"}]
        ended = self.run_records("c_route", records, "--output-topic", "a", "--output-topic", "b")
        self.assertEqual([(r["topic"], r["value"]) for r in ended.records], [("b", "t:b\nx"), ("a", "y")])
        self.assertIn('[c_route] warn: route: topic "none" refused: -3', ended.stderr)

    def test_rekey_in_go(self):
        records = [
            {"key": "old", "value": json.dumps({"id": "new", "n": 10})},
            {"key": "old", "value": json.dumps({"id": 3, "n": 99}), "headers": [{"key": "h", "value": "v"}]},
        ]
        ended = self.run_records(
            "go_rekey", records, "--output-topic", "low", "--output-topic", "high",
            "--env", "REKEY_FIELD=id", "--env", "ROUTE_FIELD=n", "--env", "ROUTE_MIN=50",
        )  # fmt: skip
        self.assertEqual([(r["topic"], r["key"]) for r in ended.records], [("low", "new"), ("high", "3")])
        self.assertEqual(ended.records[1]["headers"], [{"key": "h", "value": "v"}])


if __name__ == "__main__":
    main()
