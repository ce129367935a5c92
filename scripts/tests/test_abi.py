"""What counts as a change of the ABI, and programs of other versions of the header.

    LIBRARY=… GUESTS=… python3 -B -m unittest test_abi

With LIBRARY an older libwasm_engine.so the tests of `Programs` say whether programs of today's header run on it.
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
import abi  # noqa: E402
import c_header  # noqa: E402

LIBRARY = Path(os.environ["LIBRARY"])
GUESTS = Path(os.environ["GUESTS"])
HEADER = (ROOT / "include/wasm_engine.h").read_text()


def edited(*edits, text=HEADER):
    """The header with (pattern, replacement) applied, each once."""
    for pattern, replacement in edits:
        text, count = re.subn(pattern, replacement, text, count=1, flags=re.MULTILINE)
        assert count == 1, pattern
    return text


def end_of(name, line):
    """An edit that appends a line to a struct, union or enum."""
    return rf"^\}} {name};", f"  {line}\n}} {name};"


class Compare(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.today = abi.Abi(abi.corpus(HEADER))

    def after(self, *edits):
        """What is broken and what is added by edits of today's header."""
        return abi.compare(self.today, abi.Abi(abi.corpus(edited(*edits))))

    def breaks(self, what, *edits):
        broken, _ = self.after(*edits)
        self.assertEqual(len(broken), 1, broken)
        self.assertRegex(broken[0], what)

    def adds(self, what, *edits):
        broken, added = self.after(*edits)
        self.assertEqual((broken, len(added)), ([], 1), added)
        self.assertRegex(added[0], what)

    def test_nothing(self):
        self.assertEqual(self.after((r"^// An error\. ", "// Moved.\n//\n// An error. ")), ([], []))

    def test_names_of_parameters_are_no_part_of_it(self):
        self.assertEqual(self.after((r"wasm_bytes_release\(wasm_bytes \*bytes\)", "wasm_bytes_release(wasm_bytes *b)")), ([], []))

    # ---- Functions ----
    def test_a_function_is_removed(self):
        self.breaks("function wasm_bytes_release is removed", (r"^void wasm_bytes_release\(.*\);", ""))

    def test_a_function_is_added(self):
        self.adds("function wasm_bytes_hash", (r"^(void wasm_bytes_release\(.*)", r"\1\nuint64_t wasm_bytes_hash(wasm_bytes *b);"))

    def test_a_parameter_gets_another_type(self):
        for before, after in (("size_t index", "uint32_t index"), ("size_t index", "int64_t index"),
                              ("const wasm_error [*]error", "wasm_error *error")):  # fmt: skip
            edit = rf"^(wasm_status wasm_error_frame\(.*){before}", rf"\1{after}"
            self.breaks("function wasm_error_frame changes from .* to ", edit)

    def test_a_parameter_is_added(self):
        edit = r"^(wasm_status wasm_error_status\(.*)\);", r"\1, int more);"
        self.breaks("function wasm_error_status changes", edit)

    def test_a_result_gets_another_type(self):
        self.breaks("wasm_error_status changes", (r"^wasm_status (wasm_error_status)", r"uint32_t \1"))

    # ---- Structs ----
    def test_a_field_is_inserted_in_the_middle(self):
        for struct, field in (("wasm_factory_config", "wasm_slice name"), ("wasm_waker", r"void \(\*wake\)")):
            edit = rf"(typedef struct {struct} \{{[\s\S]*?)(^  {field})", r"\1  uint64_t fresh;\n\2"
            self.breaks(f"{struct}: .* at bit .* is now uint64_t fresh", edit)

    def test_a_field_is_appended_to_a_sized_struct(self):
        self.adds("^wasm_factory_config: uint64_t fresh$", end_of("wasm_factory_config", "uint64_t fresh;"))

    def test_a_field_is_appended_to_a_sized_struct_where_its_padding_was(self):
        self.adds("wasm_thread_config: uint32_t fresh .*padding", end_of("wasm_thread_config", "uint32_t fresh;"))

    def test_a_field_is_appended_to_an_unsized_struct(self):
        broken, added = self.after(end_of("wasm_waker", "uint64_t fresh;"))
        self.assertIn("wasm_waker: uint64_t fresh is added to a struct that does not begin with its size", broken[0])
        self.assertEqual((broken[1:], added), (["wasm_waker: 24 bytes become 32"], []))

    def test_a_field_is_appended_to_padding_of_an_unsized_struct(self):
        self.breaks("wasm_frame: uint32_t fresh is added", end_of("wasm_frame", "uint32_t fresh;"))

    def test_a_sized_struct_that_is_passed_by_value_must_not_grow(self):
        declared = "\nvoid wasm_thread_like(wasm_thread_config config);"
        before = edited((r"^(wasm_status wasm_thread_prepare\([\s\S]*?\);)", rf"\1{declared}"))
        after = edited(end_of("wasm_thread_config", "uint64_t fresh;"), text=before)
        broken, _ = abi.compare(abi.Abi(abi.corpus(before)), abi.Abi(abi.corpus(after)))
        self.assertIn("by value", broken[0])

    def test_a_field_changes_while_the_struct_grows(self):
        grown = end_of("wasm_runtime_config", "uint64_t fresh;")
        for edit in ((r"^  uint64_t replay_seed;", "  int64_t replay_seed;"), (r"^  uint32_t perf_map;", "  uint32_t map;")):
            broken, _ = self.after(grown, edit)
            self.assertEqual(len(broken), 1, broken)

    def test_the_last_field_is_removed(self):
        broken, _ = self.after((r"^  size_t error_count;\n", ""), (r"^  uint64_t queued_batches;\n", ""))
        self.assertIn("wasm_transform_metrics: size_t error_count", broken[0])

    def test_a_callback_in_a_struct_changes(self):
        self.breaks("wasm_waker: .* wake", (r"void \(\*wake\)\(void \*data\);", "void (*wake)(void *data, int why);"))

    def test_a_union_may_have_more_members_of_its_size(self):
        self.adds("wasm_value: uint64_t u64", end_of("wasm_value", "uint64_t u64;"))
        broken, _ = self.after(end_of("wasm_value", "uint64_t pair[2];"))
        self.assertIn("wasm_value: 8 bytes become 16", broken)

    # ---- Enums and handles ----
    def test_a_constant_gets_another_value(self):
        self.breaks("WASM_POLL_YIELDED changes from 2 to 4", (r"WASM_POLL_YIELDED = 2", "WASM_POLL_YIELDED = 4"))

    def test_a_constant_is_removed(self):
        self.breaks("WASM_POLL_YIELDED is removed", (r"^  WASM_POLL_YIELDED = 2,", ""))

    def test_a_constant_is_added(self):
        self.adds("wasm_status: WASM_STATUS_FRESH = 89", end_of("wasm_status", "WASM_STATUS_FRESH = 89,"))

    def test_a_value_is_used_again(self):
        self.breaks("has the value of WASM_STATUS_PANIC", end_of("wasm_status", "WASM_STATUS_FRESH = 90,"))

    def test_an_enum_gets_more_bits(self):
        broken, _ = self.after(end_of("wasm_poll", "WASM_POLL_FRESH = 0x100000000,"))
        self.assertIn("wasm_poll: its numbers have 64 bits and had 32", broken[0])

    def test_a_type_is_removed_or_added(self):
        self.adds("type wasm_fresh", (r"^(typedef struct wasm_bytes wasm_bytes;)", r"\1\ntypedef struct wasm_fresh {int a;} wasm_fresh;"))
        other = abi.Abi(abi.corpus(HEADER.replace("wasm_work", "wasm_task_work")))
        broken, added = abi.compare(self.today, other)
        self.assertIn("type wasm_work is removed", broken)
        self.assertIn("type wasm_task_work", added)


