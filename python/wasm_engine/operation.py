# SPDX-License-Identifier: Apache-2.0
"""Operations of an engine in progress: a task of asyncio polls and awaits them, on the engine's thread."""
from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from .enums import Status
from .error import call, make
from .native import NULL, callback, ffi, lib, raise_interrupt

#: What could be released neither on this thread nor on its own. The library still reads its batch.
_leaked: list[Operation] = []
#: Handles of the wakers that the library has.
_armed: set[Any] = set()


@callback("void(void *)")
def _wake(data: Any) -> None:
    """A waker was called, or dropped because the engine was stopped. The next poll tells which."""
    _armed.discard(data)
    woken: asyncio.Future[None] = ffi.from_handle(data)
    if not woken.done():
        woken.set_result(None)


class Operation:
    def __init__(self, function: Any, *arguments: Any, keep: Any = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._keep = keep
        self._handle = make("wasm_future", function, *arguments)

    async def complete(self, after_poll: Callable[[], Awaitable[None] | None]) -> None:
        """Polls to the end. `after_poll` may give what is to be awaited before the next poll."""
        state = ffi.new("wasm_poll *")
        woken, waker = None, NULL
        while True:
            try:
                call(lib.wasm_future_poll, self._handle, waker, state)
            finally:
                raise_interrupt()
                waiting = after_poll()
            if state[0] == lib.WASM_POLL_READY:
                return
            if state[0] == lib.WASM_POLL_PENDING and waiting is None and woken is None:
                woken, waker = self._arm()  # Most operations never wait. This one is polled again with a waker.
                continue
            if state[0] == lib.WASM_POLL_YIELDED:
                await asyncio.sleep(0)  # The guest's time slice has ended. Now other tasks have their turn.
            elif waiting is not None:
                await waiting
            elif woken is not None:
                await woken
            woken, waker = None, NULL

    def _arm(self) -> tuple[asyncio.Future[None], Any]:
        woken = self._loop.create_future()
        handle = ffi.new_handle(woken)
        _armed.add(handle)
        return woken, ffi.new("wasm_waker *", (handle, _wake, _wake))

    def release(self) -> None:
        """Cancels what is in progress."""
        handle, self._handle = self._handle, NULL
        if lib.wasm_future_release(handle, NULL) != Status.OK:
            # The garbage collector runs on any thread, but the future is its engine's.
            self._handle = handle
            try:
                self._loop.call_soon_threadsafe(self.release)
            except RuntimeError:
                _leaked.append(self)
