# SPDX-License-Identifier: Apache-2.0
"""Projects: `init` makes one in each language, and `build` makes its module with the compilers of this machine."""

import json
import os
import pathlib
import shutil
import subprocess
import unittest

from tool import MODULE_REFUSED, OTHER, TOOL, USAGE, ToolTest, main

VENV = pathlib.Path(os.environ.get("WASM_ENGINE_VENV") or pathlib.Path.home() / ".cache/wasm-engine/venv")
PATH = f"{os.environ['PATH']}:{VENV}/bin"
# Cargo keeps what it has fetched. A test of JavaScript needs QuickJS there.
CARGO = pathlib.Path(os.environ.get("CARGO_HOME") or pathlib.Path.home() / ".cargo")
GO_SDK = "github.com/redpanda-data/redpanda/src/transform-sdk/go/transform@v1.1.0"
QUICKJS = sorted(CARGO.glob("registry/src/*/rquickjs-sys-*/quickjs/dtoa.c"))


class ProjectTest(ToolTest):
    def project(self, language, *more):
        self.tool("init", "--language", language, *more, "shout")
        return self.directory / "shout"

    def build(self, *arguments, **rest):
        rest["env"] = {"PATH": PATH} | rest.get("env", {})
        return self.tool("build", *arguments, cwd="shout", **rest)


class Languages(ProjectTest):
    """A new project builds, its module does what its case says, and keys and headers stay."""

    def check(self, language, toolchain, *more):
        self.project(language, *more)
        ended = self.build()
        self.assertRegex(ended.stderr, rf"^build/shout.wasm: .* MiB|KiB, by {toolchain}")
        self.tool("test", "--guest", "build/shout.wasm", cwd="shout")
        record = {"key": "k", "value": "a ß", "headers": [{"key": "h", "value": None}, {"key": "i", "value": "x"}]}
        nothing = {"key": "k", "value": None}
        lines = "".join(json.dumps(r) + "\n" for r in (record, nothing, record))
        ended = self.tool("run", "shout/build/shout.wasm", "--format", "records", stdin=lines)
        self.assertEqual(len(ended.records), 2)
        for written in ended.records:
            self.assertEqual(written["value"][:2], "A ")
            self.assertEqual((written["key"], written["headers"]), ("k", record["headers"]))

    def test_c(self):
        self.check("c", "clang")

    def test_cpp(self):
        self.check("cpp", "clang")

    def test_rust(self):
        self.check("rust", "rustc")

    def test_go(self):
        self.check("go", "go1")

    def test_go_with_the_sdk_of_redpanda(self):
        got = subprocess.run(["go", "mod", "download", GO_SDK], cwd=self.directory, capture_output=True, timeout=200,
                             env=os.environ | {"PATH": PATH})  # fmt: skip
        if got.returncode != 0:
            self.skipTest(f"{GO_SDK} cannot be fetched: {got.stderr.decode()}")
        self.check("go", "go1", "--sdk", "redpanda")
        self.assertIn(GO_SDK.replace("@", " "), (self.directory / "shout/go.sum").read_text())
        self.build(env={"GOPROXY": "off"})  # once it is there
        inspected = json.loads(self.tool("inspect", "shout/build/shout.wasm", "--json").bytes)
        self.assertEqual(inspected["sdk"], "Redpanda's transform SDK for Go")

    @unittest.skipUnless(QUICKJS, "Cargo has no QuickJS: cargo info rquickjs-sys@0.14.0")
    def test_js(self):
        self.check("js", "QuickJS")


@unittest.skipUnless(pathlib.Path("/usr/lib/rustlib/src/rust/library/vendor").exists(), "no sources of Rust's library")
class DebianRust(ProjectTest):
    def test_the_standard_library_is_made_of_its_sources_offline(self):
        self.project("rust")
        ended = self.build(env={"PATH": "/usr/bin:/bin", "CARGO_HOME": str(self.directory / "cargo"), "CARGO_NET_OFFLINE": "true"})
        self.assertIn("with the standard library from its sources", ended.stderr)
        self.tool("test", "--guest", "build/shout.wasm", cwd="shout")


