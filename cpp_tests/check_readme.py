#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Each function of the header is in README.md, and the files that README.md names exist. So do its folders, and no
folder is missing. No suite has tests in two files.

    check_readme.py HEADER [README]
"""
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def declared(header: str) -> set[str]:
    """The functions that a C header declares."""
    code = re.sub(r"//.*|/\*[\s\S]*?\*/", "", header)
    # A name at the outermost level before a parenthesis. Callbacks in structs are deeper, and in parentheses.
    return set(re.findall(r"^(?:[A-Za-z_]\w*[\s*]+)+(wasm_\w+)\s*\(", code, flags=re.MULTILINE))


def rows(readme: str) -> dict[str, list[str]]:
    """What each row of README's tables has in its last column, by each function of its first."""
    found = {}
    for line in readme.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("|") and len(cells) == 2:
            for name in re.findall(r"`(wasm_\w+)`", cells[0]):
                found.setdefault(name, []).extend(re.findall(r"`([^`]+)`", cells[1]))
    return found


def suites(root: Path) -> dict[str, set[str]]:
    """The files of each suite."""
    found: dict[str, set[str]] = {}
    for file in [*root.glob("*/*.cc"), *root.glob("*/*.hh")]:
        for suite in re.findall(r"^(?:TYPED_)?TEST(?:_F|_P)?\((\w+),", file.read_text(), flags=re.MULTILINE):
            found.setdefault(suite, set()).add(str(file.relative_to(root)))
    return found


def complaints(header: str, readme: str, root: Path) -> list[str]:
    out = []
    functions, mapped = declared(header), rows(readme)
    if len(functions) < 50:
        out.append(f"only {len(functions)} functions were found in the header")
    out += [f"{name} is in the header, but not in README.md" for name in sorted(functions - mapped.keys())]
    out += [f"{name} is in README.md, but not in the header" for name in sorted(mapped.keys() - functions)]
    out += [f"{name} has no test in README.md" for name, files in sorted(mapped.items()) if not files]
    # Every path that README names, in whichever table.
    for path in sorted(set(re.findall(r"`((?:\w+/)+\w+\.(?:cc|hh|c))`", readme))):
        if not (root / path).is_file():
            out.append(f"README.md names {path}, which does not exist")
    folders = set(re.findall(r"\]\((\w+)\)", readme))
    for folder in sorted({p.parent.name for p in root.glob("*/*.cc")} - folders):
        out.append(f"the folder {folder} is not in README.md")
    for suite, files in sorted(suites(root).items()):
        if len(files) > 1:
            out.append(f"the suite {suite} has tests in several files: {', '.join(sorted(files))}")
    return out


def main() -> int:
    header = Path(sys.argv[1]).read_text()
    readme = Path(sys.argv[2] if len(sys.argv) > 2 else HERE / "README.md").read_text()
    found = complaints(header, readme, HERE)
    for line in found:
        print(line)
    if not found:
        print(f"functions that have tests: {len(declared(header))}; suites: {len(suites(HERE))}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
