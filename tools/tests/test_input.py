# SPDX-License-Identifier: Apache-2.0
"""Formats of input and output that are chosen apart, other tools' records, CSV, compression, Kafka's batches."""

import base64
import gzip
import itertools
import json
import struct
import subprocess
import time

from kafka import CONTROL, TRANSACTIONAL, batch, marker
from tool import BAD_INPUT, DONE, GUEST_FAILED, RECORDS_LOST, TOOL, USAGE, ToolTest, guest, main

KCAT = {"topic": "in", "partition": 2, "offset": 7, "tstype": "create", "ts": 1600000000123, "broker": 1,
        "headers": ["a", "1", "b", None], "key": "k", "payload": "v"}  # fmt: skip


class OtherTools(ToolTest):
    def test_what_kcat_prints(self):
        for arguments in (["-f", "records"], ["--input-format", "kcat", "--output-format", "records"]):
            (out,) = self.run_guest("c_identity", *arguments, stdin=json.dumps(KCAT)).records
            self.assertEqual(
                out,
                {"topic": "output", "key": "k", "value": "v", "timestamp": 1600000000123, "partition": 2,
                 "headers": [{"key": "a", "value": "1"}, {"key": "b", "value": None}]},
            )  # fmt: skip
        tombstone = {**KCAT, "key": None, "payload": None, "headers": []}
        (out,) = self.run_records("c_identity", [tombstone]).records
        self.assertEqual((out["key"], out["value"], out["headers"]), (None, None, []))

    def test_headers_of_kcat_as_an_object(self):
        record = {**KCAT, "headers": {"a": ["1", "2"], "b": [None]}}
        ended = self.run_guest("c_identity", "--input-format", "kcat", "--output-format", "records", stdin=json.dumps(record))
        self.assertEqual([(h["key"], h["value"]) for h in ended.records[0]["headers"]], [("a", "1"), ("a", "2"), ("b", None)])

    def test_what_rpk_prints_on_several_lines(self):
        records = [{"topic": "in", "key": "k", "value": "{\n}", "headers": [{"key": "h", "value": "1"}],
                    "timestamp": 5, "partition": 0, "offset": 9}, {"topic": "in", "value": "w", "timestamp": 6,
                    "partition": 0, "offset": 10}]  # fmt: skip
        text = "".join(json.dumps(r, indent=2) + "\n" for r in records)
        for arguments in (["-f", "records"], ["--input-format", "rpk", "--output-format", "records"]):
            ended = self.run_guest("c_identity", *arguments, stdin=text)
            self.assertEqual([(r["key"], r["value"]) for r in ended.records], [("k", "{\n}"), (None, "w")])
        ended = self.run_guest("rust_panic", "-f", "records", stdin=text.replace('"w"', '"boom"'), code=GUEST_FAILED)
        self.assertIn("standard input:15: the guest failed at this record", ended.stderr)

    def test_members_that_a_record_does_not_have(self):
        for record, why in (
            ({"vaule": "x"}, 'a record has no member "vaule"'),
            ({"value": "x", "epoch": 5}, 'a record has no member "epoch"'),
            ({"payload": "x", "timestamp": 5}, 'a record of kcat has no member "timestamp"'),
            ({"value": "x", "value_size": 5}, 'a record has no member "value_size"'),
            ({"headers": [{"key": "a", "vaule": "x"}]}, 'a header has no member "vaule"'),
            ({"headers": ["a", "1", "b"]}, 'each of "headers" must be an object'),
            ({"payload": "x", "headers": ["a", "1", None, "2"]}, 'a key in "headers" is null'),
            ('{"value":"a","value":"b"}', 'the record has the member "value" twice'),
            ({"value_base64": "?"}, '"value_base64" is not valid base64: ?'),
            ({"value": "a", "value_base64": "Yg=="}, 'the record has both "value" and "value_base64"'),
            ({"key_base64": "Yg==", "key": None}, 'the record has both "key" and "key_base64"'),
            ({"headers": [{"key": "a", "key_base64": "Yg=="}]}, "a header has its key twice"),
            ({"headers": [{"key": "a", "value": "x", "value_base64": "Yg=="}]}, "a header has its value twice"),
            ('{"headers":[{"key":"a","key":"b"}]}', "a header has its key twice"),
            ({"offset": 1 << 63}, '"offset" must be an integer from 0 to 9223372036854775807, but is 9223372036854775808'),
            ({"offset": 10**30}, '"offset": the number 1000000000000000000000000000000 is beyond 64 bits'),
            ('{"value":"x","timestamp":1e999}', '"timestamp": the number 1e999 is beyond 64 bits'),
            ({"headers": [{"key": "a", "value": -(10**30)}]}, '"value": the number -1000000000000000000000000000000 is beyond 64 bits'),
        ):
            with self.subTest(record):
                ended = self.run_records("c_identity", [{"value": "ok"}, record], code=BAD_INPUT)
                self.assertIn(f"standard input:2: {why}", ended.stderr)
                self.assertEqual([r["value"] for r in ended.records], ["ok"])
        for shape, record in (("kcat", {"value": "x"}), ("rpk", {"payload": "x"}), ("rpk", {"value_base64": ""})):
            ended = self.run_guest("c_identity", "--input-format", shape, stdin=json.dumps(record), code=BAD_INPUT)
            self.assertIn(f"a record of {shape} has no member", ended.stderr)

    def test_a_number_that_no_type_has_is_json_nevertheless(self):
        text = '{"n":123456789012345678901234567890,"e":1e999}\n'
        self.assertEqual(self.run_guest("c_identity", "-f", "json", stdin=text).bytes, text.encode())


