# SPDX-License-Identifier: Apache-2.0
"""Another module for a transform that runs, and back."""

import functools
import hashlib
import http.server
import pathlib
import shutil
import subprocess
import threading
import unittest

from transformd import DAEMON, Daemon, DaemonTest, UnixConnection, guest

# Writes each record as many times as its value's first digit says.
TEE = pathlib.Path(guest("c_tee"))


def digest(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


class QuietServer(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class Deploy(DaemonTest):
    def begin(self, module="c_identity", arguments=(), extra="", workers=1):
        self.topics(2)
        daemon = Daemon(self, self.write_file(module, extra=f"workers: {workers}\n{extra}"), arguments=arguments)
        daemon.wait_until(lambda: daemon.request("GET", "/transforms")[0] == 200, "it answers")
        return daemon

    def deploy(self, daemon, module):
        return daemon.request("POST", f"/transforms/{self.name}/deploy", pathlib.Path(module).read_bytes())

    def wait_module(self, daemon, path):
        daemon.wait_until(lambda: {w["module_sha256"] for w in daemon.transform(self.name)["workers"]} == {digest(path)},
                          f"the workers run {path}")

    def send(self, daemon, *values):
        before = daemon.total(self.name, "records_in")
        self.produce([(b"k", value) for value in values])
        daemon.wait_until(lambda: daemon.total(self.name, "records_in") == before + len(values), "all records")

    def test_another_module_runs_from_the_next_transaction_on(self):
        daemon = self.begin(workers=2)
        daemon.wait_ready()
        self.send(daemon, b"2a")
        status, answer = self.deploy(daemon, TEE)
        self.assertEqual((status, answer["module_sha256"]), (202, digest(TEE)), answer)
        self.wait_module(daemon, TEE)
        self.send(daemon, b"2b", b"3c")
        self.assertEqual(self.values(), [b"2a", b"2b", b"2b", b"3c", b"3c", b"3c"])
        status, answer = daemon.request("POST", f"/transforms/{self.name}/rollback")
        self.assertEqual((status, answer["module_sha256"]), (202, digest(guest("c_identity"))), answer)
        self.wait_module(daemon, guest("c_identity"))
        self.send(daemon, b"2d")
        self.assertEqual(self.values().count(b"2d"), 1)
        self.assertEqual(daemon.transform(self.name)["state"], "running")
        self.assertEqual(daemon.total(self.name, "aborts"), 0)
        self.assertEqual(daemon.stop(), 0, daemon.log)

    def test_a_module_that_is_refused_changes_nothing(self):
        daemon = self.begin()
        daemon.wait_ready()
        for module, word in [("wat_no_abi", "transform"), ("wat_unknown_import", "import"), ("wat_start_trap", "started")]:
            status, answer = self.deploy(daemon, guest(module))
            self.assertEqual(status, 409, answer)
            self.assertIn(word, answer["error"])
        status, answer = daemon.request("POST", f"/transforms/{self.name}/deploy", b"no module")
        self.assertEqual(status, 409, answer)
        status, answer = daemon.request("POST", f"/transforms/{self.name}/rollback")
        self.assertEqual(status, 409)
        self.assertIn("no module before", answer["error"])
        self.assertEqual(daemon.transform(self.name)["module_sha256"], digest(guest("c_identity")))
        self.send(daemon, b"2a")
        self.assertEqual(self.values(), [b"2a"])

    def test_a_transform_that_has_failed_starts_with_the_next_module(self):
        daemon = self.begin("rust_panic")
        daemon.wait_ready()
        self.produce([(b"k", b"boom")])
        daemon.wait_until(lambda: daemon.transform(self.name)["state"] == "failed", "failed")
        status, answer = self.deploy(daemon, guest("c_identity"))
        self.assertEqual(status, 202, answer)
        daemon.wait_until(lambda: daemon.total(self.name, "records_in") == 1, "the record")
        self.assertEqual(self.values(), [b"boom"])
        self.assertEqual(daemon.transform(self.name)["state"], "running")
        self.assertNotIn("error", daemon.transform(self.name))

    def test_a_large_module(self):
        daemon = self.begin()
        daemon.wait_ready()
        status, answer = self.deploy(daemon, guest("go_identity"))
        self.assertEqual(status, 202, answer)
        self.wait_module(daemon, guest("go_identity"))
        self.send(daemon, b"by Go")
        self.assertEqual(self.values(), [b"by Go"])

    def test_bodies_that_are_too_large_are_refused(self):
        daemon = self.begin()
        for target, size in [("pause", 1 << 17), ("deploy", (64 << 20) + 1)]:
            connection = UnixConnection(daemon.socket)
            self.addCleanup(connection.close)
            connection.putrequest("POST", f"/transforms/{self.name}/{target}")
            connection.putheader("Content-Length", str(size))
            connection.endheaders()
            self.assertEqual(connection.getresponse().status, 413)

    def test_two_processes_cannot_share_a_state_directory(self):
        state = str(self.directory / "state")
        first = self.begin(arguments=("--state-dir", state))
        first.wait_ready()
        done = subprocess.run([DAEMON, str(self.directory / f"{self.name}.yaml"), "--state-dir", state], capture_output=True,
                              text=True, timeout=20)
        self.assertEqual(done.returncode, 2)
        self.assertIn("another process", done.stderr)

    def test_a_module_that_never_compiled_is_replaced_too(self):
        daemon = self.begin("wat_no_abi")
        daemon.wait_until(lambda: daemon.transform(self.name)["state"] == "failed", "failed")
        self.assertEqual(self.deploy(daemon, guest("c_identity"))[0], 202)
        self.send(daemon, b"a")
        self.assertEqual(self.values(), [b"a"])

    def test_a_stopped_transform_starts_again_with_the_module_that_it_had(self):
        daemon = self.begin()
        daemon.wait_ready()
        self.assertEqual(self.deploy(daemon, TEE)[0], 202)
        self.wait_module(daemon, TEE)
        self.assertEqual(daemon.request("POST", f"/transforms/{self.name}/start")[0], 409)
        self.assertEqual(daemon.request("POST", f"/transforms/{self.name}/stop")[0], 202)
        daemon.wait_until(lambda: daemon.transform(self.name)["state"] == "stopped", "stopped")
        self.produce([(b"k", b"2a")])
        self.assertEqual(daemon.request("POST", f"/transforms/{self.name}/start")[0], 202)
        daemon.wait_until(lambda: daemon.total(self.name, "records_in") == 1, "the record")
        self.assertEqual(self.values(), [b"2a", b"2a"])

    def test_deployed_modules_survive_the_process(self):
        state = self.directory / "state"
        daemon = self.begin(arguments=("--state-dir", str(state)))
        daemon.wait_ready()
        self.assertEqual(self.deploy(daemon, TEE)[0], 202)
        self.wait_module(daemon, TEE)
        daemon.kill()
        path = self.write_file("c_identity", extra="workers: 1")
        again = Daemon(self, path, arguments=("--state-dir", str(state)))
        again.wait_ready()
        self.wait_module(again, TEE)
        self.assertEqual(again.request("POST", f"/transforms/{self.name}/rollback")[0], 202)
        self.wait_module(again, guest("c_identity"))
        self.assertEqual(again.stop(), 0, again.log)
        # The file names another module since then: it wins.
        daemon = Daemon(self, self.write_file("cpp_identity", extra="workers: 1"), arguments=("--state-dir", str(state)))
        daemon.wait_ready()
        self.wait_module(daemon, guest("cpp_identity"))

    def test_a_directory_that_cannot_be_written_refuses_the_module(self):
        state = self.directory / "state"
        state.mkdir()
        (state / self.name).write_text("this is no directory")
        daemon = self.begin(arguments=("--state-dir", str(state)))
        daemon.wait_until(lambda: daemon.transform(self.name)["state"] == "failed", "it cannot know what was deployed")
        (state / self.name).unlink()
        self.assertEqual(daemon.request("POST", f"/transforms/{self.name}/start")[0], 202)
        daemon.wait_ready()
        (state / self.name).write_text("this is no directory")
        status, answer = self.deploy(daemon, TEE)
        self.assertEqual(status, 409)
        self.assertIn(str(state), answer["error"])
        self.assertEqual(daemon.transform(self.name)["module_sha256"], digest(guest("c_identity")))

    def test_records_in_flight_are_done_once_by_one_of_the_modules(self):
        daemon = self.begin(workers=2)
        daemon.wait_ready()
        count = 20_000
        self.produce([(f"k{i % 20}", f"x{i:06}") for i in range(count)])
        for module in ("cpp_identity", "c_identity", "rust_identity", "cpp_identity"):
            self.assertEqual(self.deploy(daemon, guest(module))[0], 202)
        daemon.wait_until(lambda: daemon.total(self.name, "records_in") == count, "all records")
        self.assertEqual(self.values(), [f"x{i:06}".encode() for i in range(count)])

    def test_a_module_by_its_address(self):
        shutil.copy(TEE, self.directory / "tee.wasm")
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(QuietServer, directory=self.directory))
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.topics(1)
        path = self.write_file("c_identity", extra=f"module-sha256: {digest(TEE)}")
        text = path.read_text().replace(guest("c_identity"), f"http://127.0.0.1:{server.server_port}/tee.wasm")
        path.write_text(text)
        daemon = Daemon(self, path)
        daemon.wait_ready()
        self.send(daemon, b"2a")
        self.assertEqual(self.values(), [b"2a", b"2a"])
        for change, word in [(("tee.wasm", "nothing.wasm"), "404"), ((digest(TEE), "0" * 64), "SHA-256")]:
            path.write_text(text.replace(*change))
            other = Daemon(self, path)
            other.wait_until(lambda d=other: d.transform(self.name)["state"] == "failed", "failed")
            self.assertIn(word, other.transform(self.name)["error"])
            other.kill()


if __name__ == "__main__":
    unittest.main(verbosity=2)
