"""`wasm_engine_dlopen.h`: what it declares is what the header declares, and its loader says what is missing.

    LIBRARY=… python3 -B -m unittest test_dlopen_header
"""

import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import c_header  # noqa: E402
import dlopen_header  # noqa: E402

LIBRARY = Path(os.environ["LIBRARY"])
HEADER = (ROOT / "include/wasm_engine.h").read_text()
OPEN = """#include <stdio.h>
#include <wasm_engine_dlopen.h>
int main(int argc, char **argv) {
  wasm_library library;
  const char *fault = wasm_library_open(&library, argc > 1 ? argv[1] : NULL);
  printf("%d %s\\n", library.handle != NULL, fault != NULL ? fault : "-");
  if (library.handle == NULL) return 0;
BODY
  return dlclose(library.handle);
}
"""


class Header(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.scratch = Path(scratch.name)

    def build(self, source, header=HEADER, table=None, fails=False):
        """What the compiler said. The table is that of the header if no other header is given for it."""
        (self.scratch / "wasm_engine.h").write_text(header)
        (self.scratch / "wasm_engine_dlopen.h").write_text(dlopen_header.generate(table or header))
        (self.scratch / "main.c").write_text(source)
        command = ["gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", f"-I{self.scratch}",
                   str(self.scratch / "main.c"), "-o", str(self.scratch / "main"), "-ldl"]  # fmt: skip
        if "int main" not in source:
            command.append("-c")
        done = subprocess.run(command, text=True, capture_output=True)
        self.assertEqual(done.returncode != 0, fails, done.stderr)
        return done.stderr

    def run_with(self, *arguments):
        return subprocess.run([str(self.scratch / "main"), *map(str, arguments)], check=True, text=True, capture_output=True).stdout

    def test_the_types_are_those_of_the_functions(self):
        functions = c_header.functions(HEADER)
        self.assertGreater(len(functions), 80)
        pointers = "".join(f"{f.name}_fn *const {f.name}_pointer = {f.name};\n" for f in functions)
        source = "#include <wasm_engine_dlopen.h>\n" + pointers
        self.build(source)
        for edit in (("wasm_status wasm_error_status(", "int wasm_error_status("), ("size_t index, wasm_f", "int index, wasm_f")):
            self.assertIn("incompatible", self.build(source, table=HEADER.replace(*edit), fails=True))

    def test_all_functions_are_found(self):
        members = [f.name.removeprefix("wasm_") for f in c_header.functions(HEADER)]
        body = "".join(f"  if (library.{member} == NULL) return 1;\n" for member in members)
        self.build(OPEN.replace("BODY", body + '  printf("%s\\n", library.library_version());'))
        self.assertRegex(self.run_with(LIBRARY), r"^1 -\n\d+\.\d+\.\d+\n$")

    def test_names_are_calls_of_the_table(self):
        text = OPEN.replace("wasm_library library;", "").replace("int main", "static wasm_library library;\nint main")
        self.build("#define WASM_LIBRARY library\n" + text.replace("BODY", '  printf("%s\\n", wasm_status_name(WASM_STATUS_OK));'))
        self.assertEqual(self.run_with(LIBRARY), "1 -\nok\n")

    def test_an_older_library_lacks_functions(self):
        fresh = "\nvoid wasm_bytes_fresh(void);\nvoid wasm_bytes_other(void);"
        header = re.sub(r"^void wasm_bytes_release\(.*", lambda m: m[0] + fresh, HEADER, count=1, flags=re.MULTILINE)
        self.build(OPEN.replace("BODY", "  if (library.bytes_fresh != NULL || library.bytes_release == NULL) return 1;"), header)
        self.assertEqual(self.run_with(LIBRARY), "1 wasm_bytes_fresh\n")

    def test_there_is_no_library(self):
        self.build(OPEN.replace("BODY", ""))
        self.assertRegex(self.run_with("/nowhere/lib.so"), "^0 /nowhere/lib.so: cannot open")
        self.assertRegex(self.run_with(), r"^0 libwasm_engine\.so\.\d+: cannot open")


if __name__ == "__main__":
    unittest.main()
