# SPDX-License-Identifier: Apache-2.0
"""Kafka's record batches, written from the description of the format: version 2, without compression."""

import struct

TRANSACTIONAL, CONTROL = 1 << 4, 1 << 5


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def varint(number):
    number = number << 1 ^ number >> 63
    out = b""
    while number & ~0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def field(content):
    return varint(-1) if content is None else varint(len(content)) + content


def record(delta, key, value):
    body = b"\0" + varint(0) + varint(delta) + field(key) + field(value) + varint(0)
    return varint(len(body)) + body


def batch(base_offset, records, attributes=0, producer=-1):
    """`records` are pairs of key and value."""
    content = struct.pack(
        ">hiqqqhii", attributes, len(records) - 1, 1000, 1000, producer, 0 if producer >= 0 else -1, -1, len(records)
    ) + b"".join(record(i, k, v) for i, (k, v) in enumerate(records))
    body = struct.pack(">iBI", 0, 2, crc32c(content)) + content
    return struct.pack(">qi", base_offset, len(body)) + body


def marker(base_offset, producer, commit):
    """The control batch that ends a transaction."""
    key = struct.pack(">hh", 0, 1 if commit else 0)
    return batch(base_offset, [(key, struct.pack(">hi", 0, 0))], TRANSACTIONAL | CONTROL, producer)
