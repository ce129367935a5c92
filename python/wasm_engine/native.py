# SPDX-License-Identifier: Apache-2.0
"""The library beside this file, and its header as cffi has read it when the wheel was built."""
from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from . import _header

ffi: Any = _header.ffi
lib: Any = ffi.dlopen(str(Path(__file__).with_name("libwasm_engine.so")))
NULL: Any = ffi.NULL


#: Ctrl-C may come while a callback runs, but must not pass through the library.
_interrupts: list[BaseException] = []


def _failed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if isinstance(error, Exception):
        sys.excepthook(kind, error, trace)
    else:
        _interrupts.append(error)


def callback(signature: str) -> Callable[[Callable[..., Any]], Any]:
    """A function of Python as the library calls it. An exception in it goes no further."""
    return cast(Callable[[Callable[..., Any]], Any], ffi.callback(signature, onerror=_failed))


def raise_interrupt() -> None:
    """After a call of the library that calls back: raises what came meanwhile."""
    if _interrupts:
        raise _interrupts.pop()


def version() -> str:
    return str(ffi.string(lib.wasm_library_version()).decode())


def struct(kind: str, /, **fields: Any) -> Any:
    """A pointer to a struct that begins with its size. Lives as long as the pointer, but what it points to does not."""
    return ffi.new(f"{kind} *", {"size": ffi.sizeof(kind), **fields})


class Lent:
    """Slices of bytes and text, which live as long as this object."""

    def __init__(self) -> None:
        self._alive: list[Any] = []

    def keep(self, what: Any) -> Any:
        self._alive.append(what)
        return what

    def slice(self, data: bytes) -> dict[str, Any]:
        """A `wasm_slice` of bytes."""
        buffer = self.keep(ffi.from_buffer("uint8_t[]", data))
        return {"data": buffer, "size": len(buffer)}

    def text(self, text: str) -> dict[str, Any]:
        """A `wasm_slice` of text."""
        return self.slice(text.encode())


def view(piece: Any) -> bytes:
    """A copy of a `wasm_slice`."""
    return bytes(ffi.buffer(piece.data, piece.size)) if piece.size > 0 else b""


def text(piece: Any) -> str:
    return view(piece).decode()
