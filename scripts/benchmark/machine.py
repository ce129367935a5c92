"""What it was measured on, and of what versions."""

import os
import platform
import re
import subprocess
import tomllib
from datetime import datetime, timezone


def output(*command, cwd=None):
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def first_line(*command):
    return next(iter(output(*command).splitlines()), "not found")


def locked(lock, package):
    """The version of a package in a lock file of Cargo's."""
    if not lock.exists():
        return "not there"
    packages = tomllib.loads(lock.read_text())["package"]
    return next((p["version"] for p in packages if p["name"] == package), "not there")


def required(go_mod, module):
    """The version of a module that a go.mod wants."""
    found = go_mod.exists() and re.search(rf"{re.escape(module)} v(\S+)", go_mod.read_text())
    return found.group(1) if found else "not there"


def processor(cpuinfo):
    """Its name with family and model: virtual machines often hide the rest, and generations differ by half."""
    fields = dict(re.findall(r"^(model name|cpu family|model)\s*: (.*)$", cpuinfo, re.M))
    numbers = ", ".join(f"{what} {fields[key]}" for what, key in (("family", "cpu family"), ("model", "model"))
                        if key in fields)
    return fields.get("model name", platform.machine()) + (f" ({numbers})" if numbers else "")


def describe(root):
    dirty = " with changes" if output("git", "status", "--porcelain", "--untracked-files=no", cwd=root) else ""
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "CPU": f"{processor(open('/proc/cpuinfo').read())}, {os.cpu_count()} cores",
        "kernel": platform.release(),
        "load before": ", ".join(f"{load:.1f}" for load in os.getloadavg()),
        "revision": (output("git", "rev-parse", "--short=12", "HEAD", cwd=root) or "no git") + dirty,
        "rustc": first_line("rustc", "--version"),
        "C++ compiler": first_line("c++", "--version"),
        "guests' clang": first_line("clang-22", "--version"),
        "this library's Wasmtime": locked(root / "Cargo.lock", "wasmtime"),
        "wasmtime": locked(root / "peers/wasmtime-c-api/Cargo.lock", "wasmtime"),
        "wasmer": locked(root / "peers/wasmer-c-api/Cargo.lock", "wasmer"),
        "wazero": required(root / "peers/wazero-host/go.mod", "github.com/tetratelabs/wazero"),
        "extism": locked(root / "peers/extism-host/Cargo.lock", "extism")
                  + " on Wasmtime " + locked(root / "peers/extism-host/Cargo.lock", "wasmtime"),
    }