class Json(ToolTest):
    MARK = b"\xef\xbb\xbf"

    def test_the_mark_of_utf8_is_left_out_at_the_beginning_only(self):
        for text in (b'{"a":1}\n', b'{"value":"x"}\n'):
            shape = "records" if b"value" in text else "json"
            plain = self.run_guest("c_identity", "-f", shape, "--output-format", "lines", stdin=text).bytes
            marked = self.run_guest("c_identity", "-f", shape, "--output-format", "lines", stdin=self.MARK + text).bytes
            self.assertEqual(marked, plain)
            ended = self.run_guest("c_identity", "-f", shape, stdin=text + self.MARK + text, code=BAD_INPUT)
            self.assertIn("standard input:2: not valid JSON: column 1: it begins with the byte order mark", ended.stderr)
        self.assertEqual(self.run_guest("c_identity", stdin=self.MARK + b"x\n").bytes, self.MARK + b"x\n")

    def test_keys_and_headers_from_json_to_json(self):
        text = '{"id": "a", "h": {"x": "1", "y": null}, "n": 1.50}\n{"id":7}\n{}\n'
        arguments = ["-f", "json", "--key-field", "id", "--headers-field", "h"]
        ended = self.run_guest("c_identity", *arguments, "--output-format", "records", stdin=text)
        self.assertEqual([r["key"] for r in ended.records], ["a", "7", None])
        self.assertEqual(ended.records[0]["headers"], [{"key": "x", "value": "1"}, {"key": "y", "value": None}])
        ended = self.run_guest(
            "c_identity", *arguments, "--output-key-field", "k", "--output-headers-field", "hh", stdin=text
        )
        self.assertEqual(
            ended.lines,
            ['{"k":"a","hh":{"x":"1","y":null},"id": "a", "h": {"x": "1", "y": null}, "n": 1.50}', '{"k":"7","id":7}', "{}"],
        )
        ended = self.run_guest("c_identity", *arguments, "--output-key-field", "id", stdin=text)
        self.assertEqual(ended.bytes.decode(), text, "what the guest wrote stays")

    def test_a_delimiter(self):
        for byte, name in ((b"\0", "\\0"), (b";", ";"), (b"\x1e", "\\x1e")):
            text = byte.join([b"a\nb", b"", b"c"]) + byte
            self.assertEqual(self.run_guest("c_identity", "--delimiter", name, stdin=text).bytes, text)


