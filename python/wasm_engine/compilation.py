# SPDX-License-Identifier: Apache-2.0
"""Compilations in progress: tasks of the library that an event loop of asyncio runs.

A thread of the library tells the loop when there is something to run, through Python. None of them may be on its way
through Python when the interpreter goes, which would end the process. A task guarantees that: when it has completed or
was aborted, its `schedule` has returned on every thread.
"""
from __future__ import annotations

import asyncio
import atexit
from typing import Any

from .enums import Status
from .error import call, exception, make
from .native import NULL, callback, ffi, lib, raise_interrupt, struct

_in_progress: set[Compilation] = set()


@callback("void(void *, wasm_task *)")
def _schedule(data: Any, task: Any) -> None:
    """On any thread."""
    compilation: Compilation = ffi.from_handle(data)
    compilation.schedule(task)


@callback("void(void *, wasm_status, wasm_error *, wasm_future *)")
def _complete(data: Any, status: int, error: Any, future: Any) -> None:
    compilation: Compilation = ffi.from_handle(data)
    compilation.complete(status, error, ffi.gc(future, _release_future))


def _release_future(future: Any) -> None:
    lib.wasm_future_release(future, NULL)


class Compilation:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[Any] = self._loop.create_future()
        self._scheduled: Any = NULL
        self._self = ffi.new_handle(self)
        future = ffi.gc(make("wasm_future", function, *arguments), _release_future)
        executor = struct("wasm_executor", data=self._self, schedule=_schedule)
        completion = struct("wasm_completion", data=self._self, complete=_complete)
        self._task = ffi.gc(
            make("wasm_task_handle", lib.wasm_future_spawn_abortable, future, executor, completion),
            lib.wasm_task_handle_release,
        )
        ffi.gc(future, None)  # It is the task's now.
        _in_progress.add(self)

    async def factory(self) -> Any:
        """The compiled `wasm_factory`."""
        try:
            return make("wasm_factory", lib.wasm_future_take_factory, await self._done)
        finally:
            self.abort()

    def schedule(self, task: Any) -> None:
        self._scheduled = task
        try:
            self._loop.call_soon_threadsafe(self._run)
        except RuntimeError:
            pass  # The loop is closed. The task waits to be aborted.

    def _run(self) -> None:
        task, self._scheduled = self._scheduled, NULL
        if task != NULL:
            call(lib.wasm_task_run, task)
            raise_interrupt()

    def complete(self, status: int, error: Any, future: Any) -> None:
        failure = None if status == Status.OK else exception(status, error)
        if self._done.done():
            return  # It was cancelled.
        if failure is None:
            self._done.set_result(future)
        else:
            self._done.set_exception(failure)

    def abort(self) -> None:
        """Does nothing if the task has completed."""
        lib.wasm_task_handle_abort(self._task, NULL)
        task, self._scheduled = self._scheduled, NULL
        lib.wasm_task_release(task, NULL)
        _in_progress.discard(self)


@atexit.register
def _end() -> None:
    for compilation in list(_in_progress):
        compilation.abort()
