#!/usr/bin/env python3
"""Whether the C ABI is still what its baseline promises.

    abi.py check LIBRARY    what is removed or changed is an error, what is added is listed
    abi.py renew [--force]  writes the baseline. With --force also if something is removed or changed

The baseline is `abi/SONAME.abi`, an ABI corpus as libabigail's abidw writes it. The library has no debug information
of the header's types. So abidw reads a shared object of empty functions that is compiled from the header. The exports
of LIBRARY are compared by name.

abidiff can read the same corpora but is not what decides here: a suppression that lets a struct grow at its end also
hides what changes inside that struct, and without --harmless it hides changes of signs and of const.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml
from pathlib import Path

import c_header

ROOT = Path(__file__).resolve().parents[1]
HEADER = ROOT / "include/wasm_engine.h"
BASELINES = ROOT / "abi"


def run(*command, cwd=None):
    """What the command printed."""
    done = subprocess.run([str(word) for word in command], text=True, capture_output=True, cwd=cwd)
    if done.returncode != 0:
        raise SystemExit(f"abi: {command[0]} failed ({done.returncode}):\n{done.stdout}{done.stderr}")
    return done.stdout


def soname(header):
    return f"libwasm_engine.so.{c_header.version(header)[0]}"


# ---- What a header says, as a corpus ----
def corpus(header):
    """The ABI of the header's text, as XML."""
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "include").mkdir()
        (Path(scratch) / "include/wasm_engine.h").write_text(header)
        bodies = [f"{f.result} {f.name}({f.parameters}) {{ __builtin_unreachable(); }}" for f in c_header.functions(header)]
        (Path(scratch) / "stub.c").write_text('#include "wasm_engine.h"\n' + "\n".join(bodies) + "\n")
        run("gcc", "-std=c11", "-g", "-fno-eliminate-unused-debug-types", "-fPIC", "-shared", f"-Wl,-soname,{soname(header)}",
            "-Iinclude", "-o", "stub.so", "stub.c", cwd=scratch)  # fmt: skip
        # Types of other headers are left out, and so are places and paths. Lines may move without a difference.
        text = run("abidw", "--headers-dir", "include", "--drop-private-types", "--load-all-types", "--no-comp-dir-path",
                   "--no-corpus-path", "--no-elf-needed", "--no-show-locs", "--type-id-style", "hash", "stub.so", cwd=scratch)  # fmt: skip
    found = Abi(text)
    lost = {f.name for f in c_header.functions(header)} - found.functions.keys() | c_header.types(header) - found.types()
    if lost:
        raise SystemExit(f"abi: in the header but not in what abidw wrote: {', '.join(sorted(lost))}")
    return text


class Struct:
    """A struct or union: `members` are (name, type, offset in bits)."""

    def __init__(self, abi, element):
        self.union = element.tag == "union-decl"
        self.size = int(element.get("size-in-bits", 0))
        self.members = []
        for member in element.findall("data-member"):
            variable = member.find("var-decl")
            offset = int(member.get("layout-offset-in-bits", 0))
            self.members.append((variable.get("name"), abi.spell(variable.get("type-id")), offset))

    @property
    def sized(self):
        """Whether it begins with its own size. Then it may grow at its end."""
        return bool(self.members) and not self.union and self.members[0] == ("size", "size_t", 0)


class Abi:
    """What is in a corpus. Only names that begin with wasm_ are the library's."""

    def __init__(self, text):
        root = xml.fromstring(text)
        self.elements = {element.get("id"): element for element in root.iter() if element.get("id")}
        own = [element for element in self.elements.values() if (element.get("name") or "").startswith("wasm_")]
        self.handles = {e.get("name") for e in own if e.get("is-declaration-only") == "yes"}
        kinds = ("class-decl", "union-decl")
        self.structs = {e.get("name"): Struct(self, e) for e in own if e.tag in kinds and e.get("name") not in self.handles}
        self.enums = {e.get("name"): self.enum(e) for e in own if e.tag == "enum-decl"}
        self.functions = {e.get("name"): self.signature(e) for e in root.iter("function-decl")}

    def types(self):
        return self.handles | self.structs.keys() | self.enums.keys()

    def enum(self, element):
        """The bits of its numbers, and its constants."""
        constants = {each.get("name"): int(each.get("value")) for each in element.findall("enumerator")}
        return int(self.elements[element.find("underlying-type").get("type-id")].get("size-in-bits")), constants

    def signature(self, element):
        result = self.spell(element.find("return").get("type-id"))
        given = ["..." if p.get("is-variadic") else self.spell(p.get("type-id")) for p in element.findall("parameter")]
        return f"{result} ({', '.join(given)})"

    def spell(self, identity):
        """A type in words. Types that have a name are that name: those of the library are compared on their own."""
        element = self.elements[identity]
        to = element.get("type-id")
        match element.tag:
            case "pointer-type-def" | "reference-type-def":
                return f"{self.spell(to)} *"
            case "qualified-type-def":
                words = [word for word in ("const", "volatile", "restrict") if element.get(word) == "yes"]
                return " ".join([self.spell(to), *words])
            case "array-type-def":
                return self.spell(to) + "".join(f" [{part.get('length')}]" for part in element.findall("subrange"))
            case "function-type":
                return self.signature(element)
            case _:
                return element.get("name")


