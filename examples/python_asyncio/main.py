#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A host in Python: main.py GUEST.wasm [PORT]

A server on the loopback interface. Each line of a client becomes a record, and each record that the guest writes is a
line for the client.

    connections     each has an engine of its own; all run in one event loop
    back-pressure   `sink` is awaited: a client that does not read holds up its own guest only
    limits          a record may take 100 ms of processor time, and a transform ten seconds in all
    failures        a guest that fails is reported to its client and started again
    hot swap        SIGHUP reads and compiles the file again, and each engine gets the new guest
    stopping        SIGINT and SIGTERM
"""
from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from wasm_engine import Engine, Factory, LogLine, OutputRecord, Record, Runtime, WasmError


def log(line: LogLine) -> None:
    print(f"{line.transform}: {line.text}", file=sys.stderr)


class Host:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._runtime = Runtime(log=log, record_time_limit_ns=100_000_000)
        self._factory: Factory | None = None
        self._engines: set[Engine] = set()
        self._clients: set[asyncio.Task[None]] = set()

    async def compile(self) -> Factory:
        module = self._path.read_bytes()
        self._factory = await self._runtime.compile(module, name="example", input_topic="in", output_topics=["out"])
        return self._factory

    async def swap(self) -> None:
        try:
            factory = await self.compile()
            for engine in list(self._engines):
                await engine.replace(factory)
            print("hot swap has ended", flush=True)
        except WasmError as e:
            print(f"the guests stay as they are: {e}", flush=True)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client."""

        async def sink(records: list[OutputRecord]) -> None:
            writer.writelines((record.value or b"") + b"\n" for record in records)
            await writer.drain()

        assert self._factory is not None
        try:
            async with Engine(self._factory) as engine:
                self._engines.add(engine)
                try:
                    while line := await reader.readline():
                        try:
                            batch = [Record(line.rstrip(b"\n"))]
                            await asyncio.wait_for(engine.transform_to(batch, sink), timeout=10)
                        except (WasmError, asyncio.TimeoutError) as e:
                            print(f"{e or 'it took more than ten seconds'}", file=sys.stderr)
                            name = e.status.name if isinstance(e, WasmError) else "TIMEOUT"
                            writer.write(f"! {name}\n".encode())
                            await engine.start()
                finally:
                    self._engines.discard(engine)
        except (WasmError, ConnectionError) as e:
            print(f"a client has gone: {e}", file=sys.stderr)
        finally:
            writer.close()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = asyncio.create_task(self.serve(reader, writer))
        self._clients.add(client)
        client.add_done_callback(self._clients.discard)

    async def run(self, port: int) -> None:
        loop = asyncio.get_running_loop()
        stopping = asyncio.Event()
        swaps: set[asyncio.Task[None]] = set()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopping.set)
        loop.add_signal_handler(signal.SIGHUP, lambda: swaps.add(loop.create_task(self.swap())))
        await self.compile()
        server = await asyncio.start_server(self.accept, "127.0.0.1", port)
        print(f"port {server.sockets[0].getsockname()[1]}", flush=True)
        await stopping.wait()
        server.close()
        for task in self._clients | swaps:
            task.cancel()  # Stops their engines, whatever these are doing.
        await asyncio.gather(*self._clients, *swaps, return_exceptions=True)


def main() -> int:
    if len(sys.argv) < 2:
        print("usage: main.py GUEST.wasm [PORT]", file=sys.stderr)
        return 2
    try:
        asyncio.run(Host(Path(sys.argv[1])).run(int(sys.argv[2]) if len(sys.argv) > 2 else 0))
    except (OSError, WasmError) as e:
        print(e, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
