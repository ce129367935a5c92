"""The library through the header as cffi reads it: bindings_test.py HEADER LIBRARY"""
import re
import subprocess
import sys

import cffi

header, library = sys.argv[1:]


def preprocess(*flags):
    return subprocess.run(["gcc", "-E", *flags, "-x", "c", header], capture_output=True, text=True, check=True).stdout


# What the system's headers define comes first, and cffi knows it.
declarations = preprocess("-P")
ffi = cffi.FFI()
ffi.cdef(declarations[declarations.index("typedef struct wasm_") :])
lib = ffi.dlopen(library)

macros = dict(re.findall(r"#define WASM_ENGINE_(VERSION\w*) (.*)", preprocess("-dM")))
assert f'"{ffi.string(lib.wasm_library_version()).decode()}"' == macros["VERSION"]
assert lib.wasm_library_version_number() == int(macros["VERSION_NUMBER"], 16)
assert macros["VERSION"].startswith('"{VERSION_MAJOR}.{VERSION_MINOR}.{VERSION_PATCH}'.format(**macros))

runtime, error = ffi.new("wasm_runtime **"), ffi.new("wasm_error **")
assert lib.wasm_runtime_create(ffi.NULL, runtime, error) == lib.WASM_STATUS_OK
status = lib.wasm_runtime_validate(runtime[0], {"data": ffi.from_buffer(b"none"), "size": 4}, error)
assert status == lib.wasm_error_status(error[0]) == lib.WASM_STATUS_MODULE_NOT_WASM
assert ffi.typeof("wasm_status").elements[status] == "WASM_STATUS_MODULE_NOT_WASM"
lib.wasm_error_release(error[0])
lib.wasm_runtime_release(runtime[0])
