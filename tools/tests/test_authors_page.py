# SPDX-License-Identifier: Apache-2.0
"""docs/authors.md: each of its compile lines is run, and docs/session.md is what the tool prints."""

import os
import pathlib
import re
import shutil
import subprocess
import unittest

from test_project import PATH, QUICKJS
from tool import TOOL, ToolTest, main

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BLOCK = re.compile(r"<!-- compile: (\w+) -->\n\n((?:    .*\n)+)")


def has_rust_target():
    libraries = subprocess.run(["rustc", "--print", "target-libdir", "--target", "wasm32-wasip1"], text=True, capture_output=True)
    return libraries.returncode == 0 and pathlib.Path(libraries.stdout.strip()).exists()


class CompileLines(ToolTest):
    def setUp(self):
        super().setUp()
        # An author's environment: `make` has a directory for Cargo's output, in which the pages' lines do not look.
        self.env = {name: value for name, value in os.environ.items() if name != "CARGO_TARGET_DIR"}
        self.env["PATH"] = f"{pathlib.Path(TOOL).parent}:{PATH}"
        self.blocks = BLOCK.findall((ROOT / "docs/authors.md").read_text())

    def compile(self, language, stdout):
        found = [command for of, command in self.blocks if of == language]
        self.assertTrue(found)
        for number, command in enumerate(found):
            project = self.directory / f"{language}{number}"
            if language == "assemblyscript":
                project.mkdir()
                shutil.copy(ROOT / "guests/assemblyscript/copy.ts", project)
                (project / "node_modules").symlink_to(os.environ["WASM_ENGINE_NODE_MODULES"])
            else:
                self.tool("init", "--language", language, "--directory", project, "shout")
            done = subprocess.run(["bash", "-euc", command], cwd=project, env=self.env, text=True, capture_output=True)
            self.assertEqual((done.returncode, done.stderr if language != "rust" else ""), (0, ""), command)
            ended = self.tool("run", project / "transform.wasm", stdin="a\nb\n")
            self.assertEqual(ended.lines, stdout)

    def test_c_and_cpp(self):
        self.compile("c", ["A", "B"])
        self.compile("cpp", ["A", "B"])

    def test_go(self):
        self.compile("go", ["A", "B"])

    @unittest.skipUnless(has_rust_target(), "rustup target add wasm32-wasip1")
    def test_rust(self):
        self.compile("rust", ["A", "B"])

    @unittest.skipUnless(QUICKJS, "Cargo has no QuickJS: cargo info rquickjs-sys@0.14.0")
    def test_js(self):
        self.compile("js", ["A", "B"])

    @unittest.skipUnless(os.environ.get("WASM_ENGINE_NODE_MODULES"), "WASM_ENGINE_NODE_MODULES names no directory with assemblyscript")
    def test_assemblyscript(self):
        self.compile("assemblyscript", ["a", "b"])


class Session(unittest.TestCase):
    @unittest.skipUnless(QUICKJS, "Cargo has no QuickJS: cargo info rquickjs-sys@0.14.0")
    def test_it_is_what_the_tool_prints(self):
        script = ROOT / "scripts/record-session.py"
        done = subprocess.run([script, TOOL, "--check"], text=True, capture_output=True, env=os.environ | {"PATH": PATH})
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))


if __name__ == "__main__":
    main()