class Baseline(unittest.TestCase):
    """Of a scratch directory."""

    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.place = Path(scratch.name)
        self.header = self.place / "wasm_engine.h"
        self.header.write_text(HEADER)
        self.baselines = self.place / "abi"
        self.baselines.mkdir()
        self.assertEqual(self.renew(), [])

    def renew(self, force=False):
        return abi.renew(force, self.header, self.baselines)

    def check(self):
        return abi.check(LIBRARY, self.header, self.baselines)

    def test_what_is_promised_is_kept(self):
        self.assertEqual(self.check(), ([], []))
        self.header.write_text(edited(end_of("wasm_poll", "WASM_POLL_FRESH = 3,")))
        self.assertEqual(self.check(), ([], ["wasm_poll: WASM_POLL_FRESH = 3"]))
        self.assertEqual(self.renew(), [])
        self.assertEqual(self.check(), ([], []))
        # From now on it is promised.
        self.header.write_text(HEADER)
        self.assertEqual(self.check()[0], ["wasm_poll: WASM_POLL_FRESH is removed"])
        self.assertEqual(self.renew(), ["wasm_poll: WASM_POLL_FRESH is removed"])
        self.assertEqual(self.check()[0], ["wasm_poll: WASM_POLL_FRESH is removed"])

    def test_the_oldest_header_is_kept(self):
        first = abi.oldest(self.header, self.baselines)
        self.assertEqual(first.read_text(), HEADER)
        self.header.write_text(edited(end_of("wasm_poll", "WASM_POLL_FRESH = 3,"), (r"(VERSION_MINOR) \d+", r"\1 9")))
        self.renew()
        self.assertEqual(abi.oldest(self.header, self.baselines), first)
        self.renew(force=True)
        self.assertIn("FRESH", abi.oldest(self.header, self.baselines).read_text())
        self.assertFalse(first.exists())

    def test_a_new_major_number_wants_a_new_baseline(self):
        self.header.write_text(edited((r"^void wasm_bytes_release\(.*\);", ""), (r"(VERSION_MAJOR) \d+", r"\1 9")))
        self.assertIn("make abi-baseline", self.check()[0][0])
        self.assertIsNone(abi.oldest(self.header, self.baselines))
        self.assertEqual(self.renew(), [])
        # The library is of the old one.
        self.assertRegex(self.check()[0][0], r"soname is libwasm_engine.so.\d and the header's is libwasm_engine.so.9")

    def test_what_is_declared_must_be_exported(self):
        self.header.write_text(edited((r"^(void wasm_bytes_release\(.*)", r"\1\nvoid wasm_bytes_fresh(void);")))
        self.renew()
        self.assertEqual(self.check()[0], ["function wasm_bytes_fresh is not exported"])