@unittest.skipUnless(QUICKJS, "Cargo has no QuickJS: cargo info rquickjs-sys@0.14.0")
class JavaScript(ProjectTest):
    def run_script(self, script, stdin="x\n", **rest):
        if not (self.directory / "shout").exists():
            self.project("js")
        self.write("shout/src/transform.js", 'import { onRecordWritten } from "@redpanda-data/transform-sdk";\n' + script)
        self.build()
        return self.tool("run", "shout/build/shout.wasm", "--output-topic", "a", "--output-topic", "b", stdin=stdin, **rest)

    def test_what_scripts_can_do(self):
        self.project("js")
        (self.directory / "shout/src/lib").mkdir()
        self.write("shout/src/lib/twice.js", "export const twice = (text) => text + text;\n")
        ended = self.run_script(
            'import { twice } from "./lib/twice.js";\n'
            "onRecordWritten(async (event, writer) => {\n"
            "  await null;\n"
            "  const value = event.record.value;\n"
            "  console.log('saw', value.json().n, new Date().getUTCFullYear());\n"
            "  writer.write({ value: twice(value.text()) });\n"
            "  writer.write({ value: value.array().slice(0, 2), headers: [{ key: 'h', value: 'v' }] }, { topic: 'b' });\n"
            "});\n",
            stdin='{"n":1}\n')
        self.assertEqual(ended.lines, ['{"n":1}{"n":1}', '{"'])
        self.assertIn("saw 1 20", ended.stderr)

    def test_failures_name_the_line(self):
        for script, why in (("onRecordWritten(() => { null.x; });\n", "transform.js:2"),
                            ("onRecordWritten(async () => { throw new Error('late'); });\n", "late"),
                            ("onRecordWritten(() => new Promise(() => {}));\n", "waits for something that never comes"),
                            ("onRecordWritten((e, w) => w.write({ value: 'x' }, { topic: 'c' }));\n", "was not written"),
                            ("import 'fs';\n", 'there is no module "fs"'),
                            ("syntax error;\n", "SyntaxError"),
                            ("", "did not call onRecordWritten")):
            with self.subTest(script):
                self.assertIn(why, self.run_script(script, code=4).stderr)


