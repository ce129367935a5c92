"""The examples, built from an installed package and run. Those of c_epoll are in test_install, Python's in test_wheel.

    LIBRARY=… GUESTS=… BUILD=… python3 -B -m unittest test_examples
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = Path(os.environ["LIBRARY"])
GUESTS = Path(os.environ["GUESTS"])
# Where CMake has built the tests' guests in WAT.
WAT = Path(os.environ["BUILD"]) / "cpp_tests/wat"
STRICT = "-Wall -Wextra -Werror"


def run(*command, fails=False, **options):
    """Runs a command. Gives what it printed."""
    done = subprocess.run([str(word) for word in command], text=True, capture_output=True, timeout=300, **options)
    if (done.returncode != 0) != fails:
        raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout + done.stderr


def setUpModule():
    """Installs the package."""
    global PREFIX
    directory = tempfile.TemporaryDirectory()
    unittest.addModuleCleanup(directory.cleanup)
    build, PREFIX = Path(directory.name) / "build", Path(directory.name) / "prefix"
    run("cmake", "-S", ROOT, "-B", build, f"-DWASM_ENGINE_LIBRARY={LIBRARY}", "-DWASM_ENGINE_TOOL=OFF")
    run("cmake", "--build", build)
    run("cmake", "--install", build, "--prefix", PREFIX)


class Example(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        """Builds the example that has the class's name."""
        if cls is Example:
            raise unittest.SkipTest("what the examples share")
        directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(directory.cleanup)
        cls.scratch = Path(directory.name)
        name = cls.__name__
        run("cmake", "-S", ROOT / "examples" / name, "-B", cls.scratch / "build", f"-DCMAKE_PREFIX_PATH={PREFIX}",
            env=os.environ | {"CFLAGS": STRICT, "CXXFLAGS": STRICT})
        run("cmake", "--build", cls.scratch / "build")
        cls.program = cls.scratch / "build" / name

    def start(self, *arguments):
        """Starts a server. Gives the process and the last word of its first line."""
        command = [str(word) for word in (self.program, *arguments)]
        host = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(host.communicate)
        self.addCleanup(host.kill)
        return host, host.stdout.readline().split()[-1]

    def stop(self, host, number=signal.SIGTERM):
        host.send_signal(number)
        self.assertEqual(host.wait(60), 0)


class cpp_asio(Example):
    def connect(self, port):
        client = socket.create_connection(("127.0.0.1", int(port)), timeout=60)
        self.addCleanup(client.close)
        lines = client.makefile("rwb", 0)
        self.addCleanup(lines.close)
        return lines

    def test_lines_and_failures(self):
        host, port = self.start(GUESTS / "wat_traps.wasm")
        first, second = self.connect(port), self.connect(port)
        first.write(b"a\nu\nl\nb\n")
        answers = [first.readline() for _ in range(4)]
        self.assertEqual(answers, [b"a\n", b"! guest-trap\n", b"! guest-timeout\n", b"b\n"])
        second.write(b"c\n")
        self.assertEqual(second.readline(), b"c\n")
        self.stop(host)  # with clients
        self.assertIn("the guest ran for more than 100 ms", host.stderr.read())

    def test_a_host_function(self):
        host, port = self.start(WAT / "t_later.wasm")
        lines = self.connect(port)
        lines.write(b"wait\nend\n")
        self.assertEqual([lines.readline(), lines.readline()], [b"wait\n", b"end\n"])
        lines.write(b"l\n")
        self.stop(host, signal.SIGINT)  # while the guest runs

    def test_a_client_that_does_not_read(self):
        host, port = self.start(GUESTS / "c_tee.wasm")
        slow, fast = self.connect(port), self.connect(port)
        line = b"9" + b"x" * 60_000 + b"\n"
        slow.write(line * 2 + b"1 last\n")
        # Its guest waits for the socket. The other one does not.
        fast.write(b"1 fast\n")
        self.assertEqual(fast.readline(), b"1 fast\n")
        self.assertEqual([slow.readline() for _ in range(19)], [line] * 18 + [b"1 last\n"])
        slow.write(line)
        self.stop(host)  # while the guest waits

    def test_a_bad_module(self):
        self.assertIn("not WebAssembly", run(self.program, ROOT / "README.md", fails=True))


