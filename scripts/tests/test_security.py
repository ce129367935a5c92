"""The table of WASI's functions in SECURITY.md is what a guest sees, and names each function that there is.

    LIBRARY=… GUESTS=… python3 -B -m unittest test_security
"""

import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

from docs_support import ROOT, host_of, run

# Arguments of each function of WASI preview 1. FD is replaced by descriptors 0, 1 and 3. 64-bit ones end in L. 8192 is
# free memory, at 400 are a path of 6 bytes, at 512 an I/O vector, and at 600 a sleep.
CALLS = """
args_get 8192 8192
args_sizes_get 8192 8192
environ_get 8192 9192
environ_sizes_get 8192 8192
clock_res_get 0 8192
clock_time_get 0 0L 8192
fd_advise FD 0L 0L 0
fd_allocate FD 0L 0L
fd_datasync FD
fd_fdstat_get FD 8192
fd_fdstat_set_flags FD 0
fd_fdstat_set_rights FD 0L 0L
fd_filestat_get FD 8192
fd_filestat_set_size FD 0L
fd_filestat_set_times FD 0L 0L 0
fd_pread FD 512 1 0L 8192
fd_prestat_get FD 8192
fd_prestat_dir_name FD 8192 100
fd_pwrite FD 512 1 0L 8192
fd_read FD 512 1 8192
fd_readdir FD 8192 100 0L 9192
fd_seek FD 0L 0 8192
fd_sync FD
fd_tell FD 8192
fd_write FD 512 1 8192
path_create_directory FD 400 6
path_filestat_get FD 0 400 6 8192
path_filestat_set_times FD 0 400 6 0L 0L 0
path_link FD 0 400 6 FD 400 6
path_open FD 0 400 6 0 0L 0L 0 8192
path_readlink FD 400 6 8192 100 9192
path_remove_directory FD 400 6
path_rename FD 400 6 FD 400 6
path_symlink 400 6 FD 400 6
path_unlink_file FD 400 6
poll_oneoff 600 8192 1 9192
proc_raise 6
random_get 8192 100
sched_yield
sock_accept FD 0 8192
sock_recv FD 512 1 0 8192 9192
sock_send FD 512 1 0 8192
sock_shutdown FD 1
fd_renumber FD 3
fd_close FD
proc_exit 0
"""
ERRNO = {0: "ok", 8: "EBADF", 28: "EINVAL", 54: "ENOTDIR", 57: "ENOTSOCK", 58: "ENOTSUP", 70: "ESPIPE"}
ROW = re.compile(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|", re.MULTILINE)


def calls():
    """Name and arguments, with a descriptor in the place of FD."""
    for line in CALLS.split("\n"):
        name, *arguments = line.split() or [""]
        if name and name != "proc_exit":
            for fd in (0, 1, 3) if "FD" in arguments else (None,):
                yield name, [str(fd) if argument == "FD" else argument for argument in arguments]


def guest():
    """A transform in WAT that calls all of them at a record and writes a character for each errno."""
    types, body, made = {}, [], list(calls())
    for at, (name, arguments) in enumerate(made):
        types[name] = " ".join("i64" if argument.endswith("L") else "i32" for argument in arguments)
        pushed = " ".join(f"(i{64 if a.endswith('L') else 32}.const {a.rstrip('L')})" for a in arguments)
        body.append(f"(i32.store8 (i32.const {1003 + at}) (i32.add (i32.const 48) (call ${name} {pushed})))")
    imports = [f'(import "wasi_snapshot_preview1" "{name}" (func ${name} (param {parameters}) (result i32)))'
               for name, parameters in types.items()]
    size = 2 * len(made)  # zigzag
    payload = f"\\01\\{size & 127 | 128:02x}\\{size >> 7:02x}"
    ten, five = "i32 " * 10, "i32 " * 5
    return f"""(module
      (import "redpanda_transform" "check_abi_version_1" (func))
      (import "redpanda_transform" "read_batch_header" (func $batch (param {ten}) (result i32)))
      (import "redpanda_transform" "read_next_record" (func $record (param {five}) (result i32)))
      (import "redpanda_transform" "write_record" (func $write (param i32 i32) (result i32)))
      {' '.join(imports)}
      (memory (export "memory") 4)
      (data (i32.const 1000) "{payload}") (data (i32.const 400) "a-path") (data (i32.const 512) "\\00\\30\\00\\00\\04")
      (data (i32.const 616) "\\01")
      (func (export "_start") (loop $again
        (drop (call $batch {'(i32.const 16384)' * 10}))
        (drop (call $record (i32.const 16384) (i32.const 16392) (i32.const 16400) (i32.const 16408) (i32.const 9999)))
        {' '.join(body)}
        (drop (call $write (i32.const 1000) (i32.const {3 + len(made) + 1})))
        (drop (call $record (i32.const 16384) (i32.const 16392) (i32.const 16400) (i32.const 16408) (i32.const 9999)))
        (br $again))))"""


class Wasi(unittest.TestCase):
    def outcomes(self):
        """By function: the names of its errnos, as in the table."""
        with tempfile.TemporaryDirectory() as directory:
            scratch = Path(directory)
            (scratch / "guest.wat").write_text(guest())
            subprocess.run(["wat2wasm", scratch / "guest.wat", "-o", scratch / "guest.wasm"], check=True)
            done = run(host_of("README.md", scratch), scratch / "guest.wasm")
        self.assertEqual(done.returncode, 0, done.stderr)
        errnos = [ERRNO.get(byte - 48, str(byte - 48)) for byte in done.stdout.rstrip(b"\n")]
        made = list(calls())
        self.assertEqual(len(errnos), len(made))
        outcomes = {}
        for (name, _), errno in zip(made, errnos):
            outcomes.setdefault(name, []).append(errno)
        return {name: all_errnos[:1] if len(set(all_errnos)) == 1 else all_errnos
                for name, all_errnos in outcomes.items()}

    def test_the_table_is_what_a_guest_sees(self):
        table = {name: result.strip().split(", ") for name, result, _ in ROW.findall((ROOT / "SECURITY.md").read_text())}
        self.assertEqual(table, self.outcomes() | {"proc_exit": ["–"]})

    def test_no_function_is_left_out(self):
        """The list is that of the crate whose functions are linked."""
        home = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
        version = re.search(r'name = "wasmtime-wasi"\nversion = "([^"]+)"', (ROOT / "Cargo.lock").read_text())[1]
        found = home.glob(f"registry/src/*/wasmtime-wasi-{version}/witx/p1/wasi_snapshot_preview1.witx")
        interface = next(found, None)
        if interface is None:
            self.skipTest("Cargo's registry does not have the sources of wasmtime-wasi here")
        there = re.findall(r'@interface func \(export "(\w+)"\)', interface.read_text())
        self.assertEqual(sorted(there), sorted(line.split()[0] for line in CALLS.split("\n") if line))


if __name__ == "__main__":
    unittest.main()
