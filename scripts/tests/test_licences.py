"""THIRD-PARTY.md and the SBOM list what Cargo links, and deny.toml allows the licences of all of it.

    python3 -B -m unittest test_licences
"""

import json
import re
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import licences  # noqa: E402

STALE = "out of date: make licences"


class Choice(unittest.TestCase):
    ALLOW = ["Apache-2.0", "Apache-2.0 WITH LLVM-exception", "MIT", "BSD-3-Clause"]

    def chosen(self, expression):
        found = licences.choose(expression, self.ALLOW)
        return None if found is None else sorted(found)

    def test_the_first_of_those_that_are_allowed(self):
        self.assertEqual(self.chosen("MIT OR Apache-2.0"), ["Apache-2.0"])
        self.assertEqual(self.chosen("MIT/Apache-2.0"), ["Apache-2.0"])
        self.assertEqual(self.chosen("Unlicense OR MIT"), ["MIT"])
        self.assertEqual(self.chosen("Apache-2.0 WITH LLVM-exception OR MIT"), ["Apache-2.0 WITH LLVM-exception"])

    def test_all_that_are_joined(self):
        self.assertEqual(self.chosen("(Apache-2.0 OR MIT) AND BSD-3-Clause"), ["Apache-2.0", "BSD-3-Clause"])
        self.assertEqual(self.chosen("MIT AND (GPL-2.0-only OR BSD-3-Clause)"), ["BSD-3-Clause", "MIT"])

    def test_none(self):
        for expression in ("GPL-2.0-only", "MIT AND GPL-2.0-only", "Apache-2.0 WITH GCC-exception-3.1", "(ISC OR Zlib)"):
            self.assertIsNone(self.chosen(expression))

    def test_licences_are_recognized_in_texts(self):
        own = (ROOT / "LICENSE").read_text()
        self.assertEqual(licences.licences_in(own), {"Apache-2.0"})
        with_exception = own + "\n--- LLVM Exceptions to the Apache 2.0 License ----\n"
        self.assertEqual(licences.licences_in(with_exception), {"Apache-2.0 WITH LLVM-exception"})
        self.assertEqual(licences.licences_in("Copyright (c) 2020 Somebody"), set())


class Lists(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.linked = licences.linked()
        cls.page = licences.PAGE.read_text()
        cls.sbom = json.loads(licences.SBOM.read_text())

    def test_the_library_has_crates(self):
        names = {crate.name for crate in self.linked}
        self.assertTrue({"wasmtime", "libc", "zstd-sys"} <= names, names)
        # The tests', the build's and the macros'.
        self.assertFalse({"proptest", "cbindgen", "syn", "thiserror-impl", "wasm-engine-batch"} & names, names)

    def test_all_licences_are_allowed(self):
        allow = licences.allowed()
        refused = [f"{crate}: {crate.expression}" for crate in self.linked if licences.choose(crate.expression, allow) is None]
        self.assertEqual(refused, [])

    def test_the_page_lists_what_is_linked(self):
        allow = licences.allowed()
        rows = re.findall(r"^\| (\S+ [\d]\S*) \| (.*) \| .* \|$", self.page, re.MULTILINE)
        wanted = [(str(crate), " and ".join(sorted(licences.choose(crate.expression, allow)))) for crate in self.linked]
        self.assertEqual(rows, wanted, STALE)

    def test_each_crate_has_texts_of_its_licences(self):
        texts = dict(re.findall(r"^## Text (\d+)\n\nOf .*\n\n```text\n([\s\S]*?)\n```$", self.page, re.MULTILINE))
        for row in re.findall(r"^\| \S+ [\d]\S* \| .*$", self.page, re.MULTILINE):
            _, crate, chosen, links, _ = (cell.strip() for cell in row.split("|"))
            found = set().union(*(licences.licences_in(texts[number]) for number in re.findall(r"#text-(\d+)", links)))
            self.assertLessEqual(set(chosen.split(" and ")), found, crate)

    def test_the_sbom_lists_what_is_linked(self):
        sums = licences.checksums()
        wanted = [(c.name, c.version, c.expression, sums[c.name, c.version]) for c in self.linked]
        of = lambda c: (c["name"], c["version"], c["licenses"][0]["expression"], c["hashes"][0]["content"])  # noqa: E731
        crates = [component for component in self.sbom["components"] if "purl" in component]
        self.assertEqual([of(component) for component in crates], wanted, STALE)
        rest = [component["name"] for component in self.sbom["components"] if component not in crates]
        self.assertEqual(rest, ["rust-std"])

    def test_the_sbom_is_of_this_version(self):
        own = licences.cargo("pkgid").strip()
        component = self.sbom["metadata"]["component"]
        self.assertEqual(re.split("[@#]", own)[-1], component["version"], STALE)

    def test_c_libraries_inside_of_crates_are_in_the_sbom(self):
        inside = [part["purl"] for component in self.sbom["components"] for part in component.get("components", [])]
        self.assertEqual(len(inside), 1, inside)
        self.assertRegex(inside[0], r"^pkg:generic/zstd@\d+\.\d+\.\d+$")

    def test_everything_in_the_sbom_is_needed_by_something(self):
        refs = {component["bom-ref"] for component in self.sbom["components"]}
        needed = {ref for each in self.sbom["dependencies"] for ref in each["dependsOn"]}
        self.assertEqual(refs, needed)


if __name__ == "__main__":
    unittest.main()
