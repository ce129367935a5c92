#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Does harm to a host of the library and says what came of it: `make faults`.

    scripts/faults.py build/cmake/cpp_tests/faults_host build/guests/c_identity.wasm [--only KIND] [--few] [--kills N] [--seed N]

Kinds: `calls` lets each system call of a life fail once, and all from one on, by strace. `limits` takes address space and room for
files away. `bombs` compiles modules that cost much, with 2 GiB of address space. `signals` interrupts and forks. `kills` kills at
random moments while the code cache is written. `clock` lets the wall clock jump. Each time the library may give an error with a status and a message, or do its work. It may not crash, hang or give
something wrong. Afterwards the same host must do its work again, but for that of a bomb, which must only end as it should."""

import argparse
import collections
import os
import pathlib
import random
import re
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from benchmark import hostile

MODES = ("on-demand", "thread-pool", "process-pool")
# Seconds. A life takes some hundredths of one, and the most expensive module that is accepted 24 on a quiet machine.
PATIENCE = 120
# What the kernel may answer, by call. Calls that it cannot refuse (rt_sigaction of a signal that there is, sigaltstack
# with enough memory) are not among them.
ERRORS = {
    "mmap": ("ENOMEM",), "mprotect": ("ENOMEM",), "munmap": ("ENOMEM",), "madvise": ("ENOMEM", "EINVAL"), "mremap": ("ENOMEM",),
    "clone3": ("EAGAIN",), "clone": ("EAGAIN",), "openat": ("EMFILE", "EACCES", "EROFS", "ENOSPC"), "read": ("EIO",), "pread64": ("EIO",),
    "write": ("ENOSPC", "EIO"), "pwrite64": ("ENOSPC",), "writev": ("ENOSPC",), "fsync": ("EIO",), "fdatasync": ("EIO",),
    "rename": ("EROFS", "EIO"), "renameat": ("EROFS",), "renameat2": ("EROFS",), "linkat": ("EROFS",), "unlink": ("EROFS",),
    "unlinkat": ("EROFS",), "mkdir": ("ENOSPC", "EROFS"), "statx": ("EIO", "EACCES"), "newfstatat": ("EIO",), "fstat": ("EIO",),
    "lseek": ("EIO",), "ftruncate": ("ENOSPC",), "getdents64": ("EIO",), "flock": ("ENOLCK",), "fchmod": ("EPERM",),
    "utimensat": ("EROFS",), "readlink": ("EIO",), "fcntl": ("EMFILE",), "memfd_create": ("EMFILE",), "eventfd2": ("EMFILE",),
    "timerfd_create": ("EMFILE",), "sched_getaffinity": ("EINVAL",), "sched_setaffinity": ("EINVAL",), "sched_setscheduler": ("EPERM",), "setpriority": ("EACCES",),
    "prctl": ("EINVAL",), "clock_nanosleep": ("EINTR",), "copy_file_range": ("EIO",),
}


# Wasmtime's pool panics when its reservation cannot be unmapped. The kernel refuses that for parts of mappings only.
ONCE = {"munmap"}


class Broken(Exception):
    """What must not be."""


class Host:
    """A faults_host. Ends with the block."""

    def __init__(self, rig, mode, cache, environment=(), module=None):
        mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [rig.host, str(module or rig.module), mode, str(cache) if cache else "-", str(its.fileno())]
        self.process = subprocess.Popen(command, pass_fds=[its.fileno()], env=os.environ | dict(environment), stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        its.close()
        self._socket = mine
        if (said := self.answer()) != "ready":
            raise RuntimeError(said)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()
        if self.process.poll() is None:
            try:
                self.process.wait(PATIENCE if sys.exc_info()[0] is None else 0)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stderr.close()

    def ask(self, what="g"):
        self._socket.send(what.encode())

    def answer(self):
        ready, _, _ = select.select([self._socket], [], [], PATIENCE)
        if not ready:
            raise Broken(f"no answer within {PATIENCE} s")
        try:
            said = self._socket.recv(65536).decode(errors="replace")
        except ConnectionResetError:
            said = ""
        if not said:
            code = self.process.wait(PATIENCE)
            errors = self.process.stderr.read().decode(errors="replace").strip().splitlines()[-3:]
            raise Broken(f"ended with {signal.Signals(-code).name if code < 0 else code}: {' / '.join(errors)}")
        if said.startswith(("wrong", "error panic")):
            raise Broken(said)
        return said

    def life(self, what="g"):
        self.ask(what)
        return self.answer()

    def must_live(self, what="g"):
        said = self.life(what)
        if said != "ok":
            raise Broken(f"afterwards: {said}")

    def end(self):
        """Ends as it should: with all threads and without a signal."""
        self._socket.shutdown(socket.SHUT_RDWR)
        code = self.process.wait(PATIENCE)
        if code != 0:
            raise Broken(f"its end: {code}")


class Strace:
    """Harm by strace, for as long as the block lasts."""

    def __init__(self, pid, *arguments, out="/dev/null"):
        self._out = out
        self._process = subprocess.Popen(["strace", "-f", "-qq", "-o", str(out), *arguments, "-p", str(pid)], stdin=subprocess.DEVNULL,
                                         stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        status = pathlib.Path(f"/proc/{pid}/status")
        deadline = time.monotonic() + PATIENCE
        while re.search(r"TracerPid:\t0\n", status.read_text()):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"strace cannot trace: {self._process.stderr.read().decode()}")
            time.sleep(0.001)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.send_signal(signal.SIGINT)
        self._process.wait()
        self._process.stderr.close()


class Rig:
    def __init__(self, options, scratch):
        self.host, self.module = str(options.host), str(options.module)
        self.options = options
        self.scratch = scratch
        self.random = random.Random(options.seed)
        self.came = collections.defaultdict(collections.Counter)  # What came, by kind of harm.
        self.messages = collections.Counter()
        self.broken = []
        self._caches = 0

    def cache(self):
        self._caches += 1
        return self.scratch / f"cache{self._caches}"

    def few(self, all_of):
        """A sample for a short run."""
        all_of = list(all_of)
        return self.random.sample(all_of, min(len(all_of), 3)) if self.options.few else all_of

    def note(self, kind, said):
        self.came[kind]["done" if said == "ok" else "refused"] += 1
        if said != "ok":
            self.messages[re.sub(r"[0-9a-f]{16,}|\d+|/\S+", "N", said.split("\n")[0])[:150]] += 1

    def attempt(self, kind, what, harm):
        """`harm()` gives what the host said."""
        try:
            self.note(kind, harm())
        except Broken as e:
            self.came[kind]["broken"] += 1
            self.broken.append(f"{kind}: {what}: {e}")
            print(f"BROKEN {self.broken[-1]}", flush=True)

    # ---- Calls ----

    def counts(self, mode, cached):
        """How often a thread makes each call in a life, at most."""
        out = self.scratch / "calls"
        cache = self.cache()
        with Host(self, mode, cache) as host:
            if cached:
                host.must_live()
            with Strace(host.process.pid, "-e", "trace=" + ",".join("?" + name for name in ERRORS), out=out):
                host.must_live()
        found = collections.Counter()
        for line in out.read_text(errors="replace").splitlines():
            if match := re.match(r"(\d+) +(\w+)\(", line):
                found[match.group(1), match.group(2)] += 1
        most = collections.Counter()
        for (_, name), count in found.items():
            most[name] = max(most[name], count)
        return most

    def fail(self, mode, cached, inject):
        cache = self.cache()
        try:
            with Host(self, mode, cache) as host:
                if cached:
                    host.must_live()
                with Strace(host.process.pid, "-e", f"inject={inject}"):
                    said = host.life()
                host.must_live()
                host.end()
            return said
        finally:
            shutil.rmtree(cache, ignore_errors=True)

    def calls(self):
        for mode in self.few(MODES)[:1 if self.options.few else None]:
            for cached in (False, True):
                where = f"{mode}, {'from' if cached else 'into'} the cache"
                for name, count in sorted(self.counts(mode, cached).items()):
                    for error in ERRORS[name]:
                        for n in self.few(range(1, count + 1)):
                            for when in (f"{n}", f"{n}+")[:1 if name in ONCE else 2]:
                                inject = f"{name}:error={error}:when={when}"
                                self.attempt(f"{name} {error}{' and all after' if when[-1] == '+' else ''}", f"{where}: {inject}",
                                             lambda: self.fail(mode, cached, inject))

    # ---- Limits ----

    def limits(self):
        for mode in MODES:
            with Host(self, mode, None) as host:
                status = pathlib.Path(f"/proc/{host.process.pid}/status").read_text()
                now = int(re.search(r"VmSize:\s+(\d+)", status).group(1)) << 10
            steps = [1 << n for n in range(16, 37)] + [3 << n for n in range(16, 36)]
            for more in self.few(sorted(steps)):
                self.attempt("address space", f"{mode}, {more} bytes more",
                             lambda: self.limited(mode, resource.RLIMIT_AS, now + more, None))
            # Enough is enough.
            def enough():
                if (said := self.limited(mode, resource.RLIMIT_AS, now + (1 << 46), None)) != "ok":
                    raise Broken(said)
                return said
            self.attempt("address space", f"{mode}, 64 TiB more", enough)
        for size in self.few([0, 1, 64, 512, 4095, 4096, 4097, *range(8192, 131072, 8192)]):
            self.attempt("size of files", f"{size} bytes", lambda: self.limited(MODES[0], resource.RLIMIT_FSIZE, size, self.cache()))
        for files in self.few(range(4, 24)):
            self.attempt("open files", f"{files}", lambda: self.limited(MODES[0], resource.RLIMIT_NOFILE, files, self.cache()))

    def limited(self, mode, what, soft, cache):
        with Host(self, mode, cache) as host:
            pid = host.process.pid
            before = resource.prlimit(pid, what)
            resource.prlimit(pid, what, (soft, before[1]))
            said = host.life()
            resource.prlimit(pid, what, before)
            host.must_live()
            host.end()
        return said

    # ---- Bombs ----

    def bombs(self):
        module = self.scratch / "bomb.wasm"
        for name in self.few(sorted(hostile.FAMILIES)):
            for size in (1 << 6, 1 << 10, 1 << 14):
                module.write_bytes(hostile.FAMILIES[name](size))
                self.attempt("bombs", f"{name}, size {size}", lambda: self.bomb(module))

    def bomb(self, module):
        with Host(self, MODES[0], None, module=module) as host:
            resource.prlimit(host.process.pid, resource.RLIMIT_AS, (2 << 30, 2 << 30))
            said = host.life()
            host.life()
            host.end()
        return said

    # ---- Signals, forks ----

    def signals(self):
        for mode in MODES:
            for what, kind in (("s", "signals each 0.1 ms"), ("f", "forks each ms")):
                with Host(self, mode, self.cache()) as host:
                    for _ in range(3 if self.options.few else 50):
                        def harm():
                            host.must_live(what)
                            return "ok"
                        self.attempt(kind, mode, harm)
                        if host.process.poll() is not None:
                            break

    # ---- Kills ----

    def kills(self):
        cache = self.cache()
        for n in range(self.options.kills or (20 if self.options.few else 1000)):
            self.attempt("kill -9", f"number {n}, seed {self.options.seed}", lambda: self.killed(cache, n % 10 == 9))
        files = collections.Counter(path.suffix for path in cache.iterdir())
        print(f"files in the cache afterwards: {dict(files)}")

    def killed(self, cache, then_look):
        with Host(self, MODES[0], cache) as host:
            host.must_live("g")  # From the cache, unless it is the first.
            host.ask("n")
            time.sleep(self.random.uniform(0, 0.03))
            host.process.kill()
            host.process.wait()
        if then_look:
            with Host(self, MODES[0], cache) as host:
                host.must_live("g")
                host.must_live("n")
                host.end()
        return "ok"

    # ---- The clock ----

    def clock(self):
        library = next(pathlib.Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
        if library is None:
            raise SystemExit("faults.py: faketime is missing: scripts/setup.sh core")
        jumps = self.scratch / "clock"
        jumps.write_text("+0\n")
        environment = {"LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(jumps), "FAKETIME_NO_CACHE": "1",
                       "DONT_FAKE_MONOTONIC": "1"}
        with Host(self, MODES[0], self.cache(), environment.items()) as host:
            host.must_live()
            if "libfaketime" not in pathlib.Path(f"/proc/{host.process.pid}/maps").read_text():
                raise SystemExit("faults.py: faketime was not loaded: its clock would be the machine's")
            for n in range(5 if self.options.few else 200):
                def harm():
                    host.ask("n")
                    for _ in range(5):
                        time.sleep(self.random.uniform(0, 0.01))
                        part = jumps.with_suffix(".new")
                        part.write_text(f"{self.random.choice('+-')}{self.random.choice((1, 60, 86400, 3 * 10**8))}\n")
                        part.rename(jumps)
                    if (said := host.answer()) != "ok":
                        raise Broken(said)
                    return said
                self.attempt("jumps of the wall clock", f"number {n}", harm)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("host", type=pathlib.Path)
    parser.add_argument("module", type=pathlib.Path)
    kinds = ("calls", "limits", "bombs", "signals", "kills", "clock")
    parser.add_argument("--only", choices=kinds, action="append")
    parser.add_argument("--few", action="store_true", help="some of each kind")
    parser.add_argument("--kills", type=int)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    options = parser.parse_args()
    print(f"seed {options.seed}")
    with tempfile.TemporaryDirectory() as scratch:
        # Parents of a code cache must not be writable by others.
        rig = Rig(options, pathlib.Path(scratch))
        for kind in options.only or kinds:
            getattr(rig, kind)()
    width = max(len(kind) for kind in rig.came)
    for kind, came in rig.came.items():
        print(f"{kind:{width}}  " + ", ".join(f"{count} {what}" for what, count in came.items()))
    for message, count in rig.messages.most_common(20):
        print(f"{count:6} × {message}")
    total = sum(sum(came.values()) for came in rig.came.values())
    print(f"{total} faults, {len(rig.broken)} broken something")
    return 1 if rig.broken or not total else 0


if __name__ == "__main__":
    sys.exit(main())
