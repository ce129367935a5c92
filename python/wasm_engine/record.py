# SPDX-License-Identifier: Apache-2.0
"""Records before and after a transform, and batches of them."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from .enums import Compression
from .error import call, make
from .native import NULL, Lent, ffi, lib, struct, view

NO_RECORD = 0xFFFFFFFF
Header = tuple[str, Optional[bytes]]


@dataclass(frozen=True)
class Record:
    """A record for a guest. None is Kafka's null."""

    value: bytes | None = None
    key: bytes | None = None
    headers: Sequence[Header] = ()
    #: Milliseconds since 1970.
    timestamp: int = 0
    #: Default: the next one.
    offset: int | None = None


@dataclass(frozen=True)
class OutputRecord:
    """A record that a guest wrote."""

    #: None for a dead letter.
    topic: str | None
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...]
    #: Offset and timestamp of the record that the guest was working on.
    input_offset: int
    timestamp: int
    #: Index of that record in its batch. None for what was written before the first one.
    input_index: int | None
    #: 0, 1, 2 … among the records that were written for that one.
    ordinal: int


def make_batch(
    records: Iterable[Record], *, base_offset: int = 0, compression: Compression = Compression.NONE
) -> bytes:
    """Packs records into a Kafka record batch."""
    config = struct("wasm_batch_config", base_offset=base_offset, compression=compression)
    builder = make("wasm_batch_builder", lib.wasm_batch_builder_create, config)
    try:
        for record in records:
            if not isinstance(record, Record):
                raise TypeError(f"a batch has records, but this is a {type(record).__name__}")
            lent = Lent()
            payload = ffi.new("wasm_payload *", {"key": _field(lent, record.key), "value": _field(lent, record.value)})
            if record.headers:
                payload.headers = lent.keep(ffi.new("wasm_header[]", [
                    # A key of a header that was read need not be UTF-8.
                    {"key": _field(lent, key.encode(errors="surrogateescape")), "value": _field(lent, value)}
                    for key, value in record.headers
                ]))
                payload.header_count = len(record.headers)
            offset = -1 if record.offset is None else record.offset
            call(lib.wasm_batch_builder_add, builder, offset, record.timestamp, payload)
        batch = ffi.new("wasm_slice *")
        call(lib.wasm_batch_builder_finish, builder, batch)
        return view(batch)
    finally:
        lib.wasm_batch_builder_release(builder)


def read_record(raw: Any, topics: Sequence[str]) -> OutputRecord:
    """A copy of a `wasm_output_record`."""
    payload = ffi.new("wasm_payload *")
    headers, capacity = NULL, 0
    while True:
        call(lib.wasm_payload_read, {"data": raw.payload, "size": raw.payload_size}, payload, headers, capacity)
        if payload.header_count <= capacity:
            break
        capacity = payload.header_count
        headers = ffi.new("wasm_header[]", capacity)
    return OutputRecord(
        topics[raw.topic] if raw.topic < len(topics) else None,
        _bytes(payload.key),
        _bytes(payload.value),
        tuple(_header(headers[i]) for i in range(capacity)),
        raw.input_offset,
        raw.input_timestamp,
        None if raw.input_index == NO_RECORD else raw.input_index,
        raw.ordinal,
    )


def _header(raw: Any) -> Header:
    return view(raw.key).decode(errors="surrogateescape"), _bytes(raw.value)


def _field(lent: Lent, data: bytes | None) -> dict[str, Any]:
    return {"data": NULL, "size": -1} if data is None else lent.slice(data)


def _bytes(field: Any) -> bytes | None:
    return None if field.size < 0 else view(field)
