"""The states of an engine as docs/diagrams/engine.dot has them are those that an engine goes through.

    LIBRARY=… GUESTS=… python3 -B -m unittest test_concepts
"""

import re
import subprocess
import tempfile
import unittest

from docs_support import GUESTS, ROOT, compile_c

EDGE = re.compile(r"^ *(\w+) -> (\w+)", re.MULTILINE)


class Diagram(unittest.TestCase):
    def test_the_states_of_an_engine(self):
        drawn = set(EDGE.findall((ROOT / "docs" / "diagrams" / "engine.dot").read_text()))
        with tempfile.TemporaryDirectory() as scratch:
            program = compile_c("engine_states.c", scratch)
            done = subprocess.run([program, GUESTS], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(set(EDGE.findall(done.stdout)), drawn)

    def test_the_nodes_are_names_of_the_header(self):
        header = (ROOT / "include" / "wasm_engine.h").read_text()
        for diagram, prefix in (("engine", "WASM_ENGINE_STATE_"), ("future", "WASM_POLL_")):
            source = (ROOT / "docs" / "diagrams" / f"{diagram}.dot").read_text()
            drawn = set(re.findall(r"\b([A-Z]{4,})\b", source.replace("SKIP", "")))
            declared = {name for name in re.findall(rf"\b{prefix}(\w+) = \d", header)}
            self.assertEqual(declared - drawn, set(), diagram)


if __name__ == "__main__":
    unittest.main()
