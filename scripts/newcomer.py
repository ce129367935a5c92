#!/usr/bin/env python3
"""Types what the pages for getting started say, each in a Debian of its own that has nothing else, and times it.

  scripts/newcomer.py PACKAGES WHEEL GUESTS [--only NAME...] [--write]

PACKAGES is what `make deb` has made, WHEEL what `make wheel` has, GUESTS what `make guests` has. It prints the table of
docs/installing.md, and --write writes that. As root, with mmdebstrap. `make newcomer` runs it.

On a page, a block in sh behind the comment `<!-- newcomer: NAME -->` has the commands. They begin with the installation
and end with the host. The host must print what the page says of its first program, or what `, prints: ONE / TWO` in the
comment says. The program is the file host.c, host.cc or host.py. A block behind `<!-- file: NAME -->` is that file.
Packages, wheel and guests are where make puts them, and the library's sources are in the folder wasm-engine.
"""

import argparse
import datetime
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "docs" / "installing.md"
BLOCK = re.compile(
    r"^<!-- (?P<kind>newcomer|file): (?P<name>[^,\n]+?)(?:, prints: (?P<prints>.*))? -->\n```\w+\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
NAMES = {"c": "host.c", "cpp": "host.cc", "python": "host.py"}
# Commands that bring what the host needs.
GETS = re.compile(r"apt-get |curl |chmod \+x rustup-init |python3 -m venv |\S*pip ")
# What a network between this machine and the world may want.
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
HEAD = "| host | commands | get | build | run | in all |\n| --- | --- | --- | --- | --- | --- |\n"


@dataclass
class Newcomer:
    name: str
    page: Path
    commands: list
    files: dict
    prints: list

    @property
    def link(self):
        return f"[{self.name}]({self.page.name})"


def newcomers():
    """What the pages say, in the order of the table of contents."""
    spec = importlib.util.spec_from_file_location("snippets", ROOT / "scripts" / "check-snippets.py")
    snippets = importlib.util.module_from_spec(spec)
    sys.modules["snippets"] = snippets  # for its dataclasses
    spec.loader.exec_module(snippets)
    pages = re.findall(r"\((start-\w+\.md)\)", (ROOT / "docs" / "SUMMARY.md").read_text())
    found = []
    for page in (ROOT / "docs" / name for name in pages):
        blocks = list(BLOCK.finditer(page.read_text()))
        files = {block["name"]: block["text"] for block in blocks if block["kind"] == "file"}
        host = next((block for block in snippets.blocks_of(page) if block.guest), None)
        if host:
            files[NAMES[host.language]] = host.code
        for block in blocks:
            if block["kind"] == "newcomer":
                prints = (block["prints"] or host.output).split(" / ")
                commands = block["text"].replace("\\\n", "").splitlines()
                found.append(Newcomer(block["name"], page, commands, files, prints))
    return found


def run(*command, **options):
    done = subprocess.run([str(word) for word in command], text=True, capture_output=True, **options)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def system_for(newcomer, base, arguments, scratch):
    """A Debian for one newcomer, with what is at hand."""
    system = scratch / "system"
    shutil.rmtree(system, ignore_errors=True)
    system.mkdir()
    run("tar", "-xf", base, "-C", system)
    home = system / "root"
    shutil.copy("/etc/resolv.conf", system / "etc")
    for place, sources in (("packages", arguments.packages.glob("*.deb")), ("wheel", arguments.wheel.glob("*.whl")),
                           ("guests", [arguments.guests / "c_tee.wasm"])):
        (home / "build" / place).mkdir(parents=True)
        for source in sources:
            shutil.copy(source, home / "build" / place)
    if CERTIFICATES.exists():
        shutil.copy(CERTIFICATES, home / "certificates")
    for name, text in newcomer.files.items():
        (home / name).write_text(text)
    if "CMakeLists.txt" in newcomer.files:
        (home / "wasm-engine").mkdir()
        listed = run("git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
        there = "\n".join(name for name in listed if (ROOT / name).exists())
        run("sh", "-c", f"tar -c -C '{ROOT}' -T - | tar -x -C '{home / 'wasm-engine'}'", input=there)
    return system


def typed(newcomer, system):
    """Seconds of getting, building and running."""
    environment = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8",
                   "DEBIAN_FRONTEND=noninteractive"]
    if CERTIFICATES.exists():
        environment += [f"{name}=/root/certificates" for name in ("PIP_CERT", "SSL_CERT_FILE", "CARGO_HTTP_CAINFO")]
    seconds, said = [0.0, 0.0, 0.0], ""
    for number, command in enumerate(newcomer.commands):
        script = f"mount -t proc proc /proc\ncd\n{command}"
        begin = time.monotonic()
        said = run("unshare", "--mount", "--pid", "--fork", "chroot", system, *environment, "sh", "-euc", script)
        took = time.monotonic() - begin
        seconds[2 if number + 1 == len(newcomer.commands) else 0 if GETS.match(command) else 1] += took
    if said.splitlines() != newcomer.prints:
        sys.exit(f"{newcomer.name}: it should print {newcomer.prints}:\n{said}")
    return seconds


def row(newcomer, seconds):
    get, build, ran = seconds
    columns = [newcomer.link, len(newcomer.commands), f"{get:.0f}", f"{build:.1f}", f"{ran:.1f}", f"{sum(seconds):.0f}"]
    return f"| {' | '.join(map(str, columns))} |\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("packages", "wheel", "guests"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--only", nargs="+", help="names of some")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        base = scratch / "base.tar"
        run("mmdebstrap", "--variant=minbase", "--skip=cleanup/apt/lists", "bookworm", base)
        for newcomer in newcomers():
            if not arguments.only or newcomer.name in arguments.only:
                seconds = typed(newcomer, system_for(newcomer, base, arguments, scratch))
                rows.append(row(newcomer, seconds))
                print(rows[-1], end="", flush=True)
    if arguments.write and not arguments.only:
        text = TABLE.read_text()
        before, _, rest = text.partition(HEAD)
        after = re.sub(r"^(\|.*\n)*", "", rest)
        now = f"Measured on {datetime.date.today()} on {os.cpu_count()}"
        after = re.sub(r"Measured on [\d-]+ on \d+", now, after, count=1)
        TABLE.write_text(before + HEAD + "".join(rows) + after)


if __name__ == "__main__":
    main()
