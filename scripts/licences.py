#!/usr/bin/env python3
"""Writes THIRD-PARTY.md, the licences of all crates in the library, and `sbom.cdx.json`, a CycloneDX list of them.

    licences.py

The texts are the files in the crates' sources, so each has its copyright line and its further notices. Tools that
recognize licences and print the standard text lose them: libm's file, for instance, names four projects. A crate that
has no file gets that of a crate of its repository. deny.toml says which licences are allowed.
"""

import json
import re
import subprocess
import sys
import textwrap
import tomllib
import uuid
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "THIRD-PARTY.md"
SBOM = ROOT / "sbom.cdx.json"
TARGET = "x86_64-unknown-linux-gnu"
PACKAGE = "wasm-engine"

# What is read of a crate's sources: at any depth, because some have other projects' sources inside.
FILES = re.compile(r"(licen[cs]e|copying|copyright|notice|unlicense)([-_.].*)?", re.IGNORECASE)
FOLDERS = re.compile(r"licen[cs]es", re.IGNORECASE)
SOURCES = {".rs", ".c", ".h", ".py"}
# By what a licence is recognized in a file.
MARKS = {
    "0BSD": r"Permission to use, copy, modify, and/or distribute",
    "Apache-2.0": r"Apache License\s+Version 2\.0, January 2004",
    "Apache-2.0 WITH LLVM-exception": r"LLVM Exceptions to the Apache 2\.0 License",
    "BSD-3-Clause": r"Neither the name|names? of (?:its|the) contributors|may be used to endorse",
    "GPL-2.0-only": r"GNU GENERAL PUBLIC LICENSE",
    "MIT": r"Permission is hereby granted, free of charge",
    "Unicode-3.0": r"UNICODE LICENSE V3",
    "Unlicense": r"This is free and unencumbered software",
    "Zlib": r"This software is provided .as-is., without any express or implied",
}
# Some crates are published without the file. By how their names begin: a crate of the same repository that has it.
RELATIVES = {"cranelift-": "wasmtime", "pulley-": "wasmtime", "wasmtime-": "wasmtime", "ittapi": "ittapi-sys"}


class Crate(NamedTuple):
    name: str
    version: str
    expression: str

    def __str__(self):
        return f"{self.name} {self.version}"


# ---- Licences ----
def allowed():
    """Those of deny.toml in the order in which one is chosen."""
    return tomllib.loads((ROOT / "deny.toml").read_text())["licenses"]["allow"]


def spdx(expression):
    """Cargo once wrote `MIT/Apache-2.0`."""
    return re.sub(r"\s*/\s*", " OR ", expression)


def choose(expression, allow):
    """The licences under which a crate is taken. None if its expression allows none of `allow`."""
    tokens = re.findall(r"[()]|[^\s()]+", spdx(expression))

    def alternatives():
        options = [conjunction()]
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            options.append(conjunction())
        good = [option for option in options if option is not None]
        return min(good, key=lambda option: sorted(map(allow.index, option)), default=None)

    def conjunction():
        parts = [term()]
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            parts.append(term())
        return None if None in parts else frozenset().union(*parts)

    def term():
        word = tokens.pop(0)
        if word == "(":
            inner = alternatives()
            tokens.pop(0)
            return inner
        if tokens and tokens[0] == "WITH":
            word += f" {tokens.pop(0)} {tokens.pop(0)}"
        return frozenset([word]) if word in allow else None

    return alternatives()


def licences_in(text):
    """The licences that a text has. The LLVM exception's file has Apache-2.0, too, but with the exception only."""
    found = {name for name, mark in MARKS.items() if re.search(mark, text)}
    return found - {"Apache-2.0"} if "Apache-2.0 WITH LLVM-exception" in found else found


# ---- Crates ----
def cargo(*arguments):
    return subprocess.run(["cargo", *arguments], cwd=ROOT, check=True, text=True, capture_output=True).stdout


def linked():
    """The crates of others that are in the library for TARGET, sorted. Not what only its build needs."""
    tree = cargo("tree", "--locked", "--package", PACKAGE, "--edges", "normal,no-proc-macro", "--target", TARGET,
                 "--prefix", "none", "--format", "{p}|{l}")  # fmt: skip
    found = set()
    for line in tree.splitlines():
        # `name v1.0.0 (/path)|MIT (*)`: a path is the workspace's, and a star means that it was named before.
        package, _, expression = line.removesuffix(" (*)").partition("|")
        name, version, *path = package.split()
        if not path:
            found.add(Crate(name, version.removeprefix("v"), spdx(expression)))
    return sorted(found)