class Csv(ToolTest):
    TEXT = 'id,name\r\n1,"a ""b"", c"\r\n2,"two\nlines"\r\n\r\n3,\r\n'

    def test_rows_are_objects(self):
        ended = self.run_guest("c_identity", "--input-format", "csv", "--output-format", "records", "--key-field", "id",
                               stdin=self.TEXT)  # fmt: skip
        self.assertEqual([r["key"] for r in ended.records], ["1", "2", "3"])
        self.assertEqual(
            [json.loads(r["value"]) for r in ended.records],
            [{"id": "1", "name": 'a "b", c'}, {"id": "2", "name": "two\nlines"}, {"id": "3", "name": ""}],
        )

    def test_from_csv_to_csv(self):
        ended = self.run_guest("c_identity", "-f", "csv", stdin=self.TEXT)
        self.assertEqual(ended.bytes.decode(), self.TEXT.replace("\r\n\r\n", "\r\n").replace("\r\n", "\n"))
        ended = self.run_guest("c_identity", "-f", "csv", "--separator", ";", stdin="a;b\n1,5;2\n")
        self.assertEqual(ended.bytes, b"a;b\n1,5;2\n")

    def test_columns(self):
        text = '{"b":1.5,"a":"x","c":[1]}\n{"a":null}\n'
        arguments = ["--input-format", "json", "--output-format", "csv"]
        self.assertEqual(self.run_guest("c_identity", *arguments, stdin=text).bytes, b"b,a,c\n1.5,x,[1]\n,,\n")
        ended = self.run_guest("c_identity", *arguments, "--columns", "a,b,c,d", stdin=text)
        self.assertEqual(ended.bytes, b"a,b,c,d\nx,1.5,[1],\n,,,\n")
        ended = self.run_guest("c_identity", *arguments, "--columns", "a,b", stdin=text, code=GUEST_FAILED)
        self.assertIn('the guest wrote a value with the member "c", which is no column', ended.stderr)
        self.run_guest("c_identity", *arguments, "--columns", "a", "--output-dir", "out", stdin="")
        self.assertEqual((self.directory / "out/output.csv").read_text(), "a\n")

    def test_rows_that_are_none(self):
        for row, why in (("1", "the row has 1 fields, but the header has 2"), ('a"b,', "has a quote in it"),
                         ('"a"b,c', "goes on behind its quotes"), ('1,"a', "has no second quote")):  # fmt: skip
            ended = self.run_guest("c_identity", "-f", "csv", stdin=f"a,b\n1,2\n{row}\n", code=BAD_INPUT)
            self.assertIn("standard input:3: ", ended.stderr)
            self.assertIn(why, ended.stderr)
    def test_a_bad_row_takes_no_other_along(self):
        rows = ["a,b", '1,5" pipe', "2,y", '"3"x"y,z', '4,"p,""q"""', '5"",z', '"6","two\nlines"', '7,"', 'x"']
        arguments = ["-f", "csv", "--on-error", "skip"]
        for separator in ",;":
            text = "".join(f"{row}\n" for row in rows).replace(",", separator)
            ended = self.run_guest("c_identity", *arguments, "--separator", separator, "--max-errors", "3", stdin=text)
            wanted = 'a,b\n2,y\n4,"p,""q"""\n6,"two\nlines"\n7,"\nx"\n'.replace(",", separator)
            self.assertEqual(ended.bytes.decode(), wanted)
            self.run_guest("c_identity", *arguments, "--separator", separator, "--max-errors", "2", stdin=text, code=RECORDS_LOST)

    def test_quotes_wherever_the_input_is_cut(self):
        """A pipe gives its bytes one by one: what is known of a row must last."""
        text = '\ufeff"a","b\nc"\n"1 ""2""\n",3\n4"\n5,6\n'.encode()
        with subprocess.Popen(
            [TOOL, "run", guest("c_identity"), "-f", "csv", "--on-error", "skip", "--max-errors", "1"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0,
        ) as running:  # fmt: skip
            for i in range(len(text)):
                running.stdin.write(text[i : i + 1])
                time.sleep(0.005)
            running.stdin.close()
            self.assertEqual(running.stdout.read().decode(), 'a,"b\nc"\n"1 ""2""\n",3\n5,6\n')
            self.assertEqual(running.wait(), DONE)

    def test_headers_that_are_none(self):
        for header, why in ((b"a,b,a", 'the header has the column "a" twice'), (b"a,,", 'the header has the column "" twice'),
                            (b"a,\xff", "the header is not valid UTF-8")):  # fmt: skip
            ended = self.run_guest("c_identity", "-f", "csv", stdin=header + b"\n1,2,3\n", code=BAD_INPUT)
            self.assertIn(f"standard input:1: {why}", ended.stderr)
        ended = self.run_guest("c_identity", "--input-format", "json", "--output-format", "csv", stdin='{"a":1,"b":2,"a":3}\n',
                               code=GUEST_FAILED)  # fmt: skip
        self.assertIn('the guest wrote a value with the member "a" twice', ended.stderr)

    def test_a_key_that_is_no_column(self):
        ended = self.run_guest("c_identity", "-f", "csv", "--key-field", "c", stdin="a,b\n", code=BAD_INPUT)
        self.assertIn('the header has no column "c"', ended.stderr)


class Origin(ToolTest):
    def test_output_says_whose_it_is(self):
        records = [{"value": "2x", "offset": 70}, {"value": "0"}, {"value": "y"}]
        for size in (1, 1000):
            ended = self.run_records("c_tee", records, "--origin", "--batch-size", size)
            self.assertEqual(
                [(r["input_offset"], r["input_index"], r["ordinal"]) for r in ended.records], [(70, 0, 0), (70, 0, 1), (2, 2, 0)]
            )
        again = self.run_records("c_identity", ended.lines)
        self.assertEqual([r["value"] for r in again.records], ["2x", "2x", "y"])
        ended = self.run_guest("c_identity", "-f", "csv", "--origin", stdin="a\nx\n")
        self.assertEqual(ended.bytes, b"a,input_offset,input_index,ordinal\nx,0,0,0\n")


class Compressed(ToolTest):
    def test_by_content(self):
        text = "".join(f"{i} {'x' * (i % 300)}\n" for i in range(5000)).encode()
        half = len(text) // 2
        zstd = lambda data: subprocess.run(["zstd", "-qc"], input=data, capture_output=True, check=True).stdout
        for pack in (gzip.compress, zstd):
            for packed in (pack(text), pack(text[:half]) + pack(text[half:])):
                self.assertEqual(self.run_guest("c_identity", stdin=packed).bytes, text)
                self.assertEqual(self.run_guest("c_identity", self.write("in", packed)).bytes, text)
            ended = self.run_guest("c_identity", stdin=pack(text)[:-9], code=BAD_INPUT)
            self.assertIn("is cut off", ended.stderr)
            damaged = bytearray(pack(text))
            damaged[len(damaged) // 2] ^= 0xFF
            self.run_guest("c_identity", stdin=bytes(damaged), code=BAD_INPUT)
            self.assertEqual(self.run_guest("c_identity", "--input-compression", "none", "--encoding", "utf8", "--delimiter",
                                            "\\0", stdin=pack(b"x")[:4] + b"\0").bytes, pack(b"x")[:4] + b"\0")  # fmt: skip

    def test_wherever_it_ends(self):
        """Everything but the whole stream, nothing included, is an error if the input is said to be one."""
        zstd = subprocess.run(["zstd", "-qc"], input=b"a\nb\n", capture_output=True, check=True).stdout
        for codec, packed in (("gzip", gzip.compress(b"a\nb\n")), ("zstd", zstd)):
            for stream in (packed, packed + packed):
                for end in sorted({*range(0, len(stream), 3), len(packed), len(stream) - 1} - {len(stream)}):
                    with self.subTest(codec=codec, end=end, of=len(stream)):
                        code = DONE if end and end % len(packed) == 0 else BAD_INPUT
                        self.run_guest("c_identity", "--input-compression", codec, stdin=stream[:end], code=code)
            self.run_guest("c_identity", stdin=packed + b"more", code=BAD_INPUT)
        ended = self.run_guest("c_identity", "--input-compression", "gzip", code=BAD_INPUT)
        self.assertIn("the input is empty and no gzip stream", ended.stderr)

    def test_frames_of_zstandard_that_have_no_content(self):
        frame = subprocess.run(["zstd", "-qc"], input=b"a\n", capture_output=True, check=True).stdout
        for magic in (0x50, 0x5F):
            skipped = struct.pack("<BBBBI", magic, 0x2A, 0x4D, 0x18, 4) + b"\n\n\n\n"
            for stream, text in ((skipped + frame, b"a\n"), (frame + skipped + frame, b"a\na\n"), (skipped, b"")):
                self.assertEqual(self.run_guest("c_identity", stdin=stream).bytes, text)
            ended = self.run_guest("c_identity", stdin=skipped[:-1], code=BAD_INPUT)
            self.assertIn("the input begins as Zstandard does, but is cut off", ended.stderr)

    def test_what_begins_like_it(self):
        for text in (b"\x1f\n", b"\x1f", b"\x28\xb5\n", b"", b"P*\n", b"P*M"):
            self.assertEqual(self.run_guest("c_identity", stdin=text).bytes, text if not text or text.endswith(b"\n") else text + b"\n")


class Batches(ToolTest):
    def values(self, segment, *arguments, code=DONE, name="segment.log"):
        path = self.write(name, segment)
        ended = self.run_guest("c_identity", path, "--input-format", "batches", "--output-format", "records", *arguments, code=code)
        return [r["value"] for r in ended.records], ended

    def test_a_segment(self):
        segment = batch(5, [(b"k", b"a"), (None, b"b")]) + batch(9, [(b"k", None)])
        values, ended = self.values(segment, "--origin")
        self.assertEqual(values, ["a", "b", None])
        self.assertEqual([(r["input_offset"], r["input_index"]) for r in ended.records], [(5, 0), (6, 1), (9, 2)])
        self.assertEqual([r["timestamp"] for r in ended.records], [1000] * 3)

    def test_zeros_behind_it_and_a_batch_that_is_cut_off(self):
        segment = batch(0, [(None, b"a")])
        self.assertEqual(self.values(segment + bytes(5000))[0], ["a"])
        for part in (batch(1, [(None, b"b")])[:-3], segment[:20]):
            values, ended = self.values(segment + part, "--ignore-partial-batch")
            self.assertEqual(values, ["a"])
            self.assertIn(f"the last batch is cut off: its {len(part)} bytes were left out", ended.stderr)
            values, ended = self.values(segment + part, code=BAD_INPUT)
            self.assertEqual(values, ["a"])
            self.assertIn(f"segment.log: behind record 1: at byte {len(segment)}: the input ends within a batch: {len(part)} of its ",
                          ended.stderr)
            self.assertIn("--ignore-partial-batch leaves it out", ended.stderr)

    def test_remarks_are_in_the_summary(self):
        segment = batch(0, [(None, b"a")])
        _, ended = self.values(segment + segment[:20], "--ignore-partial-batch", "--json")
        remark = f"{self.directory / 'segment.log'}: the last batch is cut off: its 20 bytes were left out"
        self.assertEqual(json.loads(ended.stderr)["remarks"], [remark])
        _, ended = self.values(segment, "--json")
        self.assertEqual(json.loads(ended.stderr)["remarks"], [])

    def test_a_damaged_length_takes_nothing_along_quietly(self):
        batches = [batch(i, [(None, b"%d" % i * 50)]) for i in range(3)]
        for at, number in itertools.product(range(8, 12), range(3)):
            segment = bytearray(b"".join(batches))
            begin = sum(map(len, batches[:number]))
            for bit in (0, 4, 7):
                with self.subTest(at=at, number=number, bit=bit):
                    damaged = bytearray(segment)
                    damaged[begin + at] ^= 1 << bit
                    for option in ([], ["--ignore-partial-batch"]):
                        values, ended = self.values(bytes(damaged), *option, code=BAD_INPUT)
                        self.assertEqual(len(values), number, ended.stderr)
                        self.assertRegex(ended.stderr, rf"(at byte {begin}\b|batch-crc)")
        segment = bytearray(b"".join(batches))
        segment[10] ^= 1
        ended = self.values(bytes(segment), "--ignore-partial-batch", code=BAD_INPUT)[1]
        self.assertIn("behind record 0: at byte 0: the batch's length is damaged: it says ", ended.stderr)

    def test_what_is_left_out_is_whole(self):
        """A damaged bit must not make a batch one that nobody looks at."""
        good = batch(0, [(None, b"a")])
        for bit in (TRANSACTIONAL, CONTROL):
            damaged = bytearray(good + batch(1, [(None, b"b")]))
            damaged[22] ^= bit
            ended = self.values(bytes(damaged), code=BAD_INPUT)[1]
            self.assertIn("at byte 0: the batch's checksum is wrong (batch-crc)", ended.stderr)

    def test_wherever_the_input_ends(self):
        segment = batch(0, [(None, b"a")]) + batch(1, [(None, b"b")])
        half = len(segment) // 2
        # Bytes of a header, and some of the rest.
        for end in sorted({*range(1, 62, 4), *range(1, len(segment), 9), half - 1, half, half + 1, len(segment) - 1}):
            # An offset begins with zeros, as what is behind the last batch may.
            cut = any(segment[half if end >= half else 0 : end])
            values, _ = self.values(segment[:end], code=BAD_INPUT if cut else DONE)
            self.assertEqual(values, ["a"] if end >= half else [])

    def test_what_is_no_batch(self):
        good = batch(0, [(None, b"a")])
        old = bytearray(good)
        old[16] = 1
        self.assertIn("the batch has version 1", self.values(good + bytes(old), code=BAD_INPUT)[1].stderr)
        self.assertIn("there is no record batch", self.values(good + b"x" * 100, code=BAD_INPUT)[1].stderr)
        damaged = bytearray(good)
        damaged[-2] ^= 1
        values, ended = self.values(good + bytes(damaged), code=BAD_INPUT)
        self.assertEqual(values, ["a"])
        self.assertIn("batch-crc", ended.stderr)
        self.assertIn(f"records 2 to 2 at byte {len(good)}", ended.stderr)

    def test_transactions(self):
        one = lambda offset, value, producer: batch(offset, [(None, value)], TRANSACTIONAL, producer)
        segment = (one(0, b"aborted", 1) + one(1, b"committed", 2) + batch(2, [(None, b"plain")]) + marker(3, 1, False)
                   + one(4, b"again", 1) + marker(5, 2, True) + marker(6, 1, True) + one(7, b"open", 3))  # fmt: skip
        values, ended = self.values(segment)
        self.assertEqual(values, ["committed", "plain", "again"])
        self.assertIn("2 records were left out: their transactions were aborted or have not ended", ended.stderr)
        values, ended = self.values(segment, "--uncommitted")
        self.assertEqual(values, ["aborted", "committed", "plain", "again", "open"])
        ended = self.run_guest("c_identity", "--input-format", "batches", stdin=segment, code=BAD_INPUT)
        self.assertIn("give a file", ended.stderr)

    def test_from_batches_to_batches_in_each_compression(self):
        records = [{"key": f"k{i % 7}", "value": f"value {i} " * 9, "timestamp": 1600000000000 + i,
                    "headers": [{"key": "h", "value": str(i)}]} for i in range(2500)]  # fmt: skip
        plain = self.run_records("c_identity", records).lines
        for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
            with self.subTest(codec):
                packed = self.run_records("c_identity", records, "--output-format", "batches", "--output-compression", codec).bytes
                _, ended = self.values(packed, "--origin")
                self.assertEqual([r["input_offset"] for r in ended.records], list(range(2500)))
                _, ended = self.values(packed, name="other")
                self.assertEqual(ended.lines, plain)
                ended = self.run_guest("c_identity", "-f", "batches", stdin=packed)
                self.assertEqual(self.values(ended.bytes)[1].lines, plain)

    def test_a_file_for_each_topic(self):
        records = [{"value": "t:b\n1"}, {"value": "2"}, {"value": "3"}]
        topics = ("--output-topic", "a", "--output-topic", "b")
        ended = self.run_records("c_route", records, "--output-format", "batches", *topics, code=USAGE)
        self.assertIn("does not tell topics apart", ended.stderr)
        self.run_records("c_route", records, "--output-format", "batches", "--output-dir", "out", *topics)
        self.assertEqual(self.files(), ["out/a.log", "out/b.log"])
        self.assertEqual(self.values((self.directory / "out/a.log").read_bytes())[0], ["2", "3"])

    def test_a_guest_that_fails_at_a_record_of_a_batch(self):
        segment = batch(5, [(None, b"a"), (None, b"b")]) + batch(10, [(None, b"c"), (None, b"boom"), (None, b"d")])
        path = self.write("segment.log", segment)
        arguments = ["--input-format", "batches", "--output-format", "lines"]
        ended = self.run_guest("rust_panic", path, *arguments, code=GUEST_FAILED)
        self.assertEqual(ended.lines, ["a", "b", "c"])
        self.assertIn("record 4: the guest failed at this record (offset 11, index 1 in a batch of 3)", ended.stderr)
        ended = self.run_guest("rust_panic", path, *arguments, "--on-error", "dead-letter", "--dead-letter", "dead", code=6)
        self.assertEqual(ended.lines, ["a", "b", "c", "d"])
        (letter,) = [json.loads(line) for line in (self.directory / "dead").read_text().splitlines()]
        self.assertEqual((letter["value"], letter["headers"][1]["value"]), ("boom", "11"))


class Usage(ToolTest):
    def test_options_that_do_not_go_together(self):
        for arguments, message in (
            (["--delimiter", "ab"], '"ab" is not one byte'),
            (["--delimiter", ";", "-f", "json"], "--delimiter goes with --format lines"),
            (["--columns", "a"], "--columns goes with --output-format csv"),
            (["-f", "csv", "--columns", "a,a"], "named twice"),
            (["-f", "csv", "--separator", '"'], "--separator cannot be"),
            (["--origin"], "--origin goes with"),
            (["--uncommitted"], "--uncommitted goes with"),
            (["--ignore-partial-batch"], "--ignore-partial-batch goes with"),
            (["--output-compression", "lz4"], "--output-compression goes with"),
            (["--headers-field", "h"], "--headers-field goes with"),
            (["--output-key-field", "h"], "go with --output-format json"),
            (["-f", "kcat"], "--format: \"kcat\" is none of"),
        ):
            with self.subTest(arguments):
                self.assertIn(message, self.run_guest("c_identity", *arguments, code=USAGE).stderr)


if __name__ == "__main__":
    main()
