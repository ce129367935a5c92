# SPDX-License-Identifier: Apache-2.0
"""Engines: one running guest that gets batches."""
from __future__ import annotations

import asyncio
import warnings
from collections.abc import Awaitable, Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Union

from .enums import EngineState, OnError, Status
from .error import WasmError, call, make
from .native import NULL, callback, ffi, lib, struct
from .operation import Operation
from .record import OutputRecord, Record, make_batch, read_record
from .runtime import Factory

#: A Kafka record batch as it is on the wire, or records.
Batch = Union[bytes, bytearray, memoryview, Iterable[Record]]
Sink = Callable[[list[OutputRecord]], Union[Awaitable[object], None]]


class Progress(NamedTuple):
    """The first input record whose output the sink does not have whole."""

    #: The number of batches when all have completed.
    batch: int
    record: int
    #: The offset to go on from. None if it is not known.
    next_offset: int | None


class _Output:
    """The sink of a transform."""

    def __init__(self, sink: Sink, topics: Sequence[str]) -> None:
        self._sink = sink
        self._topics = topics
        self._waiting: tuple[Any, Awaitable[object]] | None = None
        self.failure: BaseException | None = None
        self._handle = ffi.new_handle(self)
        self.table = struct("wasm_output_sink", data=self._handle, records=_take)

    def take(self, records: Any, count: int, raw_call: Any) -> int:
        """An exception must not pass through the library: `transform_to` raises it."""
        try:
            awaitable = self._sink([read_record(records[i], self._topics) for i in range(count)])
            if awaitable is None:
                return int(lib.WASM_CALLBACK_RESULT_DONE)
            promise = make("wasm_promise", lib.wasm_call_promise, raw_call)
            self._waiting = (ffi.gc(promise, lib.wasm_promise_release), awaitable)
            return int(lib.WASM_CALLBACK_RESULT_PENDING)
        except BaseException as e:
            self.failure = e
            return int(lib.WASM_CALLBACK_RESULT_FAILED)

    def waiting(self) -> Awaitable[None] | None:
        return None if self._waiting is None else self._settle()

    async def _settle(self) -> None:
        assert self._waiting is not None
        (promise, awaitable), self._waiting = self._waiting, None
        await awaitable
        call(lib.wasm_promise_resolve, promise)


@callback("wasm_callback_result(void *, const wasm_output_record *, size_t, wasm_call *)")
def _take(data: Any, records: Any, count: int, raw_call: Any) -> int:
    output: _Output = ffi.from_handle(data)
    return output.take(records, count, raw_call)


class Engine:
    """One running guest. Belongs to the thread that makes it, which must be running an event loop.

        async with Engine(factory) as engine:
            records = await engine.transform(batch)

    One operation at a time. A transform that is cancelled or that fails leaves the engine stopped: `start` it again.
    Not so if it raises a `BatchError`.
    """

    def __init__(self, factory: Factory, *, on_error: OnError = OnError.FAIL) -> None:
        self._handle = NULL
        self._factory = factory
        self._loop = asyncio.get_running_loop()
        call(lib.wasm_thread_prepare, factory.runtime.handle, NULL)
        self._handle = make("wasm_engine", lib.wasm_engine_create, factory.handle, NULL)
        if on_error != OnError.FAIL:
            call(lib.wasm_engine_set_policy, self._handle, struct("wasm_engine_policy", on_error=on_error))

    async def start(self) -> None:
        """Starts the guest."""
        await self._complete(Operation(lib.wasm_engine_start, self._open()), lambda: None)

    async def transform(self, batch: Batch, *, first_record: int = 0) -> list[OutputRecord]:
        """Gives the guest a batch. Returns its output."""
        records: list[OutputRecord] = []
        await self.transform_to(batch, records.extend, first_record=first_record)
        return records

    async def transform_to(self, batch: Batch, sink: Sink, *, first_record: int = 0) -> None:
        """As `transform`. `sink` gets the output in blocks, also what came before a failure.

        If `sink` returns something awaitable, the guest waits for that. An exception ends the transform.
        """
        data = batch if isinstance(batch, (bytes, bytearray, memoryview)) else make_batch(batch)
        buffer = ffi.from_buffer("uint8_t[]", data)
        output = _Output(sink, self._factory.output_topics)
        args = struct("wasm_transform_args", batch={"data": buffer, "size": len(buffer)}, sink=output.table,
                      first_record=first_record)
        operation = Operation(lib.wasm_engine_transform, self._open(), args, keep=(buffer, output))
        try:
            await self._complete(operation, output.waiting)
        except WasmError as e:
            if output.failure is None:
                raise
            raise output.failure from e

    async def replace(self, factory: Factory) -> None:
        """Hot swap: replaces the guest by one of another factory. The old one takes batches in the meantime."""
        await self._complete(Operation(lib.wasm_engine_replace, self._open(), factory.handle), lambda: None)
        self._factory = factory

    def stop(self) -> None:
        """Stops the guest in any state. An operation in progress raises an error with the status `CANCELLED`."""
        lib.wasm_future_release(make("wasm_future", lib.wasm_engine_stop, self._open()), NULL)
        self._factory.runtime.deliver_log()

    def close(self) -> None:
        """Stops and frees the engine. A second call does nothing."""
        if self._handle != NULL:
            call(lib.wasm_engine_release, self._handle)
            self._handle = NULL
            self._factory.runtime.deliver_log()

    @property
    def state(self) -> EngineState:
        state = ffi.new("wasm_engine_state *")
        call(lib.wasm_engine_get_state, self._open(), state)
        return EngineState(state[0])

    @property
    def memory_size(self) -> int:
        """Bytes of linear memory that the guest has."""
        size = ffi.new("uint64_t *")
        call(lib.wasm_engine_get_memory_size, self._open(), size)
        return int(size[0])

    @property
    def progress(self) -> Progress:
        """How far the last transform has come: what a checkpoint needs."""
        progress = struct("wasm_engine_progress")
        call(lib.wasm_engine_get_progress, self._open(), progress)
        return Progress(progress.batch, progress.record, progress.next_offset if progress.has_offset else None)

    async def __aenter__(self) -> Engine:
        try:
            await self.start()
        except BaseException:
            self.close()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        if self._handle != NULL:
            warnings.warn(f"an engine of {self._factory.name!r} was not closed", ResourceWarning, source=self)
            _release(self._handle, self._loop)

    def _open(self) -> Any:
        if self._handle == NULL:
            raise WasmError(Status.INVALID_STATE, f"transform {self._factory.name!r}: the engine was closed")
        return self._handle

    async def _complete(self, operation: Operation, waiting: Callable[[], Awaitable[None] | None]) -> None:
        def after_poll() -> Awaitable[None] | None:
            self._factory.runtime.deliver_log()
            return waiting()

        try:
            await operation.complete(after_poll)
        finally:
            operation.release()


def _release(handle: Any, loop: asyncio.AbstractEventLoop) -> None:
    """Frees an engine from the garbage collector, which runs on any thread."""
    if lib.wasm_engine_release(handle, NULL) == Status.WRONG_THREAD:
        try:
            loop.call_soon_threadsafe(lib.wasm_engine_release, handle, NULL)
        except RuntimeError:
            pass  # The loop is closed. The guest's memory stays with its thread.
