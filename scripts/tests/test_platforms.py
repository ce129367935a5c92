"""What docs/platforms.md says of the C library, the compilers and the kernel.

    LIBRARY=… GUESTS=… python3 -B -m unittest test_platforms
"""

import os
import re
import shutil
import subprocess
import tempfile
import unittest

from docs_support import GUESTS, LIBRARY, ROOT, compile_c, host_of, run

PAGE = (ROOT / "docs" / "platforms.md").read_text()


def readelf(*arguments):
    return subprocess.run(["readelf", "-W", *arguments, LIBRARY], check=True, capture_output=True, text=True).stdout


def compiles(compiler, *flags, header="wasm_engine.h", language="c"):
    command = [compiler, "-fsyntax-only", f"-I{ROOT / 'include'}", *flags, "-x", language, "-"]
    return subprocess.run(command, input=f"#include <{header}>\n", capture_output=True, text=True).returncode == 0


class File(unittest.TestCase):
    def test_the_newest_glibc_that_is_needed_is_that_of_the_page(self):
        versions = {tuple(map(int, found.split("."))) for found in re.findall(r"GLIBC_([\d.]+)", readelf("-V"))}
        self.assertIn(f"glibc {'.'.join(map(str, max(versions)))}", PAGE)

    def test_the_libraries_that_are_needed_are_those_of_the_page(self):
        needed = re.findall(r"\(NEEDED\).*\[(.*)\]", readelf("-d"))
        self.assertEqual(sorted(needed), sorted(re.findall(r"^- `(\S+\.so\S*)`", PAGE, re.MULTILINE)))

    def test_it_is_hardened_and_stays_loaded(self):
        dynamic, segments = readelf("-d"), readelf("-l")
        for flag in ("BIND_NOW", "NODELETE"):
            self.assertIn(flag, dynamic)
        self.assertNotIn("STATIC_TLS", dynamic)
        self.assertNotIn("TEXTREL", dynamic)
        self.assertIn("GNU_RELRO", segments)
        self.assertNotRegex(segments, r"(LOAD|GNU_STACK).*RWE")


class Compilers(unittest.TestCase):
    def test_the_header_in_older_languages_than_promised(self):
        for compiler in filter(shutil.which, ("gcc", "clang-22")):
            self.assertTrue(compiles(compiler, "-std=c99", "-pedantic-errors", "-Wall", "-Wextra", "-Werror"), compiler)
        for compiler in filter(shutil.which, ("g++", "clang++-22")):
            for standard in ("c++11", "c++17", "c++20"):
                self.assertTrue(compiles(compiler, f"-std={standard}", "-Werror", language="c++"), (compiler, standard))

    def test_the_layer_needs_c_plus_plus_20_and_exceptions_and_no_rtti(self):
        layer = {"header": "wasm_engine/wasm_engine.hh", "language": "c++"}
        for compiler in filter(shutil.which, ("g++", "clang++-22")):
            self.assertTrue(compiles(compiler, "-std=c++20", "-fno-rtti", **layer), compiler)
        self.assertFalse(compiles("g++", "-std=c++17", **layer))
        self.assertFalse(compiles("g++", "-std=c++20", "-fno-exceptions", **layer))

    def test_short_enums_are_another_abi(self):
        command = ["gcc", f"-I{ROOT / 'include'}", "-x", "c", "-fsyntax-only", "-"]
        source = "#include <wasm_engine.h>\n_Static_assert(sizeof(wasm_status) == 4, \"32 bits\");\n"
        for flags, code in (([], 0), (["-fshort-enums"], 1)):
            done = subprocess.run([*command, *flags], input=source, capture_output=True, text=True)
            self.assertEqual(done.returncode, code, done.stderr)


class Kernel(unittest.TestCase):
    def test_system_calls_that_are_newer_than_linux_3_17_may_be_missing(self):
        """319 is memfd_create, the last one of 3.17 on x86-64."""
        if os.uname().machine != "x86_64":
            self.skipTest("the numbers are those of x86-64")
        with tempfile.TemporaryDirectory() as scratch:
            filtered = compile_c("old_kernel.c", scratch, linked=False)
            host = host_of("README.md", scratch)
            done = run(host, GUESTS / "c_tee.wasm", filtered, "320")
            self.assertEqual((done.returncode, done.stdout), (0, b"2 copies\n2 copies\n"), done.stderr)
            # So the filter does refuse: write has the number 1.
            self.assertNotEqual(run(host, GUESTS / "c_tee.wasm", filtered, "1").returncode, 0)


if __name__ == "__main__":
    unittest.main()
