# SPDX-License-Identifier: Apache-2.0
"""Runtimes and factories: configuration, modules and compilation."""
from __future__ import annotations

import asyncio
import itertools
import json
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .compilation import Compilation
from .enums import Severity, TrapMode
from .error import call, make
from .native import NULL, Lent, callback, ffi, lib, struct, text

_numbers = itertools.count(1)
#: Lines that were not delivered yet, by the number of their runtime.
_lines: dict[int, deque[LogLine]] = {}


def _numbers_of(struct_name: str) -> set[str]:
    return {
        name
        for name, field in ffi.typeof(struct_name).fields
        if field.type.kind in ("primitive", "enum") and name != "size" and not name.endswith("_count")
    }


_SETTINGS = _numbers_of("wasm_runtime_config")
_LIMITS = _numbers_of("wasm_factory_config")


@dataclass(frozen=True)
class LogLine:
    """What a guest wrote to its standard output or error, or what the library says about it."""

    transform: str
    text: str
    severity: Severity
    from_guest: bool


@callback("void(void *, const wasm_log_line *)")
def _log(data: Any, line: Any) -> None:
    """On the guest's small stack: so the host's function is called later."""
    lines = _lines.get(int(ffi.cast("uintptr_t", data)))
    if lines is not None:
        from_guest = line.source == lib.WASM_LOG_SOURCE_GUEST
        lines.append(LogLine(text(line.transform), text(line.text), Severity(line.severity), from_guest))


class Runtime:
    """Configuration and compiler. Any thread.

    `log` gets the lines of guests, on their threads. Settings are those of `wasm_runtime_config` that are numbers, by
    their names. By default traps are found by checks in code and not by signals: Python's faulthandler, if it is
    enabled later, would take a guest's trap for a crash.
    """

    def __init__(self, *, log: Callable[[LogLine], object] | None = None, **settings: int) -> None:
        for name in settings.keys() - _SETTINGS:
            raise TypeError(f"a runtime has no setting {name!r}. It has: {', '.join(sorted(_SETTINGS))}")
        config = struct("wasm_runtime_config", **{"trap_mode": TrapMode.CHECKS, **settings})
        self._log = log
        self._lines: deque[LogLine] = deque()
        if log is not None:
            number = next(_numbers)
            _lines[number] = self._lines
            weakref.finalize(self, _lines.pop, number)
            config.log = {"data": ffi.cast("void *", number), "line": _log}
        self.handle = ffi.gc(make("wasm_runtime", lib.wasm_runtime_create, config), lib.wasm_runtime_release)

    async def compile(
        self,
        module: bytes,
        *,
        name: str,
        input_topic: str,
        output_topics: Sequence[str],
        env: Mapping[str, str] | None = None,
        allowed_imports: Sequence[tuple[str, str]] = (),
        **limits: int,
    ) -> Factory:
        """Compiles a transform on a thread of the runtime.

        `limits` are those of `wasm_factory_config` that are numbers, by their names, `wasi_rights` among them.
        `allowed_imports` are pairs of module and function.
        """
        for unknown in limits.keys() - _LIMITS:
            raise TypeError(f"a transform has no limit {unknown!r}. It has: {', '.join(sorted(_LIMITS))}")
        lent = Lent()
        imports = [{"module": lent.text(host), "function": lent.text(function)} for host, function in allowed_imports]
        variables = [{"name": lent.text(key), "value": lent.text(value)} for key, value in (env or {}).items()]
        config = struct(
            "wasm_factory_config",
            module=lent.slice(module),
            name=lent.text(name),
            input_topic=lent.text(input_topic),
            output_topics=lent.keep(ffi.new("wasm_slice[]", [lent.text(topic) for topic in output_topics])),
            output_topic_count=len(output_topics),
            env=lent.keep(ffi.new("wasm_env[]", variables)),
            env_count=len(variables),
            allowed_imports=lent.keep(ffi.new("wasm_allowed_import[]", imports)),
            allowed_import_count=len(imports),
            **limits,
        )
        compilation = Compilation(lib.wasm_factory_create, self.handle, config)
        return Factory(self, name, output_topics, await compilation.factory())

    def validate(self, module: bytes) -> None:
        """Raises a `ModuleError` if a module would be refused. Compiles nothing."""
        call(lib.wasm_runtime_validate, self.handle, Lent().slice(module))

    def inspect(self, module: bytes) -> dict[str, Any]:
        """Describes a module, also one that would be refused: see `wasm_runtime_inspect`."""
        described = json.loads(self._text(lib.wasm_runtime_inspect, Lent().slice(module)))
        return dict(described)

    def metrics_text(self) -> str:
        """All metrics in Prometheus's format."""
        return self._text(lib.wasm_runtime_metrics_text)

    def deliver_log(self) -> None:
        """Calls `log` with the lines that have come. Engines do that after each step."""
        while self._lines:
            try:
                line = self._lines.popleft()
            except IndexError:  # Another thread was faster.
                return
            try:
                self._log and self._log(line)
            except Exception as e:
                context = {"message": "the log of a wasm_engine.Runtime failed", "exception": e}
                asyncio.get_running_loop().call_exception_handler(context)

    def _text(self, function: Any, *arguments: Any) -> str:
        made = make("wasm_bytes", function, self.handle, *arguments)
        try:
            return text(lib.wasm_bytes_view(made))
        finally:
            lib.wasm_bytes_release(made)


class Factory:
    """A compiled transform. Made by `Runtime.compile`. Any thread."""

    def __init__(self, runtime: Runtime, name: str, output_topics: Sequence[str], handle: Any) -> None:
        self.runtime = runtime
        self.name = name
        self.output_topics = tuple(output_topics)
        self.handle = ffi.gc(handle, lib.wasm_factory_release)
