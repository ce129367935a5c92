#!/usr/bin/env python3
"""Writes include/wasm_engine_dlopen.h from include/wasm_engine.h: `make header` does. With --check it only compares."""

import sys
from pathlib import Path

import c_header

INCLUDE = Path(__file__).resolve().parents[1] / "include"
HEADER = INCLUDE / "wasm_engine.h"
TARGET = INCLUDE / "wasm_engine_dlopen.h"
WIDTH = 120

HEAD = """\
// SPDX-License-Identifier: Apache-2.0
//
// The functions of `wasm_engine.h` for programs that load the library with dlopen. Generated: `make header` writes this
// file and a test fails when it is out of date. C99 and C++17 or later. Link with -ldl before glibc 2.34.
//
//   wasm_library library;
//   const char *fault = wasm_library_open(&library, NULL);
//   if (fault != NULL) ...
//   library.runtime_create(NULL, &runtime, &error);
//
// If WASM_LIBRARY is defined before the first include, as the name of a `wasm_library`, then the names of the functions
// are macros that call it: the same source can be linked with the library or load it. The C++ layer cannot be used
// so because it needs the addresses of the functions.
//
//   #define WASM_LIBRARY library
//   #include <wasm_engine_dlopen.h>
//   static wasm_library library;
//   ...
//   wasm_runtime_create(NULL, &runtime, &error);

#ifndef WASM_ENGINE_DLOPEN_H
#define WASM_ENGINE_DLOPEN_H

#include <dlfcn.h>
#include <string.h>
#include <wasm_engine.h>

#ifdef __cplusplus
extern "C" {
#endif

// The types of the functions.
"""
STRUCT = """
// The library: its functions by their names without `wasm_`. Set by `wasm_library_open`.
typedef struct wasm_library {
  // For `dlclose`. NULL if the library could not be loaded.
  void *handle;
"""
OPEN = """\
} wasm_library;

#ifdef __cplusplus
} // extern "C"
#endif

// Loads the library and finds its functions. `file` is as for `dlopen`. NULL means "@SONAME@". Returns NULL
// if all functions were found. Otherwise it returns what is wrong:
//
// - If `library->handle` is NULL, the library could not be loaded and the text is that of `dlerror`.
// - Otherwise the text is the name of the first function that is not there. The library is older than this header.
//   Functions that are not there are NULL and the others can be used. So a host may go on if it calls only what older
//   libraries have.
//
// The library stays loaded after `dlclose`.
static inline const char *wasm_library_open(wasm_library *library, const char *file) {
  static const struct {
    const char *name;
    size_t place;
  } functions[] = {
"""
TAIL = """\
  };
  const char *missing = NULL;
  memset(library, 0, sizeof *library);
  library->handle = dlopen(file != NULL ? file : "@SONAME@", RTLD_NOW | RTLD_LOCAL);
  if (library->handle == NULL) return dlerror();
  for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
    // Copied because C has no cast from an object pointer to a function pointer. POSIX promises that they are alike.
    void *const symbol = dlsym(library->handle, functions[i].name);
    memcpy((char *)library + functions[i].place, &symbol, sizeof symbol);
    if (symbol == NULL && missing == NULL) missing = functions[i].name;
  }
  return missing;
}

#ifdef WASM_LIBRARY
"""
END = """\
#endif

#endif // WASM_ENGINE_DLOPEN_H
"""


def wrapped(text):
    """A declaration that does not fit into a line gets a line for each parameter, as in the header."""
    if len(text) <= WIDTH:
        return text
    start = text.index("(") + 1
    return text.replace(", ", ",\n" + " " * start)


def generate(header):
    functions = c_header.functions(header)
    short = {f.name: f.name.removeprefix("wasm_") for f in functions}
    space = lambda result: "" if result.endswith("*") else " "  # noqa: E731
    out = HEAD
    out += "".join(wrapped(f"typedef {f.result}{space(f.result)}{f.name}_fn({f.parameters});") + "\n" for f in functions)
    out += STRUCT + "".join(f"  {name}_fn *{short[name]};\n" for name in short)
    out += OPEN + "".join(f'      {{"{name}", offsetof(wasm_library, {short[name]})}},\n' for name in short)
    out += TAIL + "".join(f"#define {name} (WASM_LIBRARY).{short[name]}\n" for name in short) + END
    return out.replace("@SONAME@", f"libwasm_engine.so.{c_header.version(header)[0]}")


def main():
    text = generate(HEADER.read_text())
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(text)
    elif TARGET.read_text() != text:
        sys.exit("include/wasm_engine_dlopen.h is out of date: run make header")


if __name__ == "__main__":
    main()