class Builds(ProjectTest):
    def test_names_are_checked_and_nothing_is_overwritten(self):
        for name in ("Shout", "", "a b", "../x", "1x"):
            self.assertIn("is no name", self.tool("init", name, code=USAGE).stderr)
        self.project("c")
        self.assertIn("is not empty", self.tool("init", "shout", code=USAGE).stderr)
        self.tool("init", "shout", "--language", "c", "--directory", "other")
        self.assertIn('"name": "shout"', (self.directory / "other/transform.json").read_text())

    def test_no_mark_of_a_template_is_left(self):
        ended = self.tool("init", "x", "-l", "c", "--sdk", "redpanda", code=USAGE)
        self.assertIn("--sdk redpanda goes with --language go only", ended.stderr)
        for language in ("c", "cpp", "go", "go-redpanda", "js", "rust"):
            options = ("--sdk", "redpanda") if "-" in language else ()
            ended = self.tool("init", "shout", "--language", language.split("-")[0], *options, "--directory", language, "--json")
            made = json.loads(ended.bytes)
            self.assertEqual((made["name"], made["directory"]), ("shout", language))
            self.assertEqual(made["files"], sorted(f.split("/", 1)[1] for f in self.files() if f.startswith(language + "/")))
            for file in (self.directory / language).rglob("*"):
                self.assertFalse(file.name.endswith(".template") or file.name.startswith("dot-"), file)
                if file.is_file():
                    self.assertNotIn(b"@NAME@", file.read_bytes())
                    self.assertNotIn(b"@LANGUAGE@", file.read_bytes())

    def test_what_is_missing_is_said_in_a_line(self):
        self.project("c")
        ended = self.build(env={"PATH": "/nowhere", "CC": "", "WASI_SDK_PATH": ""}, code=OTHER)
        self.assertRegex(ended.stderr, r"^wasm-transform: clang is missing: `apt-get install [^\n]*\n$")
        self.tool("init", "--language", "js", "script")
        ended = self.tool("build", "script", env={"CARGO_HOME": str(self.directory), "QUICKJS_SOURCE": ""}, code=OTHER)
        self.assertRegex(ended.stderr, r"^wasm-transform: the sources of QuickJS are missing: [^\n]*\n$")
        self.assertIn("there is no project in", self.tool("build", code=USAGE).stderr)

    def test_a_compiler_that_has_no_library_is_named(self):
        self.project("c")
        (self.directory / "bin").mkdir()
        fake = self.write("bin/clang", "#!/bin/sh\necho libc.a\n")
        fake.chmod(0o755)
        ended = self.build(env={"PATH": str(fake.parent), "CC": ""}, code=OTHER)
        self.assertIn(f"{fake} has no C library for WASI", ended.stderr)

    def test_wasm_opt_is_used_if_it_is_there(self):
        self.project("c")
        (self.directory / "bin").mkdir()
        program = self.write("bin/wasm-opt", '#!/bin/sh\nfor a; do case $a in *.wasm) in=$a;; esac; out=$a; done\n'
                                             'echo "$@" >> "$LOG"; cp "$in" "$out"; exit $CODE\n')
        program.chmod(0o755)
        env = {"PATH": f"{program.parent}:{PATH}", "LOG": str(self.directory / "log"), "CODE": "0"}
        self.assertIn(" and wasm-opt, in ", self.build(env=env).stderr)
        self.assertIn("-O3 -g", (self.directory / "log").read_text())
        ended = self.build(env=env | {"CODE": "1"})
        self.assertIn("wasm-opt failed and was left out", ended.stderr)
        self.assertNotIn("and wasm-opt,", self.build("--debug", env=env).stderr)

    def test_what_a_compiler_writes_is_bounded(self):
        self.project("c")
        (self.directory / "bin").mkdir()
        program = self.write("bin/wasm-opt", "#!/bin/sh\necho first >&2\nhead -c 300000000 /dev/zero >&2\n"
                                             "head -c 300000000 /dev/zero\nexit 1\n")
        program.chmod(0o755)
        with subprocess.Popen([TOOL, "build"], cwd=self.directory / "shout", stderr=subprocess.PIPE, text=True,
                              env=os.environ | {"PATH": f"{program.parent}:{PATH}"}) as running:  # fmt: skip
            self.assertIn("wasm-opt failed and was left out: first\n", running.stderr.read())
            _, status, used = os.wait4(running.pid, 0)
            running.returncode = os.waitstatus_to_exitcode(status)
        self.assertEqual(running.returncode, 0)
        self.assertLess(used.ru_maxrss, 250_000)

    def test_results_as_json(self):
        project = self.project("c")
        built = json.loads(self.build("--json").bytes)
        module = project / "build/shout.wasm"
        self.assertEqual((built["module"], built["size"]), (str(module), module.stat().st_size))
        self.assertRegex(built["toolchain"], "^clang ")
        (project / "src/transform.c").unlink()
        self.assertEqual(json.loads(self.build("--json", code=USAGE).stderr)["exit_code"], USAGE)

    def test_debug_information(self):
        project = self.project("c")
        self.build("--quiet")
        plain = (project / "build/shout.wasm").stat().st_size
        self.assertEqual(self.build("--quiet", "--debug").stderr, "")
        self.assertGreater((project / "build/shout.wasm").stat().st_size, plain)

    def test_errors_of_the_compiler_and_of_the_host_are_shown(self):
        self.project("c")
        self.write("shout/src/transform.c", "int main(void) { return x; }\n")
        ended = self.build(code=OTHER)
        self.assertIn("src/transform.c:1:25: error", ended.stderr)
        self.write("shout/src/transform.c", "int main(void) { return 0; }\n")
        self.assertIn("module-no-abi: ", self.build(code=MODULE_REFUSED).stderr)

    def test_the_manifest_is_checked(self):
        self.project("c")
        for text, why in (("{", "transform.json: no valid JSON: line 1, column 2: syntax error"), ("[]", "it must be a JSON object"),
                          ('{"output_topics": 5}', '"output_topics" must be an array of texts'),
                          ('{"environment": {"A": 1}}', '"environment" must be'), ('{"language": 1}', '"language" must be a text'),
                          ('{"name": null}', '"name" must be a text'),
                          ('{"nam": 1}', '"nam" is no member'), ('{"name": 1}', 'transform.json: "name" must be a text'),
                          ('{"language": "perl"}', '"perl" is no language'), ('{"name": "X"}', "is no name")):
            with self.subTest(text):
                self.write("shout/transform.json", text)
                said = self.build(code=USAGE).stderr
                self.assertIn(why, said)
                self.assertNotIn("exception", said)

    def test_templates_are_looked_for(self):
        alone = self.directory / "bin" / "wasm-transform"
        alone.parent.mkdir()
        shutil.copy(TOOL, alone)
        library = subprocess.run(["ldd", TOOL], text=True, capture_output=True).stdout.split("libwasm_engine")[1].split()[2]
        env = os.environ | {"LD_LIBRARY_PATH": str(pathlib.Path(library).parent)}
        run = lambda **more: subprocess.run([alone, "init", "x"], cwd=self.directory, text=True, capture_output=True, env=env | more)
        self.assertIn("share/wasm-engine/templates", run().stderr)
        templates = pathlib.Path(TOOL).parent / "templates"
        self.assertEqual(run(WASM_TRANSFORM_TEMPLATES=str(templates)).returncode, 0)
        shutil.rmtree(self.directory / "x")
        shutil.copytree(templates, self.directory / "share/wasm-engine/templates")
        self.assertEqual(run().returncode, 0)


if __name__ == "__main__":
    main()
