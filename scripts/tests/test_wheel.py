"""The Python wheel as its users get it: in a fresh virtual environment, away from the checkout.

    WHEEL=… GUESTS=… python3 -B -m unittest test_wheel

$WHEEL is the wheel or its directory. What it needs comes from where scripts/setup.sh has put it.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import unittest
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GUESTS = Path(os.environ["GUESTS"])
WHEEL = Path(os.environ["WHEEL"])
WHEEL = next(WHEEL.glob("*.whl")) if WHEEL.is_dir() else WHEEL
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
WHEELS = Path(os.environ.get("WASM_ENGINE_WHEELS") or CACHE / "wasm-engine/wheels")


def run(*command, **options):
    """Runs a command. Gives what it printed to standard output."""
    done = subprocess.run([str(word) for word in command], text=True, capture_output=True, **options)
    if done.returncode != 0:
        raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


class Wheel(unittest.TestCase):
    def test_what_is_in_it(self):
        names = zipfile.ZipFile(WHEEL).namelist()
        files = {name for name in names if name.startswith("wasm_engine/")}
        self.assertLessEqual({f"wasm_engine/{name}" for name in ("libwasm_engine.so", "_header.py", "py.typed")}, files)
        for licence in ("LICENSE", "THIRD-PARTY.md"):
            self.assertTrue(any(name.endswith("/" + licence) for name in names), names)
        self.assertTrue(all(name in files or ".dist-info/" in name for name in names), names)

    def test_its_tag_is_true(self):
        """Of manylinux: which C library is the oldest, and that nothing else is asked for."""
        minor = int(re.fullmatch(r"wasm_engine-[\d.]+-py3-none-manylinux_2_(\d+)_\w+\.whl", WHEEL.name)[1])
        with tempfile.TemporaryDirectory() as scratch:
            library = zipfile.ZipFile(WHEEL).extract("wasm_engine/libwasm_engine.so", scratch)
            asked = {int(found) for found in re.findall(r"GLIBC_2\.(\d+)", run("readelf", "-V", library))}
            needed = set(re.findall(r"NEEDED.*\[(.*)\.so", run("readelf", "-d", library)))
        self.assertEqual(max(asked), minor)
        self.assertLessEqual(needed, {"libc", "libm", "libgcc_s", "ld-linux-x86-64"})


class Installed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(directory.cleanup)
        cls.place = Path(directory.name)
        run("/usr/bin/python3", "-m", "venv", cls.place / "venv")
        cls.python = cls.place / "venv/bin/python"
        run(cls.python, "-m", "pip", "install", "-q", "--no-index", "--find-links", WHEELS, WHEEL, "mypy", "types-cffi")
        shutil.copytree(ROOT / "python/tests", cls.place / "tests")
        shutil.copy(ROOT / "examples/python_asyncio/main.py", cls.place / "main.py")
        # Nothing of the shell's: no PYTHONPATH, no LD_LIBRARY_PATH.
        cls.clean = {"env": {"PATH": "/usr/bin:/bin", "GUESTS": str(GUESTS)}, "cwd": cls.place}

    def test_it_is_the_installed_one(self):
        program = "import wasm_engine as we, os; print(we.__file__, we.__version__, open('/proc/self/maps').read())"
        printed = run(self.python, "-c", program, **self.clean)
        module, version, maps = printed.split(maxsplit=2)
        self.assertTrue(module.startswith(f"{self.place}/venv/"), module)
        self.assertIn(f'version = "{version}"', (ROOT / "Cargo.toml").read_text())
        libraries = set(re.findall(r"\S+/libwasm_engine\S*", maps))
        self.assertEqual(libraries, {str(Path(module).parent / "libwasm_engine.so")})
        self.assertNotIn(str(ROOT) + "/", maps)

    def test_its_tests(self):
        printed = subprocess.run([self.python, "-B", "-X", "dev", "-W", "error", "-m", "unittest", "-q"], text=True,
                                 capture_output=True, **self.clean | {"cwd": self.place / "tests"})
        self.assertEqual(printed.returncode, 0, printed.stderr)
        self.assertGreater(int(re.search(r"Ran (\d+) tests", printed.stderr)[1]), 30)

    def test_its_types(self):
        tests = sorted((self.place / "tests").glob("*.py"))
        mypy = [self.python, "-m", "mypy", "--strict", "--cache-dir", self.place / "mypy"]
        self.assertIn("Success", run(*mypy, "-p", "wasm_engine", **self.clean))
        self.assertIn("Success", run(*mypy, *tests, "main.py", **self.clean))
        # It is not that everything passes.
        wrong = self.place / "wrong.py"
        wrong.write_text("import wasm_engine\nwasm_engine.Record('text')\nwasm_engine.Runtime().validate(1)\n")
        said = subprocess.run([*mypy, wrong], text=True, capture_output=True, **self.clean)
        self.assertIn("Found 2 errors", said.stdout)

    def test_the_program_of_the_readme(self):
        program = re.search(r"```python\n(.*?)```", (ROOT / "python/README.md").read_text(), flags=re.DOTALL)[1]
        (self.place / "readme.py").write_text(program)
        printed = run(self.python, "readme.py", GUESTS / "c_tee.wasm", **self.clean)
        self.assertEqual(printed, "out b'k' b'2 twice' ()\n" * 2)

    def test_the_example(self):
        guest = self.place / "guest.wasm"
        shutil.copy(GUESTS / "wat_traps.wasm", guest)
        command = [self.python, "main.py", guest]
        with subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **self.clean) as host:
            self.addCleanup(host.kill)
            port = int(host.stdout.readline().split()[1])
            with socket.create_connection(("127.0.0.1", port)) as client, client.makefile("rwb", 0) as lines:

                def ask(line):
                    lines.write(line)
                    return lines.readline()

                answers = [ask(line) for line in (b"a\n", b"u\n", b"l\n", b"b\n")]
                self.assertEqual(answers, [b"a\n", b"! GUEST_TRAP\n", b"! GUEST_TIMEOUT\n", b"b\n"])
                shutil.copy(GUESTS / "c_tee.wasm", guest)
                host.send_signal(signal.SIGHUP)
                self.assertEqual(host.stdout.readline(), "hot swap has ended\n")
                self.assertEqual([ask(b"2\n"), lines.readline()], [b"2\n", b"2\n"])
                shutil.copy(ROOT / "README.md", guest)
                host.send_signal(signal.SIGHUP)
                self.assertIn("this is not WebAssembly", host.stdout.readline())
                # A client that is connected does not hold the host up.
                host.terminate()
                self.assertEqual(host.wait(60), 0)
            self.assertIn("the guest ran for more than 100 ms", host.stderr.read())


if __name__ == "__main__":
    unittest.main()
