"""What tests of the documentation share: programs that stand on pages, compiled."""

import importlib.util
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = Path(os.environ["LIBRARY"])
GUESTS = Path(os.environ["GUESTS"])


def host_of(page, scratch):
    """The first program of a page. It gets a guest as its standard input."""
    spec = importlib.util.spec_from_file_location("snippets", ROOT / "scripts" / "check-snippets.py")
    snippets = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(snippets)
    block = next(block for block in snippets.blocks_of(ROOT / page) if block.guest)
    program, fault = snippets.linked(block, ROOT / "include", (LIBRARY, GUESTS), Path(scratch))
    assert fault is None, fault
    return program


def compile_c(source, scratch, *flags, linked=True):
    """A program in C of this directory."""
    program = Path(scratch) / Path(source).stem
    command = ["gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", f"-I{ROOT / 'include'}"]
    command += [Path(__file__).with_name(source), "-o", program, *flags]
    subprocess.run(command + ([LIBRARY, f"-Wl,-rpath,{LIBRARY.parent}"] if linked else []), check=True)
    return program


def run(program, guest, *wrapper, arguments=()):
    """A program's end, with a guest as its input."""
    with open(guest, "rb") as module:
        return subprocess.run([*wrapper, program, *arguments], stdin=module, capture_output=True, timeout=120)
