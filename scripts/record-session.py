#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Records docs/session.md: what wasm-transform prints from `init` to `deploy --dry-run`, in three languages.

    scripts/record-session.py build/cmake/tools/wasm-transform [--check]

--check compares what is printed now with the page, apart from numbers."""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/session.md"
HEAD = """# A session, recorded

`scripts/record-session.py` typed what follows `$` and wrote down what came. A test compares. Each project begins as
`init` makes it. Then one line of the transform is changed, which `test` and `diff` notice.
"""
# Language, its name, its source, what is changed in it and into what.
LANGUAGES = (
    ("rust", "Rust", "src/main.rs", "to_ascii_uppercase", "to_ascii_lowercase"),
    ("go", "Go", "main.go", "bytes.ToUpper", "bytes.ToLower"),
    ("js", "JavaScript", "src/transform.js", "toUpperCase", "toLowerCase"),
)


def commands(language, source, old, new):
    return (
        f"wasm-transform init --language {language} shout",
        "cd shout",
        "wasm-transform build",
        "wasm-transform test",
        "printf 'hello\\nworld\\n' > lines.txt",
        "wasm-transform run build/shout.wasm lines.txt",
        "cp build/shout.wasm old.wasm",
        f"sed -i s/{old}/{new}/ {source}",
        "wasm-transform test",
        "wasm-transform diff old.wasm build/shout.wasm lines.txt",
        "wasm-transform deploy --dry-run",
    )


def record(tool, language, source, old, new):
    """The session as text."""
    lines = []
    with tempfile.TemporaryDirectory() as directory:
        where = pathlib.Path(directory)
        env = os.environ | {"PATH": f"{where / 'bin'}:{os.environ['PATH']}", "NO_COLOR": "1"}
        (where / "bin").mkdir()
        (where / "bin/wasm-transform").symlink_to(tool)
        for command in commands(language, source, old, new):
            lines.append(f"$ {command}")
            if command.startswith("cd "):
                where = where / command[3:]
                continue
            done = subprocess.run(["bash", "-c", command], cwd=where, env=env, text=True, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT)
            lines += [line.rstrip() for line in done.stdout.splitlines()]
    return "\n".join(lines)


def page(tool):
    parts = [HEAD]
    for language, name, *rest in LANGUAGES:
        parts.append(f"## {name}\n\n```text\n{record(tool, language, *rest)}\n```\n")
    return "\n".join(parts)


def comparable(text):
    """Without what differs from machine to machine and from time to time."""
    text = re.sub(r"\S*/(shout|tests|build)/", r"\1/", text)
    text = text.replace(", with the standard library from its sources", "")
    text = re.sub(r"wasm32-wasi(p1)?", "wasm32", text)
    text = re.sub(r"[µmn]?s\b", "s", text)
    text = re.sub(r"\b(KiB|MiB|bytes)\b", "B", text)
    text = re.sub(r"[\d][\d.,]*", "N", text)
    return [" ".join(line.split()) for line in text.splitlines()]


def main():
    tool = pathlib.Path(sys.argv[1]).resolve()
    now = page(tool)
    if "--check" not in sys.argv:
        PAGE.write_text(now)
        return 0
    expected, actual = comparable(PAGE.read_text()), comparable(now)
    if expected == actual:
        return 0
    for old, new in zip(expected + [""] * len(actual), actual + [""] * len(expected)):
        if old != new:
            print(f"docs/session.md: {old!r} is printed as {new!r}; run scripts/record-session.py")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