def files_of(directory):
    """The texts of a crate's sources that may be about licences, by their paths."""
    found = {}
    for path in sorted(directory.rglob("*")):
        named = FILES.fullmatch(path.name) or FOLDERS.fullmatch(path.parent.name)
        if named and path.is_file() and path.suffix not in SOURCES:
            lines = (line.rstrip() for line in path.read_text().strip("\n").splitlines())
            found[str(path.relative_to(directory))] = "\n".join(lines)
    return found


def texts_of(crate, chosen, packages):
    """Those for the chosen licences, and notices that have no licence."""
    package = packages[crate.name, crate.version]
    files = files_of(Path(package["manifest_path"]).parent)
    fits = lambda text: licences_in(text) & chosen or not licences_in(text)  # noqa: E731
    texts = {path: text for path, text in files.items() if fits(text)}
    missing = chosen - set().union(*map(licences_in, texts.values()))
    if missing:
        relative = next((to for prefix, to in RELATIVES.items() if crate.name.startswith(prefix)), None)
        for (name, _), other in packages.items():
            for path, text in files_of(Path(other["manifest_path"]).parent).items() if name == relative else ():
                if missing & licences_in(text):
                    texts[f"{path} of {name}"] = text
                    missing -= licences_in(text)
    if missing == {"Apache-2.0"}:
        # Which is the same text whoever uses it.
        texts["LICENSE of wasm-engine"] = (ROOT / "LICENSE").read_text().strip("\n")
        missing = set()
    if missing:
        sys.exit(f"licences: {crate} has no text of {', '.join(missing)}: {', '.join(files) or 'no files'}")
    return texts


def standard_library():
    """What of Rust's standard library is linked, by the names of its parts, and its version."""
    sysroot = Path(subprocess.run(["rustc", "--print", "sysroot"], check=True, text=True, capture_output=True).stdout.strip())
    parts = {re.match(r"lib(.+)-[0-9a-f]+\.rlib", path.name)[1] for path in sysroot.glob(f"lib/rustlib/{TARGET}/lib/*.rlib")}
    # Without what is for tests, macros and other profiles.
    others = ("getopts", "panic_abort", "proc_macro", "profiler", "rustc_std", "sysroot", "test")
    return sorted(part for part in parts if not part.startswith(others)), rust_version()


def rust_version():
    return subprocess.run(["rustc", "--version"], check=True, text=True, capture_output=True).stdout.split()[1]


# ---- The page ----
INTRODUCTION = """# Licences of others in the library

`make licences` writes this page and a test fails when it is out of date. These crates are linked into
`libwasm_engine.so` for Linux on x86-64. Where a crate offers several licences, the one that is named here was chosen.
The numbers are those of the texts below. [`sbom.cdx.json`](sbom.cdx.json) lists the same crates for machines.

| crate | licence | texts |
| --- | --- | --- |
"""
STANDARD_LIBRARY = """
## Rust's standard library

Rust's standard library is linked, too. It is that of the compiler that builds the library. Its parts are under
Apache-2.0, `compiler_builtins` also under MIT and Apache-2.0 with the LLVM exception and `memchr` under MIT. Their texts
are below. All notices are in `share/doc/rust/COPYRIGHT-library.html` of each Rust toolchain. Its parts:
"""


def page(crates, chosen, texts):
    """THIRD-PARTY.md. Equal texts are printed once."""
    numbers, printed, users = {}, [], {}
    rows = ""
    for crate in crates:
        mine = []
        for text in texts[crate].values():
            key = " ".join(text.split())
            if key not in numbers:
                numbers[key] = len(numbers) + 1
                printed.append(text)
            mine.append(numbers[key])
            users.setdefault(numbers[key], []).append(crate.name)
        links = ", ".join(f"[{number}](#text-{number})" for number in sorted(set(mine)))
        rows += f"| {crate} | {' and '.join(sorted(chosen[crate]))} | {links} |\n"
    parts, _ = standard_library()
    names = textwrap.fill(", ".join(f"`{part}`" for part in parts) + ".", 120)
    out = INTRODUCTION + rows + STANDARD_LIBRARY + names + "\n"
    for number, text in enumerate(printed, 1):
        assert "```" not in text
        out += f"\n## Text {number}\n\nOf {', '.join(dict.fromkeys(users[number]))}.\n\n```text\n{text}\n```\n"
    return out


