"""Links and paths that lead nowhere are noticed."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPT = Path(__file__).resolve().parent.parent / "check-links.py"


class Links(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.page = Path(directory.name) / "page.md"
        self.other = Path(directory.name) / "other.md"
        self.other.write_text("# Some `code`, and more\n")

    def check(self, text):
        self.page.write_text(text)
        done = subprocess.run([sys.executable, SCRIPT, self.page], capture_output=True, text=True)
        self.assertNotIn("Traceback", done.stderr)
        return done

    def assert_fault(self, text, fault):
        done = self.check(text)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn(fault, done.stderr)

    def test_links_that_lead_somewhere(self):
        done = self.check("# Top\n[a](other.md) [b](other.md#some-code-and-more) [c](#top)\n"
                          "[d](https://example.com/x) `src/lib.rs` `src/` `src/nothing`\n")
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_a_file_that_is_not_there(self):
        self.assert_fault("[a](missing.md)\n", "no such file: missing.md")
        self.assert_fault("![a](missing.svg)\n", "no such file: missing.svg")
        self.assert_fault("See [a].\n\n[a]: missing.md\n", "no such file: missing.md")

    def test_a_heading_that_is_not_there(self):
        self.assert_fault("[a](other.md#nothing)\n", "no such heading: other.md#nothing")
        self.assert_fault("[a](#nothing)\n", "no such heading: #nothing")

    def test_a_path_that_is_not_there(self):
        self.assert_fault("`src/nothing.rs`\n", "no such path: src/nothing.rs")

    def test_a_name_that_is_not_in_the_header(self):
        self.assert_fault("`wasm_engine_fly`\n", "no such name in the header: wasm_engine_fly")
        self.assert_fault("`WASM_STATUS_FLOWN`\n", "no such name in the header: WASM_STATUS_FLOWN")
        done = self.check("`wasm_engine_start` `WASM_STATUS_OK` `wasm_engines` `wasm_engine_fly(x)`\n")
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_code_blocks_are_left_out(self):
        self.assertEqual(self.check("```\n[a](missing.md) `src/nothing.rs`\n```\n").returncode, 0)


if __name__ == "__main__":
    unittest.main()
