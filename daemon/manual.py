#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes wasm-transformd(8), with the options that the program itself lists: manual.py PROGRAM OUT."""

import pathlib
import re
import subprocess
import sys

ABOUT = """\
.SH DESCRIPTION
.B wasm\\-transformd
reads records of topics on a Kafka cluster, gives them to guests and writes what these put out. Output and position are
committed together. Each
.I FILE
is the YAML file of a transform, which
.I transformd.md
of the documentation describes. Start as many processes on as many computers as you like: the cluster's consumer groups
spread the partitions.
"""

REST = """\
.SH SIGNALS
.TP
.BR SIGTERM ", " SIGINT
Each worker commits its transaction and leaves its group. A second signal ends the process at once.
.SH "EXIT STATUS"
.TP
.B 0
It was ended by a signal, or the files are right.
.TP
.B 1
It cannot run: for instance, the address is in use.
.TP
.B 2
There is a fault in a file. It is told with file and line.
.TP
.B over 100
There is a fault in the command line.
.SH FILES
.TP
.I /etc/wasm\\-transformd/*.yaml
The transforms of the service
.BR wasm\\-transformd.service .
Without any it does not start.
.TP
.I /etc/default/wasm\\-transformd
Environment of the service: values for ${NAME} in the files, and OPTIONS for the command line. Only root needs to read it.
.TP
.I /run/wasm\\-transformd/control
The service's socket for commands and state:
.B curl \\-\\-unix\\-socket /run/wasm\\-transformd/control http://localhost/transforms
.TP
.I /var/lib/wasm\\-transformd
Modules that were deployed by request.
.TP
.I /usr/share/wasm\\-transformd/transform.schema.json
The JSON Schema of a transform's file, for editors.
.SH "SEE ALSO"
.BR wasm\\-transform (1)
"""


def escaped(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text[:1] in (".", "'") else text


def options(text):
    """Name, value and description of each option that a help text of CLI11 lists."""
    found = []
    for line in text.splitlines():
        words = re.match(r"  (-\S+)(.*)$", line)
        if words:
            # "--threads UINT:INT in [1 - 1024]" has its description on the next line, "--user USER The user." behind one space.
            value, description = re.match(r"(?: (\S+(?: in \[.*?\])?))?\s*(.*)$", words.group(2)).groups()
            found.append([words.group(1), (value or "").split(":")[0], description.strip()])
        elif found and line.startswith("   "):
            found[-1][2] = f"{found[-1][2]} {line.strip()}".strip()
    if len(found) < 5 or not all(description for _, _, description in found):
        sys.exit(f"manual.py: cannot read the options: {found}")
    return found


def main():
    program, out = sys.argv[1:]
    ask = lambda what: subprocess.run([program, what], capture_output=True, text=True, check=True).stdout
    page = [f'.TH WASM\\-TRANSFORMD 8 "" "wasm\\-transformd {ask("--version").strip()}" "System Administration"\n',
            ".nh\n.ad l\n.SH NAME\nwasm\\-transformd \\- run WebAssembly data transforms on a Kafka cluster\n",
            ".SH SYNOPSIS\n.B wasm\\-transformd\n[\\fIOPTION\\fR...] \\fIFILE\\fR...\n", ABOUT, ".SH OPTIONS\n"]
    for names, value, description in options(ask("--help")):
        heading = ", ".join(f"\\fB{escaped(name)}\\fR" for name in names.split(","))
        page.append(f".TP\n{heading}{f' {chr(92)}fI{escaped(value)}{chr(92)}fR' if value else ''}\n{escaped(description)}\n")
    pathlib.Path(out).write_text("".join(page) + REST)


if __name__ == "__main__":
    main()
