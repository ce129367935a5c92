# SPDX-License-Identifier: Apache-2.0
"""Puts the library into the wheel, with what cffi makes of the header and the enums as Python has them.

$WASM_ENGINE_LIBRARY names the library. Default: where Cargo builds it.
"""
import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import cffi
from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

try:
    from setuptools.command.bdist_wheel import bdist_wheel
except ImportError:  # before setuptools 70.1
    from wheel.bdist_wheel import bdist_wheel

ROOT = Path(__file__).resolve().parent.parent
HEADER = ROOT / "include/wasm_engine.h"
LIBRARY = Path(os.environ.get("WASM_ENGINE_LIBRARY") or ROOT / "target/release/libwasm_engine.so")
ENUMS = {
    "Status": "wasm_status",
    "Trap": "wasm_trap",
    "EngineState": "wasm_engine_state",
    "OnError": "wasm_on_error",
    "Compression": "wasm_compression",
    "MemoryMode": "wasm_memory_mode",
    "TrapMode": "wasm_trap_mode",
    "Severity": "wasm_log_severity",
}


def output(*command):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=True).stdout


def version():
    return re.search(r'^version = "(.+)"$', (ROOT / "Cargo.toml").read_text(), flags=re.MULTILINE)[1]


def write_bindings(directory):
    """`_header.py` needs no compiler and does not parse the header again."""
    text = output("cc", "-E", "-P", "-x", "c", HEADER)
    ffi = cffi.FFI()
    # What the system's headers define comes first, and cffi knows it.
    ffi.cdef(text[text.index("typedef struct wasm_") :])
    ffi.set_source("wasm_engine._header", None)
    made = directory / "_header.py"
    ffi.emit_python_code(str(made))
    made.write_text("# mypy: ignore-errors\n" + made.read_text())

    lines = ['"""The enums of wasm_engine.h, which has the meaning of each name."""', "from enum import IntEnum"]
    for name, raw in ENUMS.items():
        elements = ffi.typeof(raw).elements
        prefix = os.path.commonprefix(list(elements.values())).rpartition("_")[0] + "_"
        lines += ["", "", f"class {name}(IntEnum):"]
        lines += [f"    {element[len(prefix) :]} = {value}" for value, element in sorted(elements.items())]
    (directory / "enums.py").write_text("\n".join(lines) + "\n")


class Build(build_py):
    def run(self):
        super().run()
        package = Path(self.build_lib, "wasm_engine")
        shutil.copyfile(LIBRARY, package / "libwasm_engine.so")
        write_bindings(package)


class Binary(Distribution):
    def has_ext_modules(self):
        return True


class Wheel(bdist_wheel):
    def get_tag(self):
        """For any Python. The oldest C library is the one whose symbols the library asks for."""
        newest = max(int(minor) for minor in re.findall(r"GLIBC_2\.(\d+)", output("readelf", "-V", LIBRARY)))
        machine = sysconfig.get_platform().rpartition("-")[2]
        return "py3", "none", f"manylinux_2_{newest}_{machine}"


setup(version=version(), distclass=Binary, cmdclass={"build_py": Build, "bdist_wheel": Wheel})
