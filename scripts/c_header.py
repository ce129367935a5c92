"""Reads the functions that `include/wasm_engine.h` declares."""

import re
from typing import NamedTuple

COMMENT = re.compile(r"//.*|/\*[\s\S]*?\*/")
# At the outermost level: `wasm_status wasm_engine_start(…);`. Callbacks in structs are indented and in parentheses.
FUNCTION = re.compile(r"^((?:[A-Za-z_]\w*[\s*]+)+)(wasm_\w+)\s*\(([^;]*)\);", re.MULTILINE)
# Handles, which are declared only, are not among them.
TYPE = re.compile(r"^typedef (struct|enum|union) (wasm_\w+)[^;\n]*\{", re.MULTILINE)


class Function(NamedTuple):
    """A declaration: `RESULT NAME(PARAMETERS);`"""

    name: str
    result: str
    parameters: str


def functions(header):
    """The functions in the order of the header."""
    code = COMMENT.sub("", header)
    words = lambda text: " ".join(text.split()).replace("* ", "*")  # noqa: E731
    return [Function(name, words(result), words(given)) for result, name, given in FUNCTION.findall(code)]


def types(header):
    """The names of the structs, enums and unions that have a body."""
    return {name for _, name in TYPE.findall(COMMENT.sub("", header))}


def version(header):
    """Major, minor and patch."""
    number = lambda part: int(re.search(rf"#define WASM_ENGINE_VERSION_{part} (\d+)", header)[1])  # noqa: E731
    return number("MAJOR"), number("MINOR"), number("PATCH")
