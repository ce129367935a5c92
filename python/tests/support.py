# SPDX-License-Identifier: Apache-2.0
"""What the tests share. $GUESTS is the directory of the example guests."""
from __future__ import annotations

import asyncio
import os
import threading
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

import wasm_engine as we

GUESTS = Path(os.environ["GUESTS"])


def module(name: str) -> bytes:
    return (GUESTS / f"{name}.wasm").read_bytes()


async def compiled(guest: str, runtime: we.Runtime | None = None, **description: Any) -> we.Factory:
    description = {"name": guest, "input_topic": "in", "output_topics": ["out"], **description}
    return await (runtime or we.Runtime()).compile(module(guest), **description)


def values(records: list[we.OutputRecord]) -> list[bytes | None]:
    return [record.value for record in records]


class Case(unittest.IsolatedAsyncioTestCase):
    """Counts what the runtime of a test has made and freed."""

    def engines(self, runtime: we.Runtime) -> int:
        text = runtime.metrics_text()
        return int(next(line for line in text.splitlines() if line.startswith("wasm_engines ")).split()[1])

    async def on_thread(self, function: Callable[[], object]) -> None:
        """Runs a function on another thread. The loop goes on."""
        await asyncio.get_running_loop().run_in_executor(None, function)

    def raised(self, function: Callable[[], object]) -> BaseException | None:
        """What a function raises on another thread."""
        errors: list[BaseException] = []

        def run() -> None:
            try:
                function()
            except BaseException as e:
                errors.append(e)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        return errors[0] if errors else None
