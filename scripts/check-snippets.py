#!/usr/bin/env python3
"""Compiles every snippet in C, C++ and Python of Markdown pages: as C11 and C++20, with warnings as errors.

  scripts/check-snippets.py [--include DIR] [--run LIBRARY GUESTS] [PAGE...]      (default: README.md and docs/*.md)

A snippet is a block fenced by ```c, ```cpp or ```python. It stands alone, unless the line before it is one of these comments:

  <!-- preamble: NAME -->                       it is put where docs/preambles/NAME.c or NAME.cc says SNIPPET
  <!-- run: GUEST.wasm, prints: ONE / TWO -->   it is a program: with --run it is linked, gets the guest as its standard
                                                input, and must print these lines; `links: NAME, ` before `prints` is
                                                a library that it needs beside this one. In Python it runs where the
                                                guests are, with the package of python/
  <!-- guest, prints: ONE / TWO -->             it is a guest in C: with --run it is compiled with Clang and given to the
                                                first program of README.md, which must print these lines
  <!-- from: PATH -->                           a block of any language whose lines stand in this file as they are here
"""

import argparse
import functools
import os
import re
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# What a fence says: the compiler, and the suffix of sources and preambles.
# #line makes GCC take a snippet for an included file, where this warning would be about any lambda in a coroutine.
CXX = (["g++", "-std=c++20", "-Wno-subobject-linkage"], ".cc")
COMPILERS = {"c": (["gcc", "-std=c11", "-pedantic"], ".c"), "cpp": CXX, "c++": CXX}
WARNINGS = ["-Wall", "-Wextra", "-Werror"]
LANGUAGES = {*COMPILERS, "python"}
lock = threading.Lock()
FENCE = re.compile(r"^ *```(\S*)")
COMMENT = re.compile(
    r"^<!-- (?:preamble: (?P<preamble>\S+)|run: (?P<guest>\S+), (?:links: (?P<links>\S+), )?prints: (?P<output>.*)"
    r"|guest, prints: (?P<written>.*)|from: (?P<origin>\S+)) -->$"
)
# As guests/Makefile has it.
GUEST_COMPILER = [os.environ.get("CLANG", "clang-22"), "--target=wasm32-wasi", "-Wno-deprecated", "-std=c11", "-O2"]
GUEST_COMPILER += ["-ffreestanding", "-nostdlib", f"-I{ROOT / 'guests' / 'include'}"]


@dataclass
class Block:
    page: Path
    line: int  # of its first line of code
    language: str
    code: str
    preamble: str | None
    guest: str | None
    links: str | None
    output: str | None
    written: str | None  # by a guest
    origin: str | None

    def __str__(self):
        return f"{self.page}:{self.line}"


def blocks_of(page):
    """The fenced blocks of a page."""
    blocks, start, lines = [], None, page.read_text().splitlines()
    for number, line in enumerate(lines):
        fence = FENCE.match(line)
        if not fence:
            continue
        if start is None:
            start, language = number + 1, fence[1]
        else:
            comment = COMMENT.match(lines[start - 2]) if start >= 2 else None
            asked = comment.groupdict() if comment else dict.fromkeys(COMMENT.groupindex)
            blocks.append(Block(page, start + 1, language, "\n".join(lines[start:number]) + "\n", **asked))
            start = None
    if start is not None:
        sys.exit(f"{page}:{start}: this block has no end")
    return blocks


def source_of(block, suffix):
    """The block as a source file, in which the compiler names the page's lines."""
    code = f'#line {block.line} "{block.page}"\n{block.code}'
    if block.preamble is None:
        return code
    path = ROOT / "docs" / "preambles" / (block.preamble + suffix)
    if not path.exists():
        sys.exit(f"{block}: there is no preamble {path.relative_to(ROOT)}")
    before, marker, after = path.read_text().partition("// SNIPPET\n")
    if not marker:
        sys.exit(f"{path.relative_to(ROOT)} has no line // SNIPPET")
    return f'#line 1 "{path}"\n{before}{code}#line {before.count(chr(10)) + 2} "{path}"\n{after}'


def finished(command, **options):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)


def outcome_of(block, command, guest, output, **options):
    """What is wrong with what a program prints when it gets a guest as its standard input, or None."""
    with open(guest, "rb") as module:
        done = finished(command, stdin=module, timeout=60, **options)
    if done.returncode or done.stdout.splitlines() != ([] if output == "nothing" else output.split(" / ")):
        return f"{block}: exit code {done.returncode}, it should print {output!r}:\n{done.stdout}{done.stderr}"
    return None


