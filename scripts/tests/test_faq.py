"""What docs/faq.md says and no other test shows: the end of a process while a module is compiled.

    LIBRARY=… GUESTS=… python3 -B -m unittest test_faq
"""

import re
import tempfile
import unittest

from docs_support import GUESTS, ROOT, compile_c, run


class Faq(unittest.TestCase):
    def test_a_process_ends_while_a_module_is_compiled(self):
        with tempfile.TemporaryDirectory() as scratch:
            program = compile_c("exit_while_compiling.c", scratch, "-pthread")
            for how in ("return", "exit", "thread", "quick_exit", "release"):
                done = run(program, GUESTS / "go_identity.wasm", arguments=[how])
                self.assertEqual((done.returncode, done.stderr), (42, b""), how)

    def test_files_that_are_named_as_tests_exist(self):
        page = (ROOT / "docs" / "faq.md").read_text()
        named = re.findall(r"`(\w+/\w+\.(?:cc|c))`", page)
        self.assertTrue(named)
        for name in named:
            self.assertTrue((ROOT / "cpp_tests" / name).exists(), name)


if __name__ == "__main__":
    unittest.main()
