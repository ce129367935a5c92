# SPDX-License-Identifier: Apache-2.0
"""As a service or in a container: what systemd is told, and that little is needed: no rights, no place to write, little memory."""

import http.client
import os
import pathlib
import socket
import subprocess
import tempfile
import unittest

from kafka_cluster import free_ports
from transformd import DAEMON, Daemon, DaemonTest, guest, numbered

MEMORY = pathlib.Path("/sys/fs/cgroup/memory")


class Service(DaemonTest):
    def test_systemd_is_told_of_start_and_stop(self):
        self.topics(1)
        path = self.directory / "notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(path))
            manager.settimeout(60)
            daemon = Daemon(self, self.write_file(), environment={"NOTIFY_SOCKET": str(path)})
            self.assertEqual(manager.recv(100), b"READY=1")
            daemon.wait_ready()
            self.assertEqual(daemon.stop(), 0, daemon.log)
            self.assertEqual(manager.recv(100), b"STOPPING=1")

    def get(self, port, path):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def start_behind(self, *wrapper):
        """Behind a command that takes something away. What it does not need to write to cannot be a socket: it listens."""
        self.topics(2)
        path = self.write_file()
        port = free_ports(1)[0]
        with (self.directory / "log").open("wb") as log:
            process = subprocess.Popen([*wrapper, DAEMON, str(path), "--threads", "2", "--listen", str(port)],
                                       stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.addCleanup(lambda: (process.kill(), process.wait()) if process.poll() is None else None)
        return process, port

    def check_works(self, process, port, count):
        watcher = Daemon.wait_until
        watched = type("Watched", (), {"process": process, "log": property(lambda _: (self.directory / "log").read_text())})()
        watcher(watched, lambda: self.get(port, "/readyz") == "ready\n", "ready")
        self.produce(numbered(count))
        watcher(watched, lambda: sum(self.committed().values()) == count, "the position is at the end")
        self.check_once_and_in_order(count)
        process.terminate()
        self.assertEqual(process.wait(60), 0, watched.log)

    @unittest.skipUnless(os.geteuid() == 0, "a namespace of mounts is for root")
    def test_a_read_only_system_without_rights(self):
        os.chmod(self.directory, 0o755)
        script = ("mount --make-rprivate / && mount -o remount,ro,bind / && exec setpriv --reuid 65534 --regid 65534 "
                  '--clear-groups --bounding-set -all --no-new-privs "$@"')
        for needed in (DAEMON, guest("rust_identity")):
            if subprocess.run(["setpriv", "--reuid", "65534", "--clear-groups", "test", "-r", needed]).returncode != 0:
                self.skipTest(f"nobody may not read {needed}")
        process, port = self.start_behind("unshare", "--mount", "sh", "-c", script, "sh")
        self.check_works(process, port, 2000)

    @unittest.skipUnless(os.access(MEMORY, os.W_OK), "no cgroup of the first version to make another in")
    def test_little_memory(self):
        """What is in the daemon is bounded by two settings, whatever the backlog."""
        group = pathlib.Path(tempfile.mkdtemp(dir=MEMORY, prefix="wasm-transformd-"))
        self.addCleanup(group.rmdir)
        (group / "memory.limit_in_bytes").write_text(str(128 << 20))
        process, port = self.start_behind("sh", "-c", f'echo $$ >{group}/cgroup.procs && exec "$@"', "sh")
        self.check_works(process, port, 200_000)
        self.assertEqual((group / "memory.failcnt").read_text().strip(), "0")


if __name__ == "__main__":
    unittest.main(verbosity=2)
