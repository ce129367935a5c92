"""Pages that nobody listed, pictures that are out of date and links of the site that lead nowhere are noticed."""

import importlib.util
import tempfile
import unittest
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent.parent


def script(name):
    spec = importlib.util.spec_from_file_location(name.replace("-", "_"), SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Directory(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name).resolve()

    def write(self, name, text=""):
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path


class Summary(Directory):
    def setUp(self):
        super().setUp()
        self.script = script("make-docs")
        self.script.ROOT = self.directory
        self.script.SUMMARY = self.write("docs/SUMMARY.md", "[a](../README.md)\n- [b](page.md)\n")
        self.write("README.md")
        self.write("docs/page.md")

    def test_all_pages_once(self):
        self.assertEqual(list(self.script.faults_of_summary()), [])

    def test_a_page_that_is_forgotten(self):
        self.write("docs/other.md")
        self.write("plugins/broker/README.md")
        faults = ["docs/SUMMARY.md lacks docs/other.md", "docs/SUMMARY.md lacks plugins/broker/README.md"]
        self.assertEqual(list(self.script.faults_of_summary()), faults)

    def test_a_page_twice_and_one_that_is_not_there(self):
        self.script.SUMMARY.write_text("[a](../README.md)\n- [b](page.md)\n- [c](page.md)\n- [d](none.md)\n")
        faults = ["docs/SUMMARY.md has docs/none.md, which does not exist",
                  "docs/SUMMARY.md has docs/page.md more than once"]
        self.assertEqual(sorted(self.script.faults_of_summary()), faults)

    def test_links_are_those_of_the_site(self):
        self.write("include/wasm_engine/a_b.hh")
        self.write("docs/alerts.yml")
        self.write("more/README.md")
        page = self.write("docs/page.md", "[h](../include/wasm_engine/a_b.hh) [r](../README.md#x) [`m`](../more)\n"
                          "[y](alerts.yml) [w](https://example.com)\n```\n[c](../more)\n```\n[n]: ../nothing\n")
        source = self.directory / "src"
        text = self.script.rewritten(page, source, {page, self.directory / "README.md"})
        self.assertEqual(text, "[h](../api/a__b_8hh.html) [r](../index.html#x) `m`\n"
                         "[y](alerts.yml) [w](https://example.com)\n```\n[c](../more)\n```\n\n")
        self.assertTrue((source / "docs" / "alerts.yml").exists())


class Site(Directory):
    def test_links_that_lead_nowhere(self):
        self.write("index.html", '<a href="a/b.html#there">1</a> <a href="a/">2</a> <a href="http://x.example/">3</a>')
        self.write("a/b.html", '<h1 id="there"><img src="none.svg"><a href="b.html#nowhere"></a></h1>')
        self.write("a/index.html", '<a href="#top">no</a>')
        faults = ["a/b.html: no such anchor: b.html#nowhere", "a/b.html: no such file: none.svg",
                  "a/index.html: no such anchor: #top"]
        self.assertEqual(sorted(script("make-docs").faults_of_site(self.directory)), faults)


class Filter(Directory):
    def setUp(self):
        super().setUp()
        self.script = script("doxygen-filter")

    def test_sections_of_the_c_header_become_groups_with_links(self):
        rule = "// " + "-" * 117
        lines = ["// SPDX-License-Identifier: Apache-2.0", "//", "// The contract.", "", rule, "// Host function", "//",
                 "// See `wasm_run`, `size` and `wasm_…`.", rule, "", "// Runs.", "void wasm_run(void);",
                 "#undef WASM_ENGINE_ENUM_TYPE"]
        text = "\n".join(self.script.c_header(lines))
        self.assertIn("\\verbatim\nThe contract.\n\\endverbatim\n*/\n", text)
        group = "/// \\defgroup group_host_function Host function\n/// See #wasm_run, `size` and `wasm_…`.\n/// @{\n\n"
        self.assertIn(group + "\n/// Runs.\nvoid wasm_run(void);\n/// @}\n", text)

    def test_the_comment_at_the_top_of_a_header_describes_the_file(self):
        lines = ["// SPDX-License-Identifier: Apache-2.0", "//", "// A loop.", "//", "//   loop.run();", "//",
                 "// Threads: its own.", "//   Only that.", "#pragma once", "/// Of `wasm_poll` and <b>, `a<b>`.", "int i;"]
        text = "\n".join(self.script.layer(lines, "loop"))
        head = "/** \\file\nA loop.\n\n      loop.run();\n\n- **Threads:** its own.\n  Only that.\n*/\n#pragma once\n"
        self.assertEqual(text, head + "/// Of #wasm_poll and \\<b>, `a<b>`.\nint i;")


class Diagrams(Directory):
    def test_a_picture_that_is_not_of_its_source(self):
        draw = script("draw-diagrams")
        source = self.write("a.dot", "digraph {}")
        picture = f"<!-- Source: a.dot, SHA-256 {draw.hash_of(source)} --><svg/>"
        self.write("a.svg", picture)
        self.assertEqual(list(draw.faults_of(self.directory)), [])
        source.write_text("digraph { a }")
        fault = "a.svg is not of a.dot as it is: run scripts/draw-diagrams.py"
        self.assertEqual(list(draw.faults_of(self.directory)), [fault])
        source.unlink()
        self.assertEqual(list(draw.faults_of(self.directory)), ["a.svg has no source"])


if __name__ == "__main__":
    unittest.main()
