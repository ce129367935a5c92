# SPDX-License-Identifier: Apache-2.0
"""Records go in and come out."""
from __future__ import annotations

import asyncio
import unittest

import wasm_engine as we
from support import Case, compiled, values


class Transform(Case):
    async def test_records(self) -> None:
        headers = [("h", b"1"), ("n", None), ("bad \udcff", b"")]
        sent = [
            we.Record(b"2 twice", b"key", headers, timestamp=7),
            we.Record(None, None, offset=5, timestamp=8),
            we.Record(b"", b"", [(f"h{i}", b"x") for i in range(40)], timestamp=9),
        ]
        async with we.Engine(await compiled("c_tee")) as engine:
            self.assertEqual(engine.state, we.EngineState.IDLE)
            self.assertGreater(engine.memory_size, 0)
            self.assertEqual(engine.progress, we.Progress(0, 0, None))
            got = await engine.transform(sent)
            self.assertEqual(engine.progress, we.Progress(1, 0, 7))
        twice = [we.OutputRecord("out", b"key", b"2 twice", tuple(headers), 0, 7, 0, ordinal) for ordinal in range(2)]
        self.assertEqual(got[:2], twice)
        self.assertEqual(got[2], we.OutputRecord("out", None, None, (), 5, 8, 1, 0))
        self.assertEqual((got[3].key, got[3].value, got[3].input_offset), (b"", b"", 6))
        self.assertEqual(got[3].headers, tuple(sent[2].headers))
        self.assertEqual(len(got), 4)

    async def test_batches_of_any_kind(self) -> None:
        async with we.Engine(await compiled("c_identity")) as engine:
            for compression in we.Compression:
                batch = we.make_batch([we.Record(b"v" * 100)] * 3, base_offset=40, compression=compression)
                for form in (batch, bytearray(batch), memoryview(batch)):
                    got = await engine.transform(form)
                    self.assertEqual([record.input_offset for record in got], [40, 41, 42])
            self.assertEqual(await engine.transform([]), [])
            self.assertEqual(values(await engine.transform((we.Record(b"%d" % i) for i in range(2)))), [b"0", b"1"])
            self.assertEqual(values(await engine.transform([we.Record(b"a"), we.Record(b"b")], first_record=1)), [b"b"])

    async def test_topics(self) -> None:
        factory = await compiled("c_route", output_topics=["first", "second"])
        async with we.Engine(factory) as engine:
            got = await engine.transform([we.Record(b"t:second\nx"), we.Record(b"y")])
        self.assertEqual([record.topic for record in got], ["second", "first"])

    async def test_several_engines_in_one_loop(self) -> None:
        factory = await compiled("wat_traps", we.Runtime(record_time_limit_ns=60_000_000_000))
        others = await compiled("c_tee")
        async with we.Engine(factory) as endless, we.Engine(others) as a, we.Engine(others) as b:
            spinning = asyncio.create_task(endless.transform([we.Record(b"l")]))

            async def use(engine: we.Engine, value: bytes) -> int:
                return sum([len(await engine.transform([we.Record(value)] * 10)) for _ in range(20)])

            self.assertEqual(await asyncio.gather(use(a, b"1"), use(b, b"3")), [200, 600])
            self.assertFalse(spinning.done())
            self.assertEqual(endless.state, we.EngineState.TRANSFORMING)
            endless.stop()
            with self.assertRaises(we.GuestError) as caught:
                await spinning
            self.assertEqual(caught.exception.status, we.Status.CANCELLED)

    async def test_a_sink_holds_the_guest_up(self) -> None:
        factory = await compiled("c_tee", we.Runtime(output_buffer_limit=65536))
        blocks: list[int] = []
        gate = asyncio.Event()

        async def slow(records: list[we.OutputRecord]) -> None:
            blocks.append(len(records))
            await gate.wait()

        async with we.Engine(factory) as engine:
            batch = [we.Record(b"1" + b"x" * 20_000)] * 30
            transform = asyncio.create_task(engine.transform_to(batch, slow))
            for _ in range(50):
                await asyncio.sleep(0)
            self.assertEqual(len(blocks), 1)
            gate.set()
            await transform
        self.assertGreater(len(blocks), 5)
        self.assertEqual(sum(blocks), 30)

    async def test_an_exception_of_a_sink(self) -> None:
        def at_once(records: list[we.OutputRecord]) -> None:
            raise ValueError("at once")

        async def later(records: list[we.OutputRecord]) -> None:
            await asyncio.sleep(0)
            raise ValueError("later")

        async with we.Engine(await compiled("c_identity")) as engine:
            for sink in (at_once, later):
                with self.assertRaisesRegex(ValueError, sink.__name__.replace("_", " ")):
                    await engine.transform_to([we.Record(b"x")], sink)
                self.assertEqual(engine.state, we.EngineState.STOPPED)
                await engine.start()
                self.assertEqual(values(await engine.transform([we.Record(b"y")])), [b"y"])

    async def test_hot_swap(self) -> None:
        async with we.Engine(await compiled("c_identity")) as engine:
            await engine.replace(await compiled("c_tee", output_topics=["new"]))
            got = await engine.transform([we.Record(b"2")])
            self.assertEqual([(record.topic, record.value) for record in got], [("new", b"2"), ("new", b"2")])

    async def test_log_and_environment(self) -> None:
        lines: list[we.LogLine] = []
        runtime = we.Runtime(log=lines.append)
        async with we.Engine(await compiled("c_logger", runtime, name="logs")) as engine:
            await engine.transform([we.Record(b"hello")])
        self.assertEqual([(line.severity, line.text) for line in lines],
                         [(we.Severity.WARN, "logger saw 0"), (we.Severity.INFO, "record 0: hello")])
        self.assertTrue(all(line.transform == "logs" and line.from_guest for line in lines))

        env = {"FILTER_FIELD": "a", "FILTER_VALUE": "ü"}
        async with we.Engine(await compiled("cpp_filter", env=env)) as engine:
            sent = ['{"a":"ü"}'.encode(), b'{"a":"x"}']
            self.assertEqual(values(await engine.transform(map(we.Record, sent))), sent[:1])

    async def test_a_log_that_fails_does_not_end_the_guest(self) -> None:
        def fail(line: we.LogLine) -> None:
            raise ValueError(line.text)

        contexts: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: contexts.append(context["exception"]))
        async with we.Engine(await compiled("c_logger", we.Runtime(log=fail))) as engine:
            self.assertEqual(values(await engine.transform([we.Record(b"x")])), [b"x"])
        self.assertEqual([str(error) for error in contexts], ["logger saw 0", "record 0: x"])

    async def test_what_a_runtime_tells(self) -> None:
        runtime = we.Runtime()
        async with we.Engine(await compiled("c_tee", runtime, name="told")) as engine:
            await engine.transform([we.Record(b"3")])
            self.assertIn('wasm_output_records_total{transform="told",shard="0"} 3', runtime.metrics_text())
            self.assertEqual(self.engines(runtime), 1)
        self.assertEqual(self.engines(runtime), 0)


if __name__ == "__main__":
    unittest.main()
