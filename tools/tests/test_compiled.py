# SPDX-License-Identifier: Apache-2.0
"""Compiled modules: kept in a cache, and written to files."""

import os

from tool import MODULE_REFUSED, USAGE, GUESTS, ToolTest, guest, main

INPUT = "one\ntwo\n"


class Cache(ToolTest):
    def entries(self):
        return [name for name in self.files() if name.startswith("cache/")]

    def test_advice_is_never_to_change_tmp(self):
        ended = self.run_guest("c_identity", "--cache-dir", "/tmp", code=USAGE)
        self.assertIn("everybody can write to /tmp: name a directory of your own", ended.stderr)
        self.assertNotIn("chmod", ended.stderr)

    def test_what_was_compiled_is_kept_and_used(self):
        first = self.run_guest("c_identity", "--cache-dir", "cache", stdin=INPUT)
        (entry,) = self.entries()
        before = os.stat(self.directory / entry)
        second = self.run_guest("c_identity", "--cache-dir", "cache", stdin=INPUT)
        after = os.stat(self.directory / entry)
        self.assertEqual(first.lines, ["one", "two"])
        self.assertEqual(first.lines, second.lines)
        self.assertEqual(before.st_ino, after.st_ino, "it was not written a second time")
        self.assertGreater(after.st_mtime_ns, before.st_mtime_ns, "it was used")
        self.run_guest("rust_identity", "--cache-dir", "cache", stdin=INPUT)
        self.assertEqual(len(self.entries()), 2)

    def test_a_directory_that_cannot_be_used(self):
        self.write("file", "")
        ended = self.run_guest("c_identity", "--cache-dir", "file", stdin=INPUT, code=USAGE)
        self.assertIn("wasm-transform: --cache-dir: the directory of the code cache cannot be used: ", ended.stderr)
        (self.directory / "open").mkdir()
        (self.directory / "open").chmod(0o777)
        ended = self.run_guest("c_identity", "--cache-dir", "open", stdin=INPUT, code=USAGE)
        self.assertIn("chmod go-w", ended.stderr)


class Precompile(ToolTest):
    def test_a_compiled_module_runs(self):
        for name in ("c_identity", "go_identity"):
            with self.subTest(name):
                self.tool("precompile", guest(name), "-o", "guest.cwasm")
                ended = self.tool("run", "guest.cwasm", stdin=INPUT)
                self.assertEqual(ended.lines, ["one", "two"])
        self.assertEqual(self.files(), ["guest.cwasm"], "nothing else is left")

    def test_a_helper_compiles_the_same(self):
        helper = os.environ["WASM_COMPILE_HELPER"]
        self.tool("precompile", guest("c_identity"), "-o", "guest.cwasm")
        self.tool("precompile", guest("c_identity"), "-o", "helped.cwasm", "--compile-helper", helper)
        self.assertEqual((self.directory / "guest.cwasm").read_bytes(), (self.directory / "helped.cwasm").read_bytes())
        ended = self.run_guest("c_identity", "--compile-helper", helper, stdin=INPUT)
        self.assertEqual(ended.lines, ["one", "two"])
        for command in (("run", guest("c_identity")), ("precompile", guest("c_identity"), "-o", "x.cwasm")):
            ended = self.tool(*command, "--compile-helper", "nothing", stdin=INPUT, code=USAGE)
            self.assertRegex(ended.stderr, r'wasm-transform: .*compile_helper is ".*/nothing": No such file')

    def test_names_decide_what_is_a_compiled_module(self):
        ended = self.tool("precompile", guest("c_identity"), "-o", "guest.wasm", code=USAGE)
        self.assertIn("--output must end with .cwasm", ended.stderr)
        self.tool("precompile", guest("c_identity"), "-o", "guest.cwasm")
        (self.directory / "guest.cwasm").rename(self.directory / "guest.wasm")
        ended = self.tool("run", "guest.wasm", stdin=INPUT, code=MODULE_REFUSED)
        self.assertIn("module-not-wasm", ended.stderr)
        self.write("plain.cwasm", (GUESTS / "c_identity.wasm").read_bytes())
        ended = self.tool("run", "plain.cwasm", stdin=INPUT, code=MODULE_REFUSED)
        self.assertIn("plain.cwasm: module-artifact-damaged: ", ended.stderr)

    def test_a_damaged_file_is_refused(self):
        self.tool("precompile", guest("c_identity"), "-o", "guest.cwasm")
        content = bytearray((self.directory / "guest.cwasm").read_bytes())
        content[-1] ^= 1
        self.write("guest.cwasm", bytes(content))
        ended = self.tool("run", "guest.cwasm", stdin=INPUT, code=MODULE_REFUSED)
        self.assertIn("its checksum does not match its content", ended.stderr)

    def test_a_module_that_is_refused_leaves_no_file(self):
        ended = self.tool("precompile", guest("wat_no_start"), "-o", "guest.cwasm", code=MODULE_REFUSED)
        self.assertIn("wat_no_start.wasm: module-no-start: ", ended.stderr)
        self.assertEqual(self.files(), [])


if __name__ == "__main__":
    main()
