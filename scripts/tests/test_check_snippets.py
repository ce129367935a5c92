"""A snippet that does not compile, or a program that prints something else than its page says, is noticed."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPT = Path(__file__).resolve().parent.parent / "check-snippets.py"


class Snippets(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)

    def check(self, *blocks, run=()):
        page = self.directory / "page.md"
        page.write_text("# A page\n\n" + "\n".join(blocks))
        command = [sys.executable, SCRIPT, *(["--run", *run] if run else []), page]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
        self.assertNotIn("Traceback", done.stderr)
        return done

    def assert_fault(self, done, *parts):
        self.assertEqual(done.returncode, 1, done.stdout)
        for part in parts:
            self.assertIn(part, done.stderr)

    def test_snippets_that_compile(self):
        c = "```c\n#include <wasm_engine.h>\nwasm_status s;\n```\n"
        done = self.check(c, "```cpp\nauto i = 1;\n```\n", "```sh\nls\n```\n")
        self.assertEqual(done.stdout, "snippets that compile: 2\n", done.stderr)

    def test_c_that_does_not_compile_is_named_by_its_line_of_the_page(self):
        done = self.check("Text.\n", "```c\nint right;\nint wrong = ;\n```\n")
        self.assert_fault(done, "page.md:7:", "snippets that fail: 1 of 1")

    def test_cpp_that_does_not_compile(self):
        self.assert_fault(self.check("```cpp\nco_await compilation;\n```\n"), "page.md:4:")
        self.assert_fault(self.check("```c++\nauto unknown = nothing;\n```\n"), "page.md:4:")

    def test_one_bad_snippet_among_good_ones(self):
        self.assert_fault(self.check("```c\nint i;\n```\n", "```c\nint = i;\n```\n"), "snippets that fail: 1 of 2")

    def test_a_warning_is_a_fault(self):
        done = self.check("```c\nint f(int x) { unsigned y = 1; return x < y; }\n```\n")
        self.assert_fault(done, "-Werror=sign-compare")

    def test_c_is_c11_and_no_newer(self):
        self.assert_fault(self.check("```c\nbool b = true;\n```\n"), "page.md:4:")

    def test_a_function_that_is_not_in_the_header(self):
        done = self.check("```c\n#include <wasm_engine.h>\nvoid f(void) { wasm_engine_fly(); }\n```\n")
        self.assert_fault(done, "page.md:5:", "wasm_engine_fly")

    def test_a_fragment_needs_its_preamble(self):
        fragment = "```cpp\nauto state = engine.state().value();\n(void)state;\n```\n"
        self.assert_fault(self.check(fragment), "page.md:4:")
        done = self.check("<!-- preamble: host -->\n" + fragment)
        self.assertEqual(done.returncode, 0, done.stderr)
        done = self.check("<!-- preamble: nothing -->\n" + fragment)
        self.assert_fault(done, "there is no preamble docs/preambles/nothing.cc")

    def test_a_fault_in_a_fragment_is_named_by_its_line_of_the_page(self):
        self.assert_fault(self.check("<!-- preamble: host -->\n```cpp\nengine.fly();\n```\n"), "page.md:5:", "fly")

    def test_a_page_without_snippets_and_a_block_without_an_end(self):
        self.assert_fault(self.check("Text.\n"), "no snippets found")
        self.assert_fault(self.check("```c\nint i;\n"), "page.md:3: this block has no end")

    def run_program(self, prints, code=0):
        library, guest = self.directory / "libnone.so", self.directory / "guest.wasm"
        subprocess.run(["gcc", "-shared", "-o", library, "-x", "c", "/dev/null"], check=True)
        guest.write_text("one\ntwo\n")
        program = f"#include <stdio.h>\nint main(void) {{\n  char all[9] = {{0}};\n  fread(all, 1, 8, stdin);\n" \
                  f"  fputs(all, stdout);\n  return {code};\n}}\n"
        comment = f"<!-- run: guest.wasm, prints: {prints} -->\n"
        return self.check(f"{comment}```c\n{program}```\n", run=[library, self.directory])

    def test_a_program_prints_what_its_page_says(self):
        self.assertEqual(self.run_program("one / two").returncode, 0)
        self.assert_fault(self.run_program("one / three"), "it should print 'one / three':\none\ntwo")

    def test_a_library_that_a_program_needs(self):
        program = "#include <math.h>\n#include <stdlib.h>\n#include <stdio.h>\n" \
                  'int main(int argc, char **argv) { printf("%.1f\\n", cbrt(argc + atof(argv[0]) + 26)); }\n'
        library = self.directory / "libnone.so"
        subprocess.run(["gcc", "-shared", "-o", library, "-x", "c", "/dev/null"], check=True)
        (self.directory / "guest.wasm").write_text("")
        for links, fault in (("links: m, ", None), ("", "cbrt")):
            comment = f"<!-- run: guest.wasm, {links}prints: 3.0 -->\n"
            done = self.check(f"{comment}```c\n{program}```\n", run=[library, self.directory])
            if fault:
                self.assert_fault(done, fault)
            else:
                self.assertEqual(done.returncode, 0, done.stderr)

    def test_an_excerpt_stands_in_its_file(self):
        excerpt = "<!-- from: guests/c/tee.c -->\n```c\nvoid _start(void) { tg_run(on_record, %s); }\n```\n"
        self.assertEqual(self.check(excerpt % "NULL").returncode, 0)
        self.assert_fault(self.check(excerpt % "0"), "page.md:5: these lines are not in guests/c/tee.c")
        self.assert_fault(self.check(excerpt.replace("tee", "nothing")), "are not in guests/c/nothing.c")

    def test_a_guest_that_does_not_compile(self):
        guest = '<!-- guest, prints: x -->\n```c\n#include "transform_guest.h"\nvoid _start(void) { %s }\n```\n'
        self.assertEqual(self.check(guest % 'tg_fail(TG_STR("no"));').returncode, 0)
        self.assert_fault(self.check(guest % "fly();"), "page.md:6:", "fly")

    def test_python_that_is_none_and_a_program_in_it(self):
        self.assert_fault(self.check("```python\nx = 1\ny = = 1\n```\n"), "page.md:5: invalid syntax")
        self.assertEqual(self.check("```python\nasync def f() -> None: ...\n```\n").returncode, 0)

    def test_a_program_that_fails(self):
        self.assert_fault(self.run_program("one / two", code=3), "exit code 3")


if __name__ == "__main__":
    unittest.main()
