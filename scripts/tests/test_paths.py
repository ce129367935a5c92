"""What ships of the library has no path of the machine that built it, and debug information has a file of its own.

    LIBRARY=… python3 -B -m unittest test_paths
"""

import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = Path(os.environ["LIBRARY"])
DEBUG = Path(f"{LIBRARY}.debug")
HOME = Path.home()
OF_THIS_MACHINE = [
    str(ROOT),
    str(LIBRARY.parents[1]),
    os.environ.get("CARGO_HOME", str(HOME / ".cargo")),
    os.environ.get("RUSTUP_HOME", str(HOME / ".rustup")),
]


def run(*command):
    words = [str(word) for word in command]
    return subprocess.run(words, text=True, capture_output=True, check=True, errors="replace").stdout


class Paths(unittest.TestCase):
    def has_none(self, path, something):
        data = path.read_bytes()
        for text in OF_THIS_MACHINE:
            at = data.find(text.encode())
            self.assertEqual(at, -1, f"{path}: {data[max(0, at - 40):at + 120]}")
        # So that it was worth looking.
        self.assertIn(something, data)

    def test_the_library(self):
        self.has_none(LIBRARY, b"/usr/src/cargo/wasmtime-")

    def test_the_static_library(self):
        self.has_none(LIBRARY.with_suffix(".a"), b"/usr/src/cargo/wasmtime-")

    def test_debug_information(self):
        with tempfile.TemporaryDirectory() as scratch:
            plain = Path(scratch) / "plain"
            run("objcopy", "--decompress-debug-sections", DEBUG, plain)
            self.has_none(plain, b"/usr/src/wasm-engine")

    def test_it_belongs_to_the_library(self):
        ids = [re.search(r"Build ID: (\w{40})", run("readelf", "-n", path)).group(1) for path in (LIBRARY, DEBUG)]
        self.assertEqual(*ids)
        self.assertIn(DEBUG.name, run("readelf", "--string-dump=.gnu_debuglink", LIBRARY))
        self.assertNotRegex(run("readelf", "-SW", LIBRARY), r"\.symtab|\.debug_")
        symbols = run("readelf", "-sW", DEBUG)
        address = re.search(r"(\w+) +\d+ FUNC +GLOBAL .* wasm_runtime_create$", symbols, re.MULTILINE).group(1)
        self.assertRegex(run("addr2line", "-e", DEBUG, address), r"^/usr/src/wasm-engine/src/abi/runtime\.rs:\d+")


if __name__ == "__main__":
    unittest.main()
