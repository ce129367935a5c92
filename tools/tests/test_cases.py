# SPDX-License-Identifier: Apache-2.0
"""`wasm-transform test`: cases that are files."""

import json
import os
import pty
import signal
import subprocess
import time
import xml.etree.ElementTree

from tool import DIFFERENT, MODULE_REFUSED, TOOL, USAGE, ToolTest, guest, main, read_terminal


class Cases(ToolTest):
    def setUp(self):
        super().setUp()
        (self.directory / "tests").mkdir()

    def case(self, name, **files):
        for ending, content in files.items():
            self.write(f"tests/{name}.{ending.rstrip('_')}", content)

    def cases(self, *arguments, module="c_identity", **rest):
        return self.tool("test", "--guest", guest(module), *arguments, **rest)

    def test_passed_and_failed(self):
        self.case("same", in_="a\nb\n", out="a\nb\n")
        self.case("nothing", in_="")
        ended = self.cases()
        self.assertRegex(ended.stderr, r"^ok nothing \(\d+ ms\)\nok same \(\d+ ms\)\n2 cases passed\n$")
        self.case("other", in_="a\nb\nc\nd\ne\nf\n", out="a\nb\nc\nX\ne\nf\ng\n")
        ended = self.cases(code=DIFFERENT)
        self.assertIn("FAILED other", ended.stderr)
        self.assertIn("      4 - X\n      4 + d\n      5   e\n      6   f\n      7 - g\n", ended.stderr)
        self.assertIn("wasm-transform: 1 of 3 cases failed", ended.stderr)
        self.assertNotIn("\033", ended.stderr)
        ended = self.cases("same", "nothing")
        self.assertIn("2 cases passed", ended.stderr)
        self.assertEqual(self.cases("same", "--quiet").stderr, "")
        self.assertIn('no case "none"', self.cases("none", code=USAGE).stderr)

    def test_a_missing_end_of_line_is_a_difference(self):
        self.case("end", in_="a\n", out="a")
        self.assertIn("the ends of the last lines differ", self.cases(code=DIFFERENT).stderr)

    def test_environment_and_arguments(self):
        self.case("all", env="# of all\nFILTER_FIELD=kind\n")
        self.case("one", in_='{"kind":"a"}\n{"kind":"b"}\n', out='{"kind":"b"}\n', env="FILTER_VALUE=b\n", args="--format=json\n")
        self.cases(module="cpp_filter")
        self.case("one", env="FILTER_VALUE=a\n")
        self.assertIn("FAILED one", self.cases(module="cpp_filter", code=DIFFERENT).stderr)

    def test_dead_letters(self):
        letter = {"value": "boom", "headers": [{"key": "wasm-error", "value": "guest-trap"}]}
        self.case("poison", in_="a\nboom\nb\n", out="a\nb\n", dead=json.dumps(letter) + "\n")
        self.cases(module="rust_panic")
        self.case("poison", dead=json.dumps(letter | {"value": "x"}) + "\n")
        self.assertIn('dead letter 1: value: "x" was expected and "boom" is there', self.cases(module="rust_panic", code=DIFFERENT).stderr)
        self.case("poison", dead="{}\n{}\n")
        self.assertIn("dead letter 2 is missing", self.cases(module="rust_panic", code=DIFFERENT).stderr)
        self.case("poison", dead="")
        self.assertIn("dead letter 1 was not expected", self.cases(module="rust_panic", code=DIFFERENT).stderr)
        self.cases("--update", module="rust_panic")
        written = json.loads((self.directory / "tests/poison.dead").read_text())
        self.assertEqual(written, letter | {"key": None})
        self.cases(module="rust_panic")

    def test_an_expected_failure(self):
        self.case("fails", in_="a\nboom\nb\n", out="a\n", fail="guest-trap\n")
        self.cases(module="rust_panic")
        self.case("fails", fail="guest-trap\nsomething else\n")
        self.assertIn('it must fail with "something else"', self.cases(module="rust_panic", code=DIFFERENT).stderr)
        self.case("fails", in_="a\n", fail="")
        self.assertIn("it must fail, with exit code 4, and ended with 0", self.cases(module="rust_panic", code=DIFFERENT).stderr)
        self.case("fails", dead="")
        self.assertIn("a case has one of them", self.cases(module="rust_panic", code=USAGE).stderr)

    def test_an_unexpected_failure(self):
        self.case("fails", in_="boom\n")
        ended = self.cases(module="rust_panic", code=DIFFERENT)
        self.assertIn("the run ended with exit code 4", ended.stderr)
        self.assertIn("guest-trap", ended.stderr)
        self.assertIn("module-no-start", self.cases(module="wat_no_start", code=MODULE_REFUSED).stderr)

    def test_update(self):
        self.case("new", in_="a\nb\n")
        self.case("old", in_="a\n", out="b\n")
        self.cases("--update", "new")
        self.assertEqual((self.directory / "tests/new.out").read_text(), "a\nb\n")
        self.assertEqual((self.directory / "tests/old.out").read_text(), "b\n")
        self.cases("--update")
        self.cases()

    def test_junit_and_json(self):
        self.case("a<b", in_="x\n", out="<&\1\n")
        self.case("fine", in_="x\n", out="x\n")
        ended = self.cases("--junit", "junit.xml", "--json", code=DIFFERENT)
        suite = xml.etree.ElementTree.parse(self.directory / "junit.xml").getroot().find("testsuite")
        self.assertEqual((suite.get("name"), suite.get("tests"), suite.get("failures")), ("c_identity", "2", "1"))
        self.assertEqual([case.get("name") for case in suite], ["a<b", "fine"])
        self.assertIn("1 - <&\\x01", suite[0].find("failure").text)
        results = json.loads(ended.bytes)
        self.assertEqual((results["passed"], results["failed"]), (1, 1))
        self.assertEqual([case["passed"] for case in results["cases"]], [False, True])

    def test_junit_and_json_of_what_xml_and_json_cannot_say(self):
        # A surrogate, U+FFFE, a byte that is no UTF-8, and a letter that is one byte longer than need be.
        value = b"\xed\xa0\x80 \xef\xbf\xbe \xff \xe0\x80\xaf"
        self.case("odd", in_="x\n", out="y\n")
        (self.directory / "tests/odd.in").write_bytes(value + b"\n")
        ended = self.cases("--junit", "junit.xml", "--json", code=DIFFERENT)
        text = xml.etree.ElementTree.parse(self.directory / "junit.xml").getroot().find("testsuite")[0].find("failure").text
        for part in ("\\xed\\xa0\\x80", "\\ufffe", "\\xff", "\\xe0\\x80\\xaf"):
            self.assertIn(part, text)
        self.assertEqual(json.loads(ended.bytes)["failed"], 1)

    def test_colours_on_a_terminal(self):
        self.case("one", in_="a\n", out="b\n")

        def shown(**env):
            ours, theirs = pty.openpty()
            tool = subprocess.Popen([TOOL, "test", "--guest", guest("c_identity"), "--junit", "junit.xml"], cwd=self.directory,
                                    stderr=theirs, env=os.environ | {"TERM": "xterm", "NO_COLOR": ""} | env)
            os.close(theirs)
            text = read_terminal(ours)
            self.assertEqual(tool.wait(timeout=60), DIFFERENT)
            return text

        coloured = shown()
        for text in ("\033[31mFAILED\033[0m one", "\033[31m    1 - b\033[0m", "\033[32m    1 + a\033[0m", "\033[31mwasm-transform:\033[0m 1 of 1"):
            self.assertIn(text, coloured)
        self.assertNotIn("\\x1b", (self.directory / "junit.xml").read_text())
        for plain in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
            self.assertNotIn("\033", shown(**plain))

    def test_there_must_be_cases(self):
        self.assertIn("there are no cases in", self.cases(code=USAGE).stderr)
        self.assertIn("there are no cases in", self.cases("--cases", "nowhere", code=USAGE).stderr)

    def test_watch(self):
        self.case("one", in_="a\n", out="a\n")
        tool = subprocess.Popen([TOOL, "test", "--guest", guest("c_identity"), "--watch"], cwd=self.directory, text=True,
                                stderr=subprocess.PIPE, env=os.environ)
        self.addCleanup(tool.kill)
        self.addCleanup(tool.stderr.close)

        def read_until(text):
            for line in tool.stderr:
                if text in line:
                    return
            self.fail(text)

        read_until("waiting for a change")
        time.sleep(0.05)  # another time than that of the file before
        self.case("one", in_="a\nb\n")
        read_until("FAILED one")
        read_until("waiting for a change")
        self.case("one", out="a\nb\n")
        read_until("1 case passed")
        tool.send_signal(signal.SIGINT)
        self.assertEqual(tool.wait(timeout=60), -signal.SIGINT)


if __name__ == "__main__":
    main()