# ---- Old and new ----
def compare(old, new):
    """What programs compiled against `old` would notice, and what is only added."""
    broken, added = [], []
    for kind, before, after in (
        ("function", old.functions.keys(), new.functions.keys()),
        ("type", old.types(), new.types()),
    ):
        broken += [f"{kind} {name} is removed" for name in sorted(before - after)]
        added += [f"{kind} {name}" for name in sorted(after - before)]
    for name in sorted(old.functions.keys() & new.functions.keys()):
        if old.functions[name] != new.functions[name]:
            broken.append(f"function {name} changes from {old.functions[name]} to {new.functions[name]}")
    for name in sorted(old.types() & new.types()):
        if name in old.structs and name in new.structs:
            compare_structs(name, old, new, broken, added)
        elif name in old.enums and name in new.enums:
            compare_enums(name, old.enums[name], new.enums[name], broken, added)
        elif name not in old.handles & new.handles:
            broken.append(f"type {name} becomes another kind of type")
    return broken, added


def compare_structs(name, old, new, broken, added):
    before, after = old.structs[name], new.structs[name]
    # Values in parameters and results have their size in the calling convention.
    by_value = any(re.search(rf"\b{name}\b(?! (?:const )?\*)", text) for text in old.functions.values())
    grows = before.sized and not by_value
    if before.union != after.union:
        broken.append(f"type {name} becomes another kind of type")
        return
    for index, (field, kind, offset) in enumerate(before.members):
        there = after.members[index] if index < len(after.members) else None
        if there != (field, kind, offset):
            now = "nothing" if there is None else f"{there[1]} {there[0]} at bit {there[2]}"
            broken.append(f"{name}: {kind} {field} at bit {offset} is now {now}")
            return  # what follows has moved, which would be said of each
    for field, kind, offset in after.members[len(before.members) :]:
        what = f"{name}: {kind} {field}"
        if before.union and after.size == before.size:
            added.append(what)
        elif not grows:
            broken.append(f"{what} is added to a struct that does not begin with its size or is passed by value")
        elif offset < before.size:
            added.append(f"{what} (in what was padding: programs that did not zero it are misread)")
        else:
            added.append(what)
    if after.size < before.size or (after.size > before.size and not grows):
        broken.append(f"{name}: {before.size // 8} bytes become {after.size // 8}")


def compare_enums(name, before, after, broken, added):
    if before[0] != after[0]:
        broken.append(f"{name}: its numbers have {after[0]} bits and had {before[0]}")
    for constant, value in before[1].items():
        if constant not in after[1]:
            broken.append(f"{name}: {constant} is removed")
        elif after[1][constant] != value:
            broken.append(f"{name}: {constant} changes from {value} to {after[1][constant]}")
    names = {value: constant for constant, value in before[1].items()}
    for constant in after[1].keys() - before[1].keys():
        value = after[1][constant]
        if value in names:
            broken.append(f"{name}: {constant} has the value of {names[value]}")
        else:
            added.append(f"{name}: {constant} = {value}")


def exports(library):
    """The names of its functions, and its soname."""
    names = {line.split()[2] for line in run("nm", "-D", "--defined-only", library).splitlines()}
    return names, re.search(r"SONAME.*\[(.*)\]", run("readelf", "-d", library))[1]


# ---- The command line ----
def check(library, header=HEADER, baselines=BASELINES):
    """What is wrong, and what is added."""
    text = header.read_text()
    baseline = baselines / f"{soname(text)}.abi"
    if not baseline.exists():
        return [f"{baseline.name} does not exist: the major number has moved. make abi-baseline"], []
    old = Abi(baseline.read_text())
    broken, added = compare(old, Abi(corpus(text)))
    names, own = exports(library)
    if own != soname(text):
        broken.append(f"the library's soname is {own} and the header's is {soname(text)}")
    broken += [f"function {name} is not exported" for name in sorted(old.functions.keys() - names)]
    return broken, added


def renew(force, header=HEADER, baselines=BASELINES):
    """Writes the baseline of the header. Keeps the header if it is the first of its major number."""
    text = header.read_text()
    baseline = baselines / f"{soname(text)}.abi"
    new = corpus(text)
    if baseline.exists() and not force:
        broken, _ = compare(Abi(baseline.read_text()), Abi(new))
        if broken:
            return broken
    baseline.write_text(new)
    kept = oldest(header, baselines)
    if force and kept:
        shutil.rmtree(kept.parent)
        kept = None
    if not kept:
        directory = baselines / ".".join(map(str, c_header.version(text)))
        directory.mkdir()
        shutil.copy(header, directory)
    return []


def oldest(header=HEADER, baselines=BASELINES):
    """The oldest header of this major number that is kept. None if there is none."""
    major = c_header.version(header.read_text())[0]
    kept = [(c_header.version(path.read_text()), path) for path in baselines.glob("*/wasm_engine.h")]
    return min([each for each in kept if each[0][0] == major], default=(None, None))[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check").add_argument("library", type=Path)
    commands.add_parser("renew").add_argument("--force", action="store_true")
    arguments = parser.parse_args()
    if arguments.command == "renew":
        broken, added = renew(arguments.force), []
    else:
        broken, added = check(arguments.library)
    for line in added:
        print(f"abi: added: {line}")
    if broken:
        sys.exit("\n".join(f"abi: error: {line}" for line in broken))
    print("abi: the baseline is written" if arguments.command == "renew" else f"abi: compatible; added: {len(added)}")


if __name__ == "__main__":
    main()
