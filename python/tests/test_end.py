# SPDX-License-Identifier: Apache-2.0
"""Operations that are given up, handles that are dropped, other threads, and the end of the process."""
from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import sys
import textwrap
import time
import unittest
import warnings
import weakref

import wasm_engine as we
from support import Case, compiled, values


class Cancelled(Case):
    async def test_a_transform(self) -> None:
        async with we.Engine(await compiled("wat_traps")) as engine:
            for _ in range(3):
                with self.assertRaises(asyncio.TimeoutError):
                    await asyncio.wait_for(engine.transform([we.Record(b"l")]), 0.02)
                self.assertEqual(engine.state, we.EngineState.STOPPED)
                await engine.start()
            self.assertEqual(values(await engine.transform([we.Record(b"x")])), [b"x"])

    async def test_a_sink_that_is_awaited(self) -> None:
        ended: list[str] = []

        async def never(records: list[we.OutputRecord]) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("sink")

        async with we.Engine(await compiled("c_identity")) as engine:
            with self.assertRaises(asyncio.TimeoutError):
                await asyncio.wait_for(engine.transform_to([we.Record(b"x")], never), 0.02)
            self.assertEqual(ended, ["sink"])
            self.assertEqual(engine.state, we.EngineState.STOPPED)

    async def test_a_compilation(self) -> None:
        runtime = we.Runtime()
        # The one thread compiles the first. The others have not begun.
        tasks = [asyncio.create_task(compiled("cpp_soak", runtime)) for _ in range(4)]
        await asyncio.sleep(0)
        for task in tasks[1:]:
            task.cancel()
        self.assertEqual((await asyncio.wait(tasks[1:]))[1], set())
        self.assertTrue(all(task.cancelled() for task in tasks[1:]))
        await tasks[0]
        self.assertIn("wasm_compilations_total 1\n", runtime.metrics_text())

    async def test_the_loop_goes_on_while_a_module_is_compiled(self) -> None:
        task = asyncio.create_task(compiled("cpp_soak"))
        turns = 0
        while not task.done():
            await asyncio.sleep(0.001)
            turns += 1
        self.assertGreater(turns, 5)
        self.assertEqual((await task).name, "cpp_soak")

    async def test_an_engine_that_is_closed(self) -> None:
        engine = we.Engine(await compiled("wat_traps"))
        await engine.start()
        task = asyncio.create_task(engine.transform([we.Record(b"l")]))
        await asyncio.sleep(0.01)
        engine.close()
        engine.close()
        with self.assertRaises(we.GuestError) as caught:
            await task
        self.assertEqual(caught.exception.status, we.Status.CANCELLED)
        for use in (engine.stop, lambda: engine.state):
            with self.assertRaisesRegex(we.WasmError, "closed"):
                use()


class Dropped(Case):
    async def test_in_any_order(self) -> None:
        runtime = we.Runtime()
        factory = await compiled("c_identity", runtime)
        engine = we.Engine(factory)
        gone = weakref.ref(runtime), weakref.ref(factory)
        del runtime, factory
        gc.collect()
        await engine.start()
        self.assertEqual(values(await engine.transform([we.Record(b"x")])), [b"x"])
        engine.close()
        del engine
        gc.collect()
        self.assertEqual([reference() for reference in gone], [None, None])

    async def test_an_engine_without_close(self) -> None:
        runtime = we.Runtime()
        factory = await compiled("c_identity", runtime)
        engine = we.Engine(factory)
        await engine.start()
        with self.assertWarnsRegex(ResourceWarning, "c_identity.*not closed"):
            del engine
            gc.collect()
        self.assertEqual(self.engines(runtime), 0)

    async def test_an_engine_that_another_thread_drops(self) -> None:
        runtime = we.Runtime()
        engines = [we.Engine(await compiled("c_identity", runtime))]
        await engines[0].start()

        def drop() -> None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                engines.pop()
                gc.collect()

        await self.on_thread(drop)
        for _ in range(3):
            await asyncio.sleep(0)
        self.assertEqual(self.engines(runtime), 0)

    async def test_a_transform_that_another_thread_drops(self) -> None:
        async with we.Engine(await compiled("wat_traps")) as engine:
            transforms = [engine.transform([we.Record(b"l")])]
            self.assertIsNone(transforms[0].send(None))

            def drop() -> None:
                transforms.pop().close()

            await self.on_thread(drop)
            for _ in range(3):
                await asyncio.sleep(0)
            self.assertEqual(engine.state, we.EngineState.STOPPED)

    async def test_nothing_stays(self) -> None:
        runtime = we.Runtime(log=lambda line: None)
        factory = await compiled("c_logger", runtime)

        async def use() -> None:
            async with we.Engine(factory) as engine:
                await engine.transform([we.Record(b"x", headers=[("h", b"v")])] * 50)

        await use()
        gc.collect()
        before = len(gc.get_objects())
        for _ in range(20):
            await use()
        gc.collect()
        self.assertLess(len(gc.get_objects()) - before, 200)