# ---- The list for machines ----
def purl(crate):
    return f"pkg:cargo/{crate.name}@{crate.version}".replace("+", "%2B")


def checksums():
    """What Cargo.lock says that the crates' archives must be."""
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    return {(package["name"], package["version"]): package.get("checksum") for package in lock["package"]}


def sbom(crates, metadata, packages):
    """CycloneDX 1.5, the same whenever and wherever it is made."""
    sums, names = checksums(), {packages[crate.name, crate.version]["id"]: crate for crate in crates}
    own = packages[PACKAGE, next(version for name, version in packages if name == PACKAGE)]
    main = Crate(PACKAGE, own["version"], own["license"])
    components = []
    for crate in crates:
        package = packages[crate.name, crate.version]
        repository = package["repository"]
        components.append({
            "type": "library", "bom-ref": purl(crate), "name": crate.name, "version": crate.version, "scope": "required",
            "hashes": [{"alg": "SHA-256", "content": sums[crate.name, crate.version]}],
            "licenses": [{"expression": crate.expression}], "purl": purl(crate),
            **({"externalReferences": [{"type": "vcs", "url": repository}]} if repository else {}),
            **bundled(crate),
        })  # fmt: skip
    parts, rust = standard_library()
    standard = f"rust-std@{rust}"
    components.append({
        "type": "library", "bom-ref": standard, "name": "rust-std", "version": rust, "scope": "required",
        "description": f"Rust's standard library: {', '.join(parts)}", "licenses": [{"expression": "MIT OR Apache-2.0"}],
    })  # fmt: skip
    # What the workspace's own crates need is the library's need.
    needs = {purl(main): {standard}} | {purl(crate): set() for crate in crates}
    for node in metadata["resolve"]["nodes"]:
        inside = node["id"] in metadata["workspace_members"]
        if inside or node["id"] in names:
            of = purl(main) if inside else purl(names[node["id"]])
            needs[of] |= {purl(names[d["pkg"]]) for d in node["deps"] if d["pkg"] in names and is_normal(d)}
    identity = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(components))
    return {
        "bomFormat": "CycloneDX", "specVersion": "1.5", "serialNumber": f"urn:uuid:{identity}", "version": 1,
        "metadata": {"component": {
            "type": "library", "bom-ref": purl(main), "name": main.name, "version": main.version,
            "licenses": [{"expression": main.expression}], "purl": purl(main),
        }},
        "components": components,
        "dependencies": [{"ref": ref, "dependsOn": sorted(on)} for ref, on in needs.items()],
    }  # fmt: skip


def bundled(crate):
    """The C library that a crate has inside and names in its version, as zstd-sys 2.1.2+zstd.1.5.7 does."""
    found = re.search(r"\+([a-z]\w*)\.(\d+\.\d+\.\d+)$", crate.version)
    if not found:
        return {}
    name, version = found.groups()
    reference = f"pkg:generic/{name}@{version}"
    return {"components": [{"type": "library", "bom-ref": reference, "name": name, "version": version, "purl": reference}]}


def is_normal(dependency):
    return any(kind["kind"] is None for kind in dependency["dep_kinds"])


def main():
    allow, crates = allowed(), linked()
    chosen = {crate: choose(crate.expression, allow) for crate in crates}
    refused = [f"{crate}: {crate.expression}" for crate in crates if chosen[crate] is None]
    if refused:
        sys.exit("licences: deny.toml does not allow " + "; ".join(refused))
    metadata = json.loads(cargo("metadata", "--locked", "--format-version", "1", "--filter-platform", TARGET))
    packages = {(package["name"], package["version"]): package for package in metadata["packages"]}
    known = {(crate.name, crate.version): packages[crate.name, crate.version] for crate in crates}
    texts = {crate: texts_of(crate, chosen[crate], known) for crate in crates}
    PAGE.write_text(page(crates, chosen, texts))
    SBOM.write_text(json.dumps(sbom(crates, metadata, packages), indent=1, ensure_ascii=False) + "\n")
    print(f"licences: {len(crates)} crates")


if __name__ == "__main__":
    main()
