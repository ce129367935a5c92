# SPDX-License-Identifier: Apache-2.0
"""`wasm-transform ctl` with a daemon. WASM_TRANSFORM is the tool."""

import json
import os
import signal
import subprocess
import time
import unittest

from transformd import Daemon, DaemonTest, guest

TOOL = os.environ.get("WASM_TRANSFORM")


@unittest.skipUnless(TOOL, "WASM_TRANSFORM is not set")
class Ctl(DaemonTest):
    def setUp(self):
        super().setUp()
        self.topics(2)
        self.daemon = Daemon(self, self.write_file("c_identity", extra="workers: 1"))
        self.daemon.wait_ready()

    def ctl(self, *arguments, code=0, daemon=None):
        done = subprocess.run([TOOL, "ctl", *arguments, "--daemon", daemon or str(self.daemon.socket)], capture_output=True,
                              text=True, timeout=60)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stdout if code == 0 else done.stderr

    def wait(self, what, state):
        self.daemon.wait_until(lambda: self.daemon.transform(self.name)["state"] == state, what)

    def test_list_and_status(self):
        self.produce([("k", f"{i}") for i in range(10)])
        self.daemon.wait_until(lambda: self.daemon.total(self.name, "records_in") == 10, "the records")
        rows = [line.split() for line in self.ctl("list").splitlines()]
        self.assertEqual(rows[0], ["NAME", "STATE", "IN", "OUT", "LOST", "LAG", "MODULE"])
        self.assertEqual(rows[1][:5], [self.name, "running", "10", "10", "0"])
        text = self.ctl("status", self.name)
        self.assertRegex(text, r"state +running")
        self.assertRegex(text, rf"{self.input} +1 ")
        self.assertEqual(json.loads(self.ctl("status", self.name, "--json"))["name"], self.name)
        self.assertEqual(json.loads(self.ctl("list", "--json"))["transforms"][0]["name"], self.name)

    def test_commands(self):
        self.ctl("pause", self.name)
        self.wait("paused", "paused")
        self.ctl("resume", self.name)
        self.wait("running", "running")
        self.produce([("k", f"3{i}") for i in range(4)])
        self.daemon.wait_until(lambda: self.daemon.total(self.name, "records_in") == 4, "the records")
        self.assertIn("next transaction", self.ctl("deploy", self.name, guest("c_tee")))
        self.ctl("seek", self.name, "--earliest")
        self.daemon.wait_until(lambda: self.daemon.total(self.name, "records_in") == 8, "the records again")
        self.assertEqual(len(self.values()), 4 + 12)
        self.ctl("rollback", self.name)
        self.ctl("seek", self.name, "--timestamp", "2020-01-01T00:00:00Z")
        self.daemon.wait_until(lambda: self.daemon.total(self.name, "records_in") == 12, "the records again")
        self.assertEqual(len(self.values()), 4 + 12 + 4)
        self.ctl("stop", self.name)
        self.wait("stopped", "stopped")
        self.ctl("start", self.name)
        self.wait("running", "running")

    def test_logs(self):
        text = self.ctl("logs", self.name)
        self.assertIn("info  worker 0 takes", text)
        self.assertEqual(self.ctl("logs", self.name, "--since", "1ms"), "")
        follower = subprocess.Popen([TOOL, "ctl", "logs", self.name, "-f", "--json"], stdout=subprocess.PIPE, text=True,
                                    env={**os.environ, "WASM_TRANSFORMD": str(self.daemon.socket)})
        self.addCleanup(follower.kill)
        self.ctl("deploy", self.name, guest("c_tee"))
        for line in follower.stdout:
            if "has the module" in json.loads(line)["text"]:
                break
        follower.send_signal(signal.SIGINT)
        follower.wait(10)
        follower.stdout.close()

    def test_faults(self):
        self.assertIn("no transform `nobody`", self.ctl("status", "nobody", code=2))
        self.assertIn("import", self.ctl("deploy", self.name, guest("wat_unknown_import"), code=1))
        self.assertIn("no module before", self.ctl("rollback", self.name, code=1))
        self.assertIn("no answer from wasm-transformd at 127.0.0.1:1", self.ctl("list", code=1, daemon="127.0.0.1:1"))
        for arguments in [("list", self.name), ("status",), ("deploy", self.name), ("pause", self.name, guest("c_tee")),
                          ("seek", self.name), ("seek", self.name, "--earliest", "--offset", "1"), ("pause", self.name, "--latest"),
                          ("status", self.name, "--follow"), ("dance",)]:
            self.ctl(*arguments, code=2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
