# SPDX-License-Identifier: Apache-2.0
"""wasm-transform serve, and run --remote: two processes do what one does."""

import re
import signal
import subprocess

from tool import GUEST_FAILED, RECORDS_LOST, TOOL, USAGE, ToolTest, guest, main


class Serve(ToolTest):
    def serve(self, *arguments):
        process = subprocess.Popen(
            [TOOL, "serve", "--listen", "127.0.0.1:0", *map(str, arguments)], stderr=subprocess.PIPE, cwd=self.directory
        )
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.said = ""
        for line in process.stderr:
            self.said += line.decode()
            if "built without gRPC" in self.said:
                self.skipTest(self.said)
            found = re.search(r"listening on (\S+)\n", self.said)
            if found:
                return process, found.group(1)
        self.fail(self.said)

    def test_gives_what_a_local_guest_gives(self):
        _, address = self.serve("--allow-uploads")
        records = [{"value": f"{n % 4} of record {n}", "key": "k", "partition": n % 3, "timestamp": 1} for n in range(5000)]
        here = self.run_records("c_tee", records)
        there = self.run_records("c_tee", records, "--remote", address)
        self.assertTrue(sorted(there.lines) == sorted(here.lines))
        several = self.run_records("c_tee", records, "--remote", address, "--threads", 3)
        self.assertTrue(sorted(several.lines) == sorted(here.lines))
        logged = self.run_guest("c_logger", "--remote", address, stdin="one\ntwo\n")
        self.assertEqual(logged.lines, ["one", "two"])
        self.assertIn("one", logged.stderr)

    def test_failures_are_the_guests(self):
        _, address = self.serve("--allow-uploads")
        failed = self.run_guest("wat_traps", "--remote", address, stdin="a\nu\nb\n", code=GUEST_FAILED)
        self.assertEqual(failed.lines, ["a"])
        self.assertIn("standard input:2: the guest failed at this record", failed.stderr)
        self.assertIn("guest-trap", failed.stderr)
        arguments = ("--remote", address, "--on-error", "skip")
        skipped = self.run_guest("wat_traps", *arguments, stdin="a\nu\nb\n", code=RECORDS_LOST)
        self.assertEqual(skipped.lines, ["a", "b"])

    def test_modules_of_a_folder_and_a_token(self):
        modules = self.directory / "modules"
        modules.mkdir()
        (modules / "identity.wasm").write_bytes(open(guest("c_identity"), "rb").read())
        token = self.write("token", "a secret\n")
        process, address = self.serve("--module-dir", modules, "--token-file", token, "--metrics-listen", "0")
        self.assertIn("metrics are at http://127.0.0.1:", self.said)
        known = self.run_guest("c_identity", "--remote", address, "--remote-token-file", token, stdin="x\n")
        self.assertEqual(known.lines, ["x"])
        refused = self.run_guest("c_tee", "--remote", address, "--remote-token-file", token, stdin="x\n", code=GUEST_FAILED)
        self.assertIn("uploads are not allowed", refused.stderr)
        nobody = self.run_guest("c_identity", "--remote", address, stdin="x\n", code=GUEST_FAILED)
        self.assertIn("no token", nobody.stderr)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(30), 0)
        self.assertIn("ended", process.stderr.read().decode())

    def test_what_is_wrong_is_said(self):
        self.serve()  # skips without gRPC
        for arguments, said in [
            (["--listen", "0.0.0.0:0"], "there is no TLS"),
            (["--tls-cert", guest("c_identity")], "--tls-key"),
            (["--record-timeout", "1ns"], "--record-timeout must be"),
            (["--max-memory", "1MiB"], "--max-memory must be at least"),
            (["--token-file", self.write("empty", "\n")], "a token is one line"),
        ]:
            self.assertIn(said, self.tool("serve", *arguments, code=USAGE).stderr)
        self.assertIn("is not on this computer", self.run_guest("c_identity", "--remote", "example.com:1", code=USAGE).stderr)
        self.assertIn("goes without", self.run_guest("c_identity", "--remote", "x:1", "--profile", "p", code=USAGE).stderr)


if __name__ == "__main__":
    main()
