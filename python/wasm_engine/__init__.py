# SPDX-License-Identifier: Apache-2.0
"""WebAssembly data transforms in asyncio programs.

    runtime = Runtime()
    factory = await runtime.compile(module, name="tee", input_topic="in", output_topics=["out"])
    async with Engine(factory) as engine:
        for record in await engine.transform([Record(b"2 twice")]):
            print(record.topic, record.value)

`Runtime` and `Factory` may be used on any thread. An `Engine` belongs to the thread that made it.
"""
from .engine import Engine, Progress
from .enums import Compression, EngineState, MemoryMode, OnError, Severity, Status, Trap, TrapMode
from .error import BatchError, GuestError, ModuleError, WasmError
from .native import version
from .record import OutputRecord, Record, make_batch
from .runtime import Factory, LogLine, Runtime

__version__ = version()

__all__ = [
    "BatchError",
    "Compression",
    "Engine",
    "EngineState",
    "Factory",
    "GuestError",
    "LogLine",
    "MemoryMode",
    "ModuleError",
    "OnError",
    "OutputRecord",
    "Progress",
    "Record",
    "Runtime",
    "Severity",
    "Status",
    "Trap",
    "TrapMode",
    "WasmError",
    "make_batch",
]
