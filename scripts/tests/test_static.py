"""libwasm_engine.a in one program with Debian's zstd, LZ4 and xxHash, of which the library has its own inside.

    LIBRARY=… GUESTS=… python3 -B -m unittest test_static
"""

import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = Path(os.environ["LIBRARY"])
ARCHIVE = LIBRARY.with_suffix(".a")
GUESTS = Path(os.environ["GUESTS"])


def run(*command, **options):
    """Runs a command. Gives what it printed."""
    done = subprocess.run([str(word) for word in command], text=True, capture_output=True, **options)
    if done.returncode != 0:
        raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def symbols(*arguments):
    """Names and types, in order, without versions."""
    return re.findall(r"^\w* *(\w) (\w+)", run("nm", *arguments), re.MULTILINE)


class Static(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(directory.cleanup)
        base = Path(directory.name)
        run("cmake", "-S", ROOT, "-B", base / "build", f"-DWASM_ENGINE_LIBRARY={LIBRARY}", "-DWASM_ENGINE_TOOL=OFF",
            "-DWASM_ENGINE_STATIC=ON")
        run("cmake", "--build", base / "build")
        run("cmake", "--install", base / "build", "--prefix", base / "installed")
        cls.prefix = base / "installed"
        # The path of the static libraries themselves: a program is to have no other.
        cls.out = base / "program"
        run("cmake", "-S", ROOT / "scripts/tests/static", "-B", cls.out, f"-DCMAKE_PREFIX_PATH={cls.prefix}")
        run("cmake", "--build", cls.out)

    def test_only_the_functions_of_the_header_are_global(self):
        exported = {name for _, name in symbols("-D", "--defined-only", LIBRARY)}
        defined = {name for _, name in symbols("-g", "--defined-only", ARCHIVE)}
        self.assertEqual(defined, exported)
        wanted = {name for kind, name in symbols("-u", ARCHIVE)}
        self.assertEqual([name for name in wanted if re.match(r"ZSTD|LZ4|XXH|__real|__wrap|__rust|_R", name)], [])
        # All that is there is called through the library's allocator, which calls the process's.
        self.assertIn("malloc", wanted)
        self.assertIn("__wrap_malloc", {name for _, name in symbols(ARCHIVE)})

    def test_both_in_one_program(self):
        program = self.out / "both"
        said = run(program, GUESTS / "c_identity.wasm").splitlines()
        version = re.match(r"\d+\.\d+\.\d+", run("dpkg-query", "-W", "-f", "${Version}", "libzstd-dev"))
        self.assertEqual(said[0], f"zstd {version.group()}: ok, LZ4: ok, xxHash: ok")
        codecs = ("none", "gzip", "snappy", "lz4", "zstd")
        self.assertEqual(said[1:], [f"{codec}: the record came back" for codec in codecs])
        needed = re.findall(r"NEEDED.*\[(.*)\]", run("readelf", "-d", program))
        self.assertEqual([name for name in needed if re.match("libwasm|libzstd|liblz4|libxxhash", name)], [])
        # Two zstd are in it: the program's own, and the one that is local to the library.
        self.assertGreater([name for _, name in symbols(program)].count("ZSTD_compressStream2"), 1)

    def test_pkg_config(self):
        pc = next(self.prefix.glob("lib*/**/wasm_engine.pc"))
        env = os.environ | {"PKG_CONFIG_PATH": str(pc.parent)}
        flags = run("pkg-config", "--static", "--cflags", "--libs", "wasm_engine", env=env).split()
        self.assertIn("-lgcc_s", flags)
        flags = ["-l:libwasm_engine.a" if flag == "-lwasm_engine" else flag for flag in flags]
        sources = ROOT / "examples/c_epoll/main.c"
        run("cc", "-std=gnu11", "-o", self.out / "epoll", sources, *flags)
        self.assertEqual(run(self.out / "epoll", GUESTS / "c_tee.wasm", "2 b"), "0: 2 b\n0: 2 b\n")


if __name__ == "__main__":
    unittest.main()
