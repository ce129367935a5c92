# SPDX-License-Identifier: Apache-2.0
"""What the library says when something fails, as exceptions."""
from __future__ import annotations

from typing import Any

from .enums import Status, Trap
from .native import NULL, ffi, lib, struct, text, view


class WasmError(Exception):
    """A failure. Its text is for somebody tired: what happened, to which transform, at which record, what to do."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.trap = Trap.NONE
        #: The record of the batch at which the guest failed, if it was working on one.
        self.record_index: int | None = None
        self.record_offset: int | None = None
        #: The guest's exit code if it ended by itself.
        self.exit_code: int | None = None
        #: What the guest wrote to standard error last at that record.
        self.guest_stderr = ""
        #: The guest's stack, innermost function first. An empty string is a function without a name.
        self.frames: list[str] = []
        #: The guest's memory and stack, if the runtime has `core_dumps=1`.
        self.core_dump = b""


class ModuleError(WasmError):
    """A module was refused."""


class GuestError(WasmError):
    """A guest failed or was stopped."""


class BatchError(WasmError):
    """A record batch was refused. Nothing has reached the guest."""


def _kind(status: int) -> type[WasmError]:
    for first, kind in ((90, WasmError), (70, BatchError), (50, GuestError), (20, ModuleError)):
        if status >= first:
            return kind
    return WasmError


def _frame(raw: Any, index: int) -> str:
    frame = ffi.new("wasm_frame *")
    return text(frame.function) if lib.wasm_error_frame(raw, index, frame) == Status.OK else ""


def exception(status: int, raw: Any) -> WasmError:
    """What a function has reported. Takes over `raw`."""
    error = _kind(status)(Status(status), ffi.string(lib.wasm_error_message(raw)).decode())
    info = struct("wasm_error_info")
    if lib.wasm_error_get_info(raw, info) == Status.OK:
        error.trap = Trap(info.trap)
        if info.has_record:
            error.record_index, error.record_offset = info.record_index, info.record_offset
        if info.has_exit_code:
            error.exit_code = info.exit_code
        error.guest_stderr = text(info.guest_stderr)
        error.frames = [_frame(raw, index) for index in range(info.frame_count)]
        error.core_dump = view(info.core_dump)
    lib.wasm_error_release(raw)
    return error


def call(function: Any, *arguments: Any) -> None:
    """Calls a function whose last parameter is for an error. Raises that error."""
    raw = ffi.new("wasm_error **", NULL)
    status = function(*arguments, raw)
    if status != Status.OK:
        raise exception(status, raw[0])


def make(kind: str, function: Any, *arguments: Any) -> Any:
    """As `call` for a function that gives a handle before the error."""
    out = ffi.new(f"{kind} **")
    call(function, *arguments, out)
    return out[0]
