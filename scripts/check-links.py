#!/usr/bin/env python3
"""What Markdown pages and the header's comments point to exists: relative links with their anchors, `paths/like/this` of
the repository, and names like `wasm_runtime` or `WASM_STATUS_OK`, which the header declares or a metric has.

  scripts/check-links.py [PAGE...]      (default: the header, the pages of the root and of docs/, each README.md one
                                        directory down, and those of plugins)
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CODE_BLOCK = re.compile(r"^ *```.*?^ *```\s*$", re.MULTILINE | re.DOTALL)
CODE_SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)$", re.MULTILINE)
HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
# Only what begins with a directory of this repository, and ends like a directory or a file: others may be anything.
TOP = "abi|src|crates|include|cpp_tests|docs|scripts|tools|guests|bench|examples|packaging|peers|plugins|python"
PATH = re.compile(rf"(?:{TOP})/(?:[\w./-]*(?:/|\.\w+))?")
NAME = re.compile(r"(?:wasm|WASM)_\w+")
HEADER = ROOT / "include" / "wasm_engine.h"
METRICS = ROOT / "src" / "metrics" / "text.rs"
REMOTE_METRICS = ROOT / "remote/server/core.cc"
COMMENT = re.compile(r"^ *//.*$", re.MULTILINE)


def anchors_of(page):
    """The anchors that GitHub makes of a page's headings."""
    headings = HEADING.findall(CODE_BLOCK.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def faults_of(page, names):
    """What a page points to that is not there."""
    text = CODE_BLOCK.sub("", page.read_text())
    for inline, reference in LINK.findall(CODE_SPAN.sub("code", text)):
        link = inline or reference
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists():
            yield f"{page}: no such file: {link}"
        elif anchor and (target.suffix != ".md" or anchor not in anchors_of(target)):
            yield f"{page}: no such heading: {link}"
    for span in CODE_SPAN.findall(text):
        if PATH.fullmatch(span) and not (ROOT / span).exists() and not (page.parent / span).exists():
            yield f"{page}: no such path: {span}"
        if NAME.fullmatch(span) and span not in names:
            yield f"{page}: no such name in the header: {span}"


def main():
    pages = [Path(page) for page in sys.argv[1:]]
    pages = pages or [HEADER, *sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md"),
                                     *ROOT.glob("plugins/*/README.md")])]
    names = COMMENT.sub("", HEADER.read_text()) + METRICS.read_text() + REMOTE_METRICS.read_text()
    faults = [fault for page in dict.fromkeys(pages) for fault in faults_of(page, names)]
    if faults:
        sys.exit("\n".join(faults))
    print(f"pages whose links lead somewhere: {len(set(pages))}")


if __name__ == "__main__":
    main()
