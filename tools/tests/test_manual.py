# SPDX-License-Identifier: Apache-2.0
"""The manual page and the completions, which are made from the tool's options. CTest sets WASM_TRANSFORM_MANUAL, the
directory with both."""

import os
import pathlib
import pty
import re
import select
import signal
import subprocess
import time
import unittest

from tool import TOOL, ToolTest, main

MANUAL = pathlib.Path(os.environ["WASM_TRANSFORM_MANUAL"])
PAGE, BASH, ZSH, FISH = (MANUAL / f"wasm-transform.{end}" for end in ("1", "bash", "zsh", "fish"))
COMMANDS = ("init", "build", "test", "run", "diff", "bench", "replay", "inspect", "validate", "precompile", "deploy", "list",
            "logs", "pause", "resume", "delete", "ctl", "serve")


def run(*command):
    done = subprocess.run(command, text=True, capture_output=True, timeout=60, env=os.environ | {"LC_ALL": "C.UTF-8"})
    assert done.returncode == 0, done
    return done


def options_of(command):
    """As the tool itself lists them."""
    return re.findall(r"^  (?:(-\w),)?(--[\w-]+)", run(TOOL, command, "--help").stdout, re.MULTILINE)


class ManualPage(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        shown = run("man", "--warnings", "--encoding=UTF-8", "--local-file", str(PAGE))
        cls.warnings, cls.text = shown.stderr, re.sub(r".\x08", "", shown.stdout)

    def test_the_language_is_right(self):
        self.assertEqual(self.warnings, "")
        for section in ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "COMMANDS", "EXIT STATUS"):
            self.assertRegex(self.text, f"(?m)^{section}$")

    def test_every_option_of_every_command(self):
        parts = re.split(r"(?m)^   (\w+)$", self.text)
        described = dict(zip(parts[1::2], parts[2::2]))
        self.assertEqual(tuple(described), COMMANDS)
        for command in COMMANDS:
            options = options_of(command)
            self.assertGreater(len(options), 1)
            for short, long in options:
                names = f"{long}, {short}" if short else long
                self.assertRegex(described[command], f"(?m)^ +{names}( |$)")

    def test_what_the_help_says_below_its_options(self):
        flat = " ".join(self.text.split())
        for text in ("Blank lines are skipped in all but lines", "5 bad input data; output files", "1 any other failure"):
            self.assertIn(text, flat)
        # Once, and not with every command.
        self.assertEqual(flat.count("any other failure"), 1)


class Bash(ToolTest):
    def completed(self, *words):
        """What bash offers for the last word."""
        script = f"""
          compopt() {{ :; }}
          . "{BASH}"
          COMP_WORDS=(wasm-transform "$@") COMP_CWORD=$#
          _wasm_transform
          printf '%s\\n' "${{COMPREPLY[@]}}" """
        shell = ["bash", "-euc", script, "bash"]
        done = subprocess.run([*shell, *words], cwd=self.directory, text=True, capture_output=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return sorted(done.stdout.split())

    def test_commands_and_options(self):
        self.assertEqual(self.completed(""), sorted(COMMANDS))
        self.assertEqual(self.completed("--v"), ["--version"])
        for command in COMMANDS:
            options = sorted(name for pair in options_of(command) for name in pair if name.startswith("--"))
            self.assertEqual(self.completed(command, "--"), options)

    def test_values_files_and_directories(self):
        self.write("guest.wasm", "")
        (self.directory / "guests").mkdir()
        self.assertEqual(self.completed("run", "gu"), ["guest.wasm", "guests"])
        self.assertEqual(self.completed("run", "--format", ""), ["batches", "csv", "json", "lines", "records"])
        self.assertEqual(self.completed("run", "-f", "r"), ["records"])
        self.assertEqual(self.completed("run", "--format", "=", "l"), ["lines"])
        self.assertEqual(self.completed("run", "--format", "="), ["batches", "csv", "json", "lines", "records"])
        self.assertEqual(self.completed("run", "x.wasm", "--output-dir", ""), ["guests"])
        self.assertEqual(self.completed("precompile", "-o", "guest."), ["guest.wasm"])
        self.assertEqual(self.completed("run", "--name", ""), [])


class Fish(ToolTest):
    def completed(self, line):
        script = f"source {FISH}; complete -C '{line}'"
        done = subprocess.run(["fish", "-N", "-c", script], cwd=self.directory, text=True, capture_output=True,
                              env=os.environ | {"HOME": str(self.directory)})
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return sorted(offer.split("\t")[0] for offer in done.stdout.splitlines())

    def test_commands_options_and_values(self):
        self.assertEqual(self.completed("wasm-transform "), sorted(COMMANDS))
        for command in COMMANDS:
            options = sorted(name for pair in options_of(command) for name in pair if name.startswith("--"))
            self.assertEqual(self.completed(f"wasm-transform {command} --"), options)
        self.assertEqual(self.completed("wasm-transform run --format "), ["batches", "csv", "json", "lines", "records"])
        self.write("guest.wasm", "")
        self.assertEqual(self.completed("wasm-transform run gu"), ["guest.wasm"])
        self.assertEqual(self.completed("wasm-transform run --output gu"), ["guest.wasm"])
        self.assertEqual(self.completed("wasm-transform run --output-dir gu"), [])


class Zsh(ToolTest):
    def typed(self, keys, shows):
        """Types into a zsh and reads until it shows `shows`."""
        functions = self.directory / "functions"
        functions.mkdir(exist_ok=True)
        (functions / "_wasm-transform").write_text(ZSH.read_text())
        child, terminal = pty.fork()
        if child == 0:
            os.chdir(self.directory)
            os.environ.update(TERM="dumb", ZDOTDIR=str(self.directory), COLUMNS="200")
            os.execvp("zsh", ["zsh", "-f", "-i"])
        shown = ""

        def read_until(text):
            nonlocal shown
            until = time.monotonic() + 30
            while text not in shown and time.monotonic() < until:
                if select.select([terminal], [], [], 0.1)[0]:
                    shown = re.sub(r".\x08", "", shown + os.read(terminal, 65536).decode(errors="replace"))
            self.assertIn(text, shown)
            shown = ""

        try:
            prepare = f"fpath=({functions} $fpath); autoload -U compinit && compinit -u -D; echo rea''dy\n"
            os.write(terminal, prepare.encode())
            read_until("ready")
            os.write(terminal, keys.encode())
            read_until(shows)
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(terminal)

    def test_commands_options_and_values(self):
        self.assertEqual(run("zsh", "-n", str(ZSH)).stderr, "")
        self.write("guest.wasm", "")
        self.typed("wasm-transform \t\t", "Compiles a module to a file that `run` starts at once.")
        self.typed("wasm-transform val\t", "validate ")
        self.typed("wasm-transform run --output-d\t", "--output-dir=")
        self.typed("wasm-transform run --form\tre\t", "--format=records")
        self.typed("wasm-transform run --name x gu\t", "guest.wasm ")
        self.typed("wasm-transform inspect --j\t", "--json ")
        self.typed("wasm-transform run --\t\t", "The transform's name (default")


if __name__ == "__main__":
    main()
