#!/usr/bin/env python3
"""Doxygen's input filter: the comments of the headers as Doxygen wants them.

  scripts/doxygen-filter.py include/wasm_engine.h

Sections of the C header become groups, in which names in backquotes become links. The comment at the top of a header
describes the file.
"""

import re
import sys
from pathlib import Path

HEADER = Path(__file__).resolve().parent.parent / "include" / "wasm_engine.h"
RULE = "// " + "-" * 117
# A name of the header that a link can lead to. Others, such as fields, stay code.
NAME = re.compile(r"`((?:wasm|WASM)_\w+)`")
ENTRY = re.compile(r"^([A-Z][\w ]{2,24}): (.*)$")
MAIN = """- \\ref wasm_engine.h "The C header" with the contract
- \\ref wasmengine "The C++ layer"
- <a href="../index.html">The documentation</a>"""
LICENCE = "// SPDX-License-Identifier: Apache-2.0"


def link(text, known):
    return NAME.sub(lambda found: "#" + found[1] if found[1] in known else found[0], text)


def escape(comment):
    """Angle brackets in a comment are no HTML."""
    return re.sub(r"`[^`]*`|<", lambda found: "\\<" if found[0] == "<" else found[0], comment)


def top_of(lines):
    """The lines of the comment at the top without slashes, and how many lines it takes."""
    count = next(i for i, line in enumerate(lines) if not line.startswith("//"))
    text = [line[2:].removeprefix(" ") for line in lines[:count] if line != LICENCE]
    return text[1:] if text and not text[0] else text, count


def c_header(lines):
    """Sections become groups and comments become Doxygen's. The number of lines stays, for messages."""
    known = set(re.findall(r"\b(?:wasm|WASM)_\w+", re.sub(r"//.*", "", "\n".join(lines))))
    text, count = top_of(lines)
    out = ["/** \\mainpage Reference", MAIN, "*/"]
    out += ["/** \\file", "\\brief The C header.", "\\verbatim", *text, "\\endverbatim", "*/"]
    at, is_open = count, False
    while at < len(lines):
        if lines[at] == RULE:
            end = lines.index(RULE, at + 1)
            title, _, *about = (line[2:].strip() for line in lines[at + 1 : end])
            name = "group_" + title.lower().replace(" ", "_")
            out += ["/// @}"] if is_open else []
            # A blank line ends the comment: else the first declaration of the group gets it too.
            out += [f"/// \\defgroup {name} {title}", *(f"/// {link(line, known)}" for line in about), "/// @{", ""]
            at, is_open = end + 1, True
            continue
        if lines[at].startswith("#undef WASM_ENGINE_ENUM_TYPE") and is_open:
            out.append("/// @}")
            is_open = False
        comment = re.match(r"^( *)// ?(.*)$", lines[at])
        # Outside of the sections only the versions are documented.
        described = is_open or (at + 1 < len(lines) and lines[at + 1].startswith("#define WASM_ENGINE_VERSION"))
        out.append(f"{comment[1]}/// {link(comment[2], known)}" if comment and described else lines[at])
        at += 1
    return out


def layer(lines, name):
    """The comment at the top describes the file. Other comments are Doxygen's already."""
    text, count = top_of(lines)
    out, item = ["/** \\file"], False
    for line in text:
        entry = ENTRY.match(line)
        item = bool(entry) or (item and line.startswith("  "))
        # What is indented by two is code.
        code = "    " if line.startswith("  ") and not item else ""
        out.append(f"- **{entry[1]}:** {entry[2]}" if entry else code + line)
    known = set(re.findall(r"\b(?:wasm|WASM)_\w+", re.sub(r"//.*", "", HEADER.read_text())))
    rest = [escape(link(line, known)) if line.lstrip().startswith("///") else line for line in lines[count:]]
    # A namespace is listed only if it is described somewhere.
    namespace = ["/** \\namespace wasmengine", "The C++ layer. */"] if "handle" in name else []
    return [*out, "*/", *namespace, *rest]


def main():
    path = Path(sys.argv[1])
    lines = path.read_text().splitlines()
    print("\n".join(c_header(lines) if path.name == HEADER.name else layer(lines, path.stem)))


if __name__ == "__main__":
    main()
