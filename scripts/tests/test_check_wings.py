"""The order of wings and the list of modules with unsafe code: what check-wings.py lets pass and what it refuses."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPT = Path(__file__).parent.parent / "check-wings.py"


def check(files):
    """The script's exit code and output for a source tree of these files."""
    with tempfile.TemporaryDirectory() as src:
        for name, text in files.items():
            path = Path(src) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        run = subprocess.run([sys.executable, "-B", SCRIPT, src], capture_output=True, text=True)
        return run.returncode, run.stdout


class Wings(unittest.TestCase):
    def test_what_comes_before_may_be_used(self):
        code, _ = check({"guest/a.rs": "use crate::base::error::Error;\nuse crate::guest::b;\n", "lib.rs": "mod abi;"})
        self.assertEqual(code, 0)

    def test_what_comes_after_may_not(self):
        for text in ("use crate::engine::seat::Seat;", "use crate::{base::error, engine::seat};", "fn f(_: crate::abi::A) {}"):
            code, output = check({"guest/a.rs": text})
            self.assertEqual(code, 1, text)
            self.assertIn("guest must not use", output)

    def test_each_file_and_each_path_is_of_a_wing(self):
        self.assertEqual(check({"other/a.rs": ""})[0], 1)
        self.assertEqual(check({"guest/a.rs": "use crate::other::A;"})[0], 1)


class Unsafe(unittest.TestCase):
    LIST = ("//! It is allowed in `abi`; in `host`: `call`,\n//! `owned`; in `system`: `memory`; and in single functions"
            " that state the reason.\n")
    FILES = {"lib.rs": LIST} | dict.fromkeys(
        ("abi/mod.rs", "host/call.rs", "host/owned.rs", "system/memory/block.rs", "system/memory/slabs.rs"),
        "//! A file.\n#![allow(unsafe_code, clippy::other)]\n")

    def test_the_list_is_that_of_the_files(self):
        self.assertEqual(check(self.FILES), (0, check({})[1]))

    def test_a_module_that_is_not_listed(self):
        code, output = check(self.FILES | {"system/fork.rs": "#![allow(unsafe_code)]\n"})
        self.assertEqual(code, 1)
        self.assertIn("unsafe is allowed in system::fork, which is not in the list", output)

    def test_a_module_that_does_not_need_it(self):
        code, output = check(self.FILES | {"host/owned.rs": "//! `#![allow(unsafe_code)]` is not here.\n"})
        self.assertEqual(code, 1)
        self.assertIn("host::owned is in the list and does not allow unsafe", output)


if __name__ == "__main__":
    unittest.main()