def linked(block, include, run, scratch):
    """The program of a block, or what is wrong with it."""
    command, suffix = COMPILERS[block.language]
    source = scratch / f"{block.page.stem}-{block.line}{suffix}"
    source.write_text(source_of(block, suffix))
    command = [*command, *WARNINGS, f"-I{include}", source]
    if not (run and block.guest):
        done = finished([*command, "-fsyntax-only"])
        return None, (done.stderr or f"{block}: the compiler failed") if done.returncode else None
    library, _ = run
    program = source.with_suffix("")
    libraries = [library, f"-Wl,-rpath,{Path(library).parent}", *([f"-l{block.links}"] if block.links else [])]
    done = finished([*command, "-o", program, *libraries, "-pthread"])
    return program, done.stderr if done.returncode else None


def fault_of_guest(block, include, run, scratch):
    """What is wrong with a guest, or None."""
    source = scratch / f"{block.page.stem}-{block.line}.c"
    source.write_text(source_of(block, ".c"))
    guest = source.with_suffix(".wasm")
    done = finished([*GUEST_COMPILER, *WARNINGS, source, *(["-o", guest] if run else ["-fsyntax-only"])])
    if done.returncode or not run:
        return done.stderr if done.returncode else None
    host = next(host for host in blocks_of(ROOT / "README.md") if host.guest)
    program, fault = linked(host, include, run, scratch)
    return fault or outcome_of(block, [program], guest, block.written)


@functools.cache
def package_of(library, scratch):
    """Where Python finds the package as a wheel would have it."""
    build = ["/usr/bin/python3", "setup.py", "-q", "build_py", "--build-lib", scratch / "python"]
    done = finished(build, cwd=ROOT / "python", env=os.environ | {"WASM_ENGINE_LIBRARY": str(library)})
    if done.returncode:
        sys.exit(f"the Python package could not be built:\n{done.stderr}")
    return scratch / "python"


def fault_of_python(block, run, scratch):
    """What is wrong with a block in Python, or None."""
    try:
        compile("\n" * (block.line - 1) + block.code, str(block.page), "exec")
    except SyntaxError as error:
        return f"{block.page}:{error.lineno}: {error.msg}"
    if not (run and block.guest):
        return None
    library, guests = run
    source = scratch / f"{block.page.stem}-{block.line}.py"
    source.write_text(block.code)
    with lock:
        environment = os.environ | {"PYTHONPATH": str(package_of(library, scratch))}
    # Debian's Python, for which Debian's cffi is.
    command = ["/usr/bin/python3", "-B", source]
    return outcome_of(block, command, Path(guests) / block.guest, block.output, cwd=guests, env=environment)


def fault_of(block, include, run, scratch):
    """What is wrong with a block, or None."""
    if block.language == "python" and not block.origin:
        return fault_of_python(block, run, scratch)
    if block.origin:
        path = ROOT / block.origin
        there = path.is_file() and block.code in path.read_text()
        return None if there else f"{block}: these lines are not in {block.origin}"
    if block.written:
        return fault_of_guest(block, include, run, scratch)
    program, fault = linked(block, include, run, scratch)
    if fault or program is None:
        return fault
    return outcome_of(block, [program], Path(run[1]) / block.guest, block.output)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--include", type=Path, default=ROOT / "include")
    parser.add_argument("--run", nargs=2, type=os.path.abspath, metavar=("LIBRARY", "GUESTS"))
    parser.add_argument("pages", nargs="*", type=Path)
    arguments = parser.parse_args()
    pages = arguments.pages or [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    blocks = [block for page in pages for block in blocks_of(page) if block.language in LANGUAGES or block.origin]
    if not blocks:
        sys.exit("no snippets found")
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(os.cpu_count()) as pool:
        faults = list(pool.map(lambda b: fault_of(b, arguments.include, arguments.run, Path(scratch)), blocks))
    for fault in filter(None, faults):
        print(fault, file=sys.stderr)
    if any(faults):
        sys.exit(f"snippets that fail: {sum(map(bool, faults))} of {len(blocks)}")
    print(f"snippets that compile: {len(blocks)}")


if __name__ == "__main__":
    main()
