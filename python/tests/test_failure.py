# SPDX-License-Identifier: Apache-2.0
"""What fails raises, with a status and a message."""
from __future__ import annotations

import asyncio
import faulthandler
import unittest

import wasm_engine as we
from support import Case, compiled, module, values


class Failure(Case):
    async def test_a_trap(self) -> None:
        runtime = we.Runtime(core_dumps=1)
        # Later than the runtime: its handler would be the first that sees a signal.
        faulthandler.enable()
        self.addCleanup(faulthandler.disable)
        taken: list[we.OutputRecord] = []
        async with we.Engine(await compiled("wat_traps", runtime, name="trapping")) as engine:
            for letter, trap in (
                (b"u", we.Trap.UNREACHABLE),
                (b"d", we.Trap.DIVISION_BY_ZERO),
                (b"o", we.Trap.MEMORY_OUT_OF_BOUNDS),
            ):
                taken.clear()
                batch = we.make_batch([we.Record(b"x"), we.Record(letter)], base_offset=10)
                with self.assertRaises(we.GuestError) as caught:
                    await engine.transform_to(batch, taken.extend)
                error = caught.exception
                self.assertEqual((error.status, error.trap), (we.Status.GUEST_TRAP, trap))
                self.assertEqual((error.record_index, error.record_offset, error.exit_code), (1, 11, None))
                self.assertIn('"trapping"', str(error))
                self.assertIn(error.message, str(error))
                self.assertTrue(error.frames)
                self.assertEqual(error.core_dump[:4], b"\0asm")
                self.assertEqual(values(taken), [b"x"])
                self.assertEqual(engine.state, we.EngineState.STOPPED)
                with self.assertRaises(we.WasmError) as caught_again:
                    await engine.transform(batch)
                self.assertEqual(caught_again.exception.status, we.Status.INVALID_STATE)
                await engine.start()

    async def test_a_time_limit(self) -> None:
        runtime = we.Runtime(record_time_limit_ns=20_000_000)
        async with we.Engine(await compiled("wat_traps", runtime)) as engine:
            with self.assertRaises(we.GuestError) as caught:
                await engine.transform([we.Record(b"l")])
            self.assertEqual(caught.exception.status, we.Status.GUEST_TIMEOUT)

    async def test_a_panic_and_an_exit(self) -> None:
        async with we.Engine(await compiled("rust_panic")) as engine:
            with self.assertRaises(we.GuestError) as caught:
                await engine.transform([we.Record(b"boom")])
            self.assertIn("boom, as the record asked", caught.exception.guest_stderr)
            await engine.start()
            with self.assertRaises(we.GuestError) as caught:
                await engine.transform([we.Record(b"exit3")])
            self.assertEqual((caught.exception.status, caught.exception.exit_code), (we.Status.GUEST_EXIT, 3))

    async def test_policies(self) -> None:
        factory = await compiled("wat_traps")
        batch = [we.Record(b"a"), we.Record(b"u"), we.Record(b"b")]
        async with we.Engine(factory, on_error=we.OnError.SKIP) as engine:
            self.assertEqual(values(await engine.transform(batch)), [b"a", b"b"])
        async with we.Engine(factory, on_error=we.OnError.DEAD_LETTER) as engine:
            got = await engine.transform(batch)
        self.assertEqual([record.topic for record in got], ["out", None, "out"])
        self.assertEqual(dict(got[1].headers)["wasm-error"], b"guest-trap")

    async def test_bad_modules(self) -> None:
        runtime = we.Runtime()
        for bytes_, status in (
            (b"", we.Status.MODULE_NOT_WASM),
            (b"(module)", we.Status.MODULE_TEXT_FORMAT),
            (module("wat_no_start"), we.Status.MODULE_NO_START),
            (module("wat_unknown_import"), we.Status.MODULE_UNKNOWN_IMPORT),
        ):
            with self.assertRaises(we.ModuleError) as caught:
                await runtime.compile(bytes_, name="bad", input_topic="in", output_topics=["out"])
            self.assertEqual(caught.exception.status, status)
            with self.assertRaises(we.ModuleError) as caught:
                runtime.validate(bytes_)
            self.assertEqual(caught.exception.status, status)
            self.assertTrue(runtime.inspect(bytes_)["refused"]["message"])
        runtime.validate(module("c_tee"))
        self.assertIsNone(runtime.inspect(module("c_tee"))["refused"])

    async def test_a_guest_that_does_not_start(self) -> None:
        runtime = we.Runtime()
        with self.assertRaises(we.GuestError) as caught:
            async with we.Engine(await compiled("wat_start_trap", runtime)):
                self.fail("it has started")
        self.assertEqual(caught.exception.status, we.Status.GUEST_TRAP)
        self.assertEqual(self.engines(runtime), 0)

    async def test_bad_batches(self) -> None:
        good = we.make_batch([we.Record(b"x")])
        async with we.Engine(await compiled("c_identity")) as engine:
            for batch, status in (
                (good[:-1], we.Status.BATCH_TRUNCATED),
                (good[:-1] + b"?", we.Status.BATCH_CRC),
                (b"", we.Status.BATCH_TRUNCATED),
            ):
                with self.assertRaises(we.BatchError) as caught:
                    await engine.transform(batch)
                self.assertEqual(caught.exception.status, status)
            # The guest has seen nothing.
            self.assertEqual(values(await engine.transform(good)), [b"x"])

    async def test_bad_arguments(self) -> None:
        with self.assertRaisesRegex(TypeError, "memory_limit"):
            we.Runtime(memory=1)
        with self.assertRaisesRegex(we.WasmError, "memory_limit"):
            we.Runtime(memory_limit=1)
        with self.assertRaises(we.WasmError) as caught:
            await we.Runtime().compile(module("c_tee"), name="", input_topic="in", output_topics=[])
        self.assertEqual(caught.exception.status, we.Status.INVALID_ARGUMENT)
        with self.assertRaises(TypeError):
            we.make_batch([we.Record("text")])  # type: ignore[arg-type]
        with self.assertRaises(we.WasmError):
            we.make_batch([we.Record(offset=5), we.Record(offset=5)])
        async with we.Engine(await compiled("c_identity")) as engine:
            with self.assertRaises(TypeError):
                await engine.transform("text")  # type: ignore[arg-type]
            with self.assertRaises(we.WasmError) as caught:
                await engine.transform([we.Record()], first_record=1)
            self.assertEqual(caught.exception.status, we.Status.INVALID_ARGUMENT)

    async def test_one_operation_at_a_time(self) -> None:
        async with we.Engine(await compiled("wat_traps")) as engine:
            first = asyncio.create_task(engine.transform([we.Record(b"l")]))
            await asyncio.sleep(0)
            with self.assertRaises(we.WasmError) as caught:
                await engine.transform([we.Record(b"x")])
            self.assertEqual(caught.exception.status, we.Status.INVALID_STATE)
            engine.stop()
            with self.assertRaises(we.GuestError):
                await first


if __name__ == "__main__":
    unittest.main()
