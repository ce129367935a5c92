#!/usr/bin/env python3
"""The folders of src/ are wings in an order: each file uses its own wing and those before it. Fails on an import against the
order, on a file outside of a wing, and on a path from the crate's root that names no wing. Also if the list of lib.rs
is not that of the modules in which `unsafe` is allowed.

    scripts/check-wings.py [SRC]
"""

import re
import sys
from pathlib import Path

ORDER = ["promise", "batch", "base", "host", "system", "metrics", "module", "guest", "compile", "engine", "abi"]
# `crate::wing::…`, and each name in `crate::{wing::…, wing::…}`.
PATH = re.compile(r"\bcrate::(?:(\w+)|\{([^;]*?)\};)", re.DOTALL)


def used(text):
    """The first names of all paths from the crate's root."""
    for single, group in PATH.findall(text):
        yield from [single] if single else re.findall(r"(?:^|,)\s*(\w+)", re.sub(r"\{[^{}]*\}", "", group))


def faults(src):
    for path in sorted(src.rglob("*.rs")):
        wing = path.relative_to(src).parts[0]
        if wing == "lib.rs":
            continue
        if wing not in ORDER:
            yield f"{path}: {wing} is no wing"
            continue
        for name in used(path.read_text()):
            if name not in ORDER:
                yield f"{path}: crate::{name} is no wing"
            elif ORDER.index(name) > ORDER.index(wing):
                yield f"{path}: {wing} must not use {name}"


def unsafe_listed(text):
    """The modules that lib.rs lists: `wing`, or `wing::module`."""
    found = re.search(r"It is allowed in (.*?); and in single functions", text.replace("\n//!", ""))
    for part in found[1].split(";") if found else []:
        wing, *modules = re.findall(r"`(\w+)`", part)
        yield from [f"{wing}::{module}" for module in modules] or [wing]


def unsafe_allowed(src):
    """The modules with files in which `unsafe` is allowed. A whole wing if its own file allows it."""
    for path in src.rglob("*.rs"):
        if re.search(r"^#!\[allow\(unsafe_code", path.read_text(), re.MULTILINE):
            wing, module, *_ = path.relative_to(src).with_suffix("").parts
            yield wing if module == "mod" else f"{wing}::{module}"


def unsafe_faults(src):
    root = src / "lib.rs"
    listed, allowed = set(unsafe_listed(root.read_text() if root.exists() else "")), set(unsafe_allowed(src))
    for module in sorted(allowed - listed):
        yield f"{root}: unsafe is allowed in {module}, which is not in the list"
    for module in sorted(listed - allowed):
        yield f"{root}: {module} is in the list and does not allow unsafe"


def main():
    src = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "src"
    found = [*faults(src), *unsafe_faults(src)]
    print("\n".join(found) or f"wings, each using only those before it: {' < '.join(ORDER)}")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