class cpp_libuv(Example):
    def test_values(self):
        self.assertEqual(run(self.program, GUESTS / "c_tee.wasm", "2 a", "0 b", "1 c"), "2 a\n2 a\n1 c\n")
        self.assertIn("not WebAssembly", run(self.program, ROOT / "README.md", "a", fails=True))

    def test_a_dead_letter(self):
        self.assertEqual(run(self.program, GUESTS / "wat_traps.wasm", "a", "u", "b"), "a\ndead letter: u\nb\n")

    def test_a_deadline(self):
        # The library's own limit is three seconds.
        begin = time.monotonic()
        self.assertEqual(run(self.program, GUESTS / "wat_traps.wasm", "l", fails=True), "cancelled\n")
        self.assertGreater(time.monotonic() - begin, 1.9)

    def test_a_guest_that_does_not_start_is_tried_until_the_end(self):
        with subprocess.Popen([self.program, GUESTS / "wat_start_trap.wasm", "a"], stderr=subprocess.PIPE) as host:
            with self.assertRaises(subprocess.TimeoutExpired):
                host.wait(0.5)
            host.terminate()
            self.assertEqual((host.wait(60), host.stderr.read()), (1, b"cancelled\n"))


class thread_per_core(Example):
    def metrics(self, url):
        lines = urllib.request.urlopen(url, timeout=60).read().decode().splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}

    def until(self, condition):
        end = time.monotonic() + 60
        while not condition():
            self.assertLess(time.monotonic(), end)
            time.sleep(0.02)

    def test_metrics_and_hot_swap(self):
        guest = self.scratch / "guest.wasm"
        shutil.copy(GUESTS / "c_tee.wasm", guest)
        host, url = self.start(guest, 2, 3)
        records = [f'wasm_output_records_total{{transform="example",shard="{shard}"}}' for shard in range(2)]
        self.until(lambda: all(self.metrics(url).get(name, 0) > 0 for name in records))
        seen = self.metrics(url)
        self.assertEqual((seen["wasm_engines"], seen["wasm_pools"], seen["wasm_pool_engines"]), (6, 2, 8))
        # Of 4 MiB each, for the engines of two threads and one more.
        self.assertEqual(seen["host_guest_memory_bytes"], 2 * 4 * (4 << 20))
        with self.assertRaises(urllib.error.HTTPError):
            self.metrics(url.replace("metrics", "other"))

        shutil.copy(GUESTS / "c_identity.wasm", guest)
        host.send_signal(signal.SIGHUP)
        said = sorted(host.stdout.readline() for _ in range(2))
        self.assertEqual(said, [f"shard {shard}: hot swap has ended\n" for shard in range(2)])
        self.until(lambda: self.metrics(url)["wasm_factories"] == 1)
        before = self.metrics(url)
        self.until(lambda: all(self.metrics(url)[name] > before[name] for name in records))
        self.until(lambda: self.metrics(url)["wasm_pool_memories_dirty"] == 0)
        self.assertEqual(self.metrics(url)['wasm_restarts_total{transform="example",shard="0"}'], 0)

        bad = (GUESTS / "wat_start_trap.wasm", "while it started"), (ROOT / "README.md", "stay as they are")
        for module, why in bad:
            shutil.copy(module, guest)
            host.send_signal(signal.SIGHUP)
            self.assertTrue(any(why in line for line in iter(host.stdout.readline, "")))
        before = self.metrics(url)
        self.until(lambda: all(self.metrics(url)[name] > before[name] for name in records))
        self.stop(host)

    def test_guests_that_do_not_start(self):
        host, url = self.start(GUESTS / "wat_start_trap.wasm", 1, 2)
        self.until(lambda: sum(value for name, value in self.metrics(url).items() if "wasm_errors_total" in name) > 2)
        self.stop(host, signal.SIGINT)  # while both wait to be started again


class custom_engine(Example):
    def test_values(self):
        printed = run(self.program, "hello", "", "big world")
        self.assertEqual(printed, "0: HELLO\n2: BIG WORLD\nskipped: 1\nstopped: cancelled\n")

    def test_more_output_than_there_is_room_for(self):
        values = [chr(97 + i % 26) * 100_000 for i in range(15)]
        printed = run(self.program, *values).splitlines()
        self.assertEqual(printed[:-2], [f"{i}: {value.upper()}" for i, value in enumerate(values)])


if __name__ == "__main__":
    unittest.main()
