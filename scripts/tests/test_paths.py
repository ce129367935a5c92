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

    def test_only_a_build_that_links_changes_the_library(self):
        """Clippy shares the directory."""
        with tempfile.TemporaryDirectory() as scratch:
            library, debug = Path(scratch) / "deps/libwasm_engine.so", Path(scratch) / "libwasm_engine.so.debug"
            library.parent.mkdir()
            environment = os.environ | {"CARGO_MANIFEST_DIR": str(ROOT)}
            for emit, changes in (("--emit=dep-info,metadata", False), ("--emit=dep-info,link", True)):
                library.write_bytes(b"as it was")
                command = ["true", "--crate-name", "wasm_engine", "--crate-type", "cdylib", emit, "--out-dir", library.parent]
                copy = ["objcopy", "--remove-section=.gnu_debuglink", LIBRARY, library] if changes else ["true"]
                subprocess.run(copy, check=True)
                before = library.stat().st_ino
                subprocess.run([ROOT / "scripts/rustc.sh", *command], check=True, env=environment)
                self.assertEqual(debug.exists(), changes)
                self.assertEqual(library.stat().st_ino != before, changes, "programs may run the old one")


if __name__ == "__main__":
    unittest.main()
