"""docs/advisories.md fits Cargo.lock: no release that is linked has a fault that reached transforms, unless it is listed as open.

    python3 -B -m unittest test_advisories
"""

import json
import os
import re
import subprocess
import unittest
from datetime import date
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "advisories.md").read_text()
GHSA = r"GHSA(?:-[0-9a-z]{4}){3}"
# Features of Wasmtime without which the reasons of the second table do not hold.
LEFT_OUT = {"gc", "gc-drc", "gc-null", "gc-copying", "threads", "winch", "pulley", "cache", "component-model-async", "stack-switching"}


def release(text):
    return tuple(map(int, text.split(".")))


class Row(NamedTuple):
    id: str
    others: list
    public: date
    since: tuple
    fixes: list
    here: str
    sources: list

    @classmethod
    def of(cls, line):
        id_, others, public, _, since, fixes, here, sources = (cell.strip() for cell in line.strip("|\n").split("|"))
        return cls(id_, re.findall(r"[\w-]+", others), date.fromisoformat(public), release(since or "0.0.0"),
                   [release(fix) for fix in fixes.split(", ") if fix[0].isdigit()], here, sources.split())

    def affects(self, version):
        """As the page says: older than the fix of its line, or of a line without a fix that is older than a line with one."""
        line = [fix for fix in self.fixes if fix[0] == version[0]]
        return self.since <= version and (version < min(line) if line else any(version < fix for fix in self.fixes))


def section(title):
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows(title):
    return [Row.of(line) for line in section(title).splitlines() if re.match(rf"\| {GHSA} ", line)]


REACHED, NOT_REACHED = rows("What reached it"), rows("What did not reach it")
ALL = REACHED + NOT_REACHED


def locked(crate):
    return re.search(rf'name = "{crate}"\nversion = "([^"]+)"', (ROOT / "Cargo.lock").read_text())[1]


class Rule(unittest.TestCase):
    """The rule for affected releases, by a row whose releases are known."""
    ROW = Row.of("| GHSA-a | | 2026-04-09 | x | 39.0.0 | 36.0.7, 42.0.2, 43.0.1 | yes | R |")

    def test_of_each_kind_of_release(self):
        for version, affected in {"38.0.9": False, "39.0.0": True, "41.0.9": True, "42.0.1": True, "42.0.2": False,
                                  "43.0.0": True, "43.0.1": False, "44.0.0": False}.items():
            self.assertEqual(self.ROW.affects(release(version)), affected, version)


class Page(unittest.TestCase):
    def test_it_is_about_the_release_that_is_linked(self):
        self.assertEqual(re.search(r"has Wasmtime \*\*([\d.]+)\*\*", PAGE)[1], locked("wasmtime"))
        self.assertEqual(locked("wasmtime-wasi"), locked("wasmtime"))

    def test_what_is_open_is_what_affects_that_release(self):
        affecting = {row.id: row.here for row in REACHED if row.affects(release(locked("wasmtime")))}
        self.assertEqual(sorted(affecting), sorted(re.findall(rf"^- ({GHSA})$", section("Open"), re.MULTILINE)))
        self.assertFalse({id_ for id_, here in affecting.items() if here.startswith("yes")}, "known to reach: update")

    def test_each_row_says_what_it_must(self):
        signs = set(re.findall(r"^\| ([A-Z]) \|", section("Sources"), re.MULTILINE))
        complete = date.fromisoformat(re.search(r"complete up to \*\*([\d-]+)\*\*", PAGE)[1])
        for row in ALL:
            with self.subTest(row.id):
                self.assertRegex(row.id, f"^{GHSA}$")
                self.assertTrue(date(2024, 11, 1) <= row.public <= complete)
                self.assertTrue(row.sources and set(row.sources) <= signs, row.sources)
                self.assertTrue(row.here)
                for other in row.others:
                    self.assertRegex(other, r"^(CVE-20\d\d-\d{4,}|RUSTSEC-20\d\d-\d{4})$")
        for row in REACHED:
            self.assertRegex(row.here, "^(yes|perhaps)[,:]", row.id)

    def test_rows_are_in_order_and_single(self):
        for table in REACHED, NOT_REACHED:
            self.assertEqual([row.public for row in table], sorted(row.public for row in table))
        names = [name for row in ALL for name in (row.id, *row.others)]
        self.assertEqual(len(names), len(set(names)))

    def test_there_is_a_row_for_each_entry_of_rustsec(self):
        """Of the copy that cargo-deny made, if there is one: `make advisories`."""
        home = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
        found = [entry for crate in ("wasmtime", "wasmtime-wasi", "cranelift-codegen", "wasmtime-environ")
                 for entry in home.glob(f"advisory-dbs/*/crates/{crate}/RUSTSEC-*.md")]
        if not found:
            self.skipTest("cargo-deny has no copy of RustSec's database here")
        since = {entry for entry in found if re.search(r'^date = "([\d-]+)"', entry.read_text(), re.MULTILINE)[1] >= "2024-11"}
        # By any of its names: the number in the database is given some time after the advisory.
        names = {name for row in ALL for name in (row.id, *row.others)}
        self.assertFalse(sorted(entry.stem for entry in since
                                if entry.stem not in names and not names & set(re.findall(GHSA, entry.read_text()))))


class Parts(unittest.TestCase):
    """What is said to be left out is."""

    def features(self, crate):
        command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", "x86_64-unknown-linux-gnu"]
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        nodes = json.loads(done.stdout)["resolve"]["nodes"]
        return next(set(node["features"]) for node in nodes if f"#{crate}@" in node["id"])

    def test_features_of_wasmtime(self):
        self.assertFalse(self.features("wasmtime") & LEFT_OUT)
        self.assertFalse(self.features("wasmtime-wasi") & {"p0", "p3"})

    def test_crates_that_are_not_linked(self):
        lock = (ROOT / "Cargo.lock").read_text()
        for crate in "wasmtime-wasi-http", "wasi-common", "winch-codegen", "wasmtime-internal-winch", "wasmtime-c-api-impl":
            self.assertNotIn(f'name = "{crate}"', lock)

    def test_calls_that_are_not_made(self):
        for source in (ROOT / "src").rglob("*.rs"):
            code = re.sub(r"//.*", "", source.read_text())
            self.assertNotRegex(code, r"wasmtime::component|get_module_export|consume_fuel|preopened_dir|inherit_std|StructType::new", source)


if __name__ == "__main__":
    unittest.main()
