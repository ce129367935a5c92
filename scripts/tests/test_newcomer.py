"""The table of docs/installing.md is about what the pages say.

    python3 -B -m unittest test_newcomer
"""

import importlib.util
import re
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("newcomer", ROOT / "scripts" / "newcomer.py")
newcomer = importlib.util.module_from_spec(spec)
sys.modules["newcomer"] = newcomer  # for its dataclasses
spec.loader.exec_module(newcomer)


class Newcomer(unittest.TestCase):
    def test_the_table_is_about_the_pages(self):
        table = re.match(r"(\|.*\n)*", newcomer.TABLE.read_text().partition(newcomer.HEAD)[2]).group()
        measured = re.findall(r"^\| (\[.*\)) \| (\d+) \|", table, re.MULTILINE)
        said = [(one.link, str(len(one.commands))) for one in newcomer.newcomers()]
        self.assertEqual(measured, [row for row in said if row[0] in dict(measured)])
        self.assertGreater(len(measured), 3)

    def test_a_newcomer_installs_first_and_runs_the_host_last(self):
        for one in newcomer.newcomers():
            with self.subTest(one.name):
                self.assertRegex(one.commands[0], r"^apt-get install -y ")
                self.assertIn("build/guests/c_tee.wasm", one.commands[-1])
                self.assertTrue(one.files or "examples" in one.commands[1])


if __name__ == "__main__":
    unittest.main()