class Threads(Case):
    async def test_an_engine_on_another_thread(self) -> None:
        async with we.Engine(await compiled("c_identity")) as engine:
            transform = lambda: asyncio.run(engine.transform([we.Record(b"x")]))  # noqa: E731
            uses = [transform, engine.stop, engine.close, lambda: engine.state]
            for use in uses:
                error = self.raised(use)
                self.assertIsInstance(error, we.WasmError)
                assert isinstance(error, we.WasmError)
                self.assertEqual(error.status, we.Status.WRONG_THREAD)
                self.assertIn("thread", error.message)
            self.assertEqual(values(await engine.transform([we.Record(b"x")])), [b"x"])

    async def test_an_engine_without_a_loop(self) -> None:
        factory = await compiled("c_identity")
        error = self.raised(lambda: we.Engine(factory))
        self.assertIsInstance(error, RuntimeError)
        self.assertIn("no running event loop", str(error))

    async def test_a_factory_on_other_threads(self) -> None:
        factory = await compiled("c_tee")

        async def use() -> None:
            async with we.Engine(factory) as engine:
                for _ in range(20):
                    self.assertEqual(len(await engine.transform([we.Record(b"2")] * 10)), 20)

        await asyncio.gather(*[self.on_thread(lambda: asyncio.run(use())) for _ in range(3)])


# A program's beginning.
PROGRAM = """
import asyncio, sys, threading
import wasm_engine as we
from support import compiled
"""


class Process(unittest.TestCase):
    def start(self, body: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", PROGRAM + textwrap.dedent(body)]
        # What runs in a shell's background ignores interrupts, and its children inherit that.
        restore = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=restore)

    def test_an_interrupt_while_a_guest_spins(self) -> None:
        program = self.start("""
            async def main():
                async with we.Engine(await compiled("wat_traps")) as engine:
                    print("ready", flush=True)
                    try:
                        await engine.transform([we.Record(b"l")])
                    finally:
                        print(engine.state.name, flush=True)
            try:
                asyncio.run(main())
            except KeyboardInterrupt:
                print("interrupted")
        """)
        assert program.stdout is not None
        self.assertEqual(program.stdout.readline(), "ready\n")
        time.sleep(0.05)
        program.send_signal(signal.SIGINT)
        out, err = program.communicate(timeout=60)
        self.assertEqual((out, err, program.returncode), ("STOPPED\ninterrupted\n", "", 0))

    def test_an_interrupt_in_a_sink(self) -> None:
        program = self.start("""
            def interrupted(records):
                raise KeyboardInterrupt("in the sink")
            async def main():
                async with we.Engine(await compiled("c_identity")) as engine:
                    await engine.transform_to([we.Record(b"x")], interrupted)
            try:
                asyncio.run(main())
            except KeyboardInterrupt as e:
                print(e)
        """)
        out, err = program.communicate(timeout=60)
        self.assertEqual((out, err, program.returncode), ("in the sink\n", "", 0))

    def test_an_interrupt_while_lines_are_logged(self) -> None:
        # Without asyncio.run an interrupt is raised wherever Python is, most likely in the callback of the log.
        program = self.start("""
            async def main():
                runtime = we.Runtime(log=lambda line: None, log_lines_per_second=0xffffffff)
                batch = we.make_batch([we.Record(b"x")] * 1000)
                async with we.Engine(await compiled("c_logger", runtime)) as engine:
                    print("ready", flush=True)
                    while True:
                        await engine.transform(batch)
            try:
                asyncio.new_event_loop().run_until_complete(main())
            except KeyboardInterrupt:
                print("interrupted")
        """)
        assert program.stdout is not None
        self.assertEqual(program.stdout.readline(), "ready\n")
        time.sleep(0.05)
        program.send_signal(signal.SIGINT)
        out, err = program.communicate(timeout=60)
        self.assertEqual((out, err, program.returncode), ("interrupted\n", "", 0))

    def test_the_end_while_a_module_is_compiled(self) -> None:
        # The loop is gone, but the task is not: its waker is called or dropped before the interpreter goes.
        for wait in (0, 0.001, 0.02):
            program = self.start(f"""
                loop = asyncio.new_event_loop()
                tasks = [loop.create_task(compiled("cpp_soak")) for _ in range(3)]
                loop.run_until_complete(asyncio.sleep({wait}))
                print("end")
            """)
            out, err = program.communicate(timeout=60)
            self.assertEqual((out, program.returncode), ("end\n", 0), err)

    def test_the_end_with_engines_and_threads(self) -> None:
        program = self.start("""
            def thread():
                async def run():
                    global other
                    other = we.Engine(await compiled("c_identity"))
                    await other.start()
                asyncio.run(run())
            async def main():
                global engine
                engine = we.Engine(await compiled("c_logger", we.Runtime(log=print)))
                await engine.start()
            worker = threading.Thread(target=thread)
            worker.start()
            worker.join()
            asyncio.run(main())
            print("end")
        """)
        out, err = program.communicate(timeout=60)
        self.assertEqual((out, err, program.returncode), ("end\n", "", 0))


if __name__ == "__main__":
    unittest.main()
