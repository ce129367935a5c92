"""What docs/faq.md says and no other test shows: the end of a process while a module is compiled.

    LIBRARY=… GUESTS=… python3 -B -m unittest test_faq
"""

import tempfile
import unittest

from docs_support import GUESTS, compile_c, run


class Faq(unittest.TestCase):
    def test_a_process_ends_while_a_module_is_compiled(self):
        with tempfile.TemporaryDirectory() as scratch:
            program = compile_c("exit_while_compiling.c", scratch, "-pthread")
            for how in ("return", "exit", "thread", "quick_exit", "release"):
                done = run(program, GUESTS / "go_identity.wasm", arguments=[how])
                self.assertEqual((done.returncode, done.stderr), (42, b""), how)


if __name__ == "__main__":
    unittest.main()