def newer(text):
    """The header of a version that has appended a field to each sized struct."""
    structs = abi.Abi(abi.corpus(text)).structs
    return edited(*[end_of(name, "uint64_t appended;") for name in structs if structs[name].sized], text=text)


# What was not yet there in an earlier version: the header of 0.1.0 has fields that others were appended to.
LATER = {
    "wasm_error_info": ("guest_stderr", "refusal", "memory_size", "memory_wanted"),
    "wasm_runtime_config": ("replay_seed", "compile_limit_factor"),
    "wasm_runtime_metrics": ("factory_cache_hits", "factory_cache_joined", "factory_cache_misses", "factory_cache_collected"),
    "wasm_transform_metrics": ("skipped_records", "dead_lettered_records", "queued_batches"),
}


def older(text):
    """The header without them, and without what has been appended since then."""
    for struct, fields in LATER.items():
        pattern = rf"(typedef struct {struct} \{{[\s\S]*?)^  \w+ {fields[0]};[\s\S]*?^\}} {struct};"
        text = edited((pattern, rf"\1}} {struct};"), text=text)
    return text


class Programs(unittest.TestCase):
    """`abi/host.c`, compiled against another header than the library's."""

    def run_with(self, header, *flags):
        with tempfile.TemporaryDirectory() as scratch:
            Path(scratch, "wasm_engine.h").write_text(header)
            library = Path(scratch, f"libwasm_engine.so.{c_header.version(header)[0]}")
            library.symlink_to(LIBRARY.resolve())
            command = ["gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", *flags, f"-I{scratch}", str(ROOT / "abi/host.c"),
                       str(library), "-o", f"{scratch}/host"]  # fmt: skip
            subprocess.run(command, check=True)
            done = subprocess.run([f"{scratch}/host", str(GUESTS / "c_logger.wasm")], text=True, capture_output=True,
                                  env=os.environ | {"LD_LIBRARY_PATH": scratch})  # fmt: skip
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        return done.stdout

    def test_of_the_oldest_header(self):
        header = abi.oldest()
        self.assertIsNotNone(header, "make abi-baseline")
        self.assertIn("host: ok", self.run_with(header.read_text()))

    def test_of_a_header_with_shorter_structs(self):
        self.assertIn("host: ok", self.run_with(older(HEADER)))

    def test_of_this_header(self):
        self.assertIn("host: ok", self.run_with(HEADER))

    def test_of_a_newer_header(self):
        self.assertIn("host: ok, 3 refused", self.run_with(newer(HEADER), "-DNEWER"))


if __name__ == "__main__":
    unittest.main()
