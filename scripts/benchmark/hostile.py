"""Modules that are expensive to compile for their size. Each family makes one of any size."""

import random


def leb(number):
    out = bytearray()
    while True:
        low, number = number & 0x7F, number >> 7
        out.append(low | (0x80 if number else 0))
        if not number:
            return bytes(out)


def sleb(number):
    out = bytearray()
    while True:
        low, number = number & 0x7F, number >> 7
        if (number == 0 and not low & 0x40) or (number == -1 and low & 0x40):
            out.append(low)
            return bytes(out)
        out.append(low | 0x80)


def section(number, content):
    return bytes([number]) + leb(len(content)) + content


def text(string):
    return leb(len(string)) + string.encode()


def vector(items):
    return leb(len(items)) + b"".join(items)


I32, I64, F64 = b"\x7f", b"\x7e", b"\x7c"
END = b"\x0b"


def signature(params, results):
    return b"\x60" + vector(params) + vector(results)


# What a transform has: three imports and a start function.
TYPES = [signature([], []), signature([I32] * 10, [I32]), signature([I32] * 5, [I32]), signature([I32] * 2, [I32])]
IMPORTS = [
    text("redpanda_transform") + text(name) + b"\0" + leb(ty)
    for name, ty in (("check_abi_version_1", 0), ("read_batch_header", 1), ("read_next_record", 2), ("write_record", 3))
]
START = len(IMPORTS)
OWN_TYPE = len(TYPES)


def function(code, local_types=b"\0"):
    content = local_types + code
    return leb(len(content)) + content


def module(types=(), imports=(), functions=(), bodies=(), tables=None, globals_=None, exports=(), elements=None,
           data=None, customs=()):
    """`functions` are the types of functions with `bodies` behind the start function."""
    own = START + len(imports)
    out = b"\0asm\1\0\0\0" + section(1, vector(TYPES + list(types))) + section(2, vector(IMPORTS + list(imports)))
    out += section(3, vector([leb(0)] + [leb(ty) for ty in functions]))
    if tables:
        out += section(4, vector(tables))
    out += section(5, b"\1\0\1")
    if globals_:
        out += section(6, vector(globals_))
    out += section(7, vector([text("memory") + b"\2\0", text("_start") + b"\0" + leb(own), *exports]))
    if elements:
        out += section(9, vector(elements))
    out += section(10, vector([function(END), *bodies]))
    if data:
        out += section(11, vector(data))
    for name, content in customs:
        out += section(0, text(name) + content)
    return out


# An address that the compiler does not know.
COUNTER = [b"\x7f\1\x41\0\x0b", b"\x7e\1\x42\0\x0b"]
LOAD, LOAD64 = b"\x41\0\x28\2\0", b"\x41\0\x29\3\0"


def one(code, locals_=0, **rest):
    """A module with one function of i64 locals."""
    declared = b"\1" + leb(locals_) + I64 if locals_ else b"\0"
    return module(functions=[0], bodies=[function(code + END, declared)], globals_=COUNTER, tables=[b"\x70\0\1"], **rest)


def many(code, n, locals_=0, **rest):
    """A module with n of them."""
    declared = b"\1" + leb(locals_) + I64 if locals_ else b"\0"
    body = function(code + END, declared)
    return module(functions=[0] * n, bodies=[body] * n, globals_=COUNTER, tables=[b"\x70\0\1"], **rest)


def every(count, code):
    return b"".join(code(leb(i)) for i in range(count))


def set_all(k):
    return every(k, lambda i: LOAD64 + b"\x21" + i)


def use_all(k):
    return every(k, lambda i: b"\x20" + i + b"\x24\1")


def add_all(k):
    return every(k, lambda i: b"\x20" + i + b"\x42\1\x7c\x21" + i)


def changing(n, k):
    return b"".join(LOAD + b"\x04\x40\x42\1\x21" + leb(i % k) + b"\x0b" for i in range(n))


def wide(w):
    return {"types": [signature([], [I64] * w), signature([I64] * w, []), signature([I64] * w, [I64] * w)]}


def wide_calls(n, w):
    base = START + 1
    code = (b"\x10" + leb(base) + b"\x10" + leb(base + 1)) * n + END
    return module(functions=[OWN_TYPE, OWN_TYPE + 1, 0], globals_=COUNTER, **wide(w),
                  bodies=[function(b"\x42\0" * w + END), function(END), function(code)])


def wide_blocks(n, w, kind, inside=b"", before=b""):
    block = before + kind + sleb(OWN_TYPE + 2) + inside + b"\x0b"
    return one(b"\x42\0" * w + block * n + b"\x1a" * w, **wide(w))


def branch_table(depth, w, n=1):
    targets = b"".join(leb(i) for i in range(depth - 1))
    once = LOAD + b"\x04\x40" + b"\x42\0" * w + LOAD + b"\x0e" + leb(depth - 1) + targets + leb(depth - 1) + b"\x0b"
    if w == 0:
        return one(b"\x02\x40" * depth + once * n + b"\x0b" * depth)
    # All labels take w values.
    once = b"\x42\0" * w + LOAD + b"\x0e" + leb(depth - 1) + targets + leb(0)
    return one((b"\x02" + sleb(OWN_TYPE)) * depth + once + b"\x0b" * depth + b"\x1a" * w, **wide(w))


def block_merges(n, k):
    """One block that is left n times, each time with another local changed."""
    leave = b"".join(b"\x42\1\x21" + leb(i % k) + LOAD + b"\x0d\0" for i in range(n))
    return one(set_all(k) + b"\x02\x40" + leave + b"\x0b" + use_all(k), k)


def nested(n, k, back=b"\x20\0\xa7\x0d\0"):
    return one(b"\x03\x40" * n + add_all(k) + (back + b"\x0b") * n, k)


def ref(index):
    return b"\xd2" + leb(index) + b"\x0b"


LOOP = b"\x03\x40" + LOAD + b"\x0d\0\x0b"

FAMILIES = {
    "empty loops": lambda n: one(b"\x03\x40\x0b" * n),
    "loops": lambda n: one(LOOP * n),
    "nested loops": lambda n: one(b"\x03\x40" * n + b"\x0b" * n),
    "nested loops, 300 locals": lambda n: nested(n, 300),
    "nested loops, 30 locals": lambda n: nested(n, 30),
    "nested loops, 1 local": lambda n: nested(n, 1),
    "100 nested, n locals": lambda n: nested(100, min(n, 49_000)),
    "30 nested, n locals": lambda n: nested(30, min(n, 49_000)),
    "loops past 1000 locals": lambda n: one(set_all(1000) + LOOP * n + use_all(1000), 1000),
    "loops past 30 locals": lambda n: one(set_all(30) + LOOP * n + use_all(30), 30),
    "100 loops past n locals": lambda n: one(set_all(min(n, 49_000)) + LOOP * 100 + use_all(min(n, 49_000)), min(n, 49_000)),
    "loops, 10 locals change": lambda n: one((b"\x03\x40" + add_all(10) + LOAD + b"\x0d\0\x0b") * n, 10),
    "blocks": lambda n: one(b"\x02\x40\x0b" * n),
    "nested blocks": lambda n: one(b"\x02\x40" * n + b"\x0b" * n),
    "nested ifs": lambda n: one((LOAD + b"\x04\x40") * n + b"\x0b" * n),
    "ifs, 1000 locals change": lambda n: one(set_all(1000) + changing(n, 1000) + use_all(1000), 1000),
    "ifs, 100 locals change": lambda n: one(set_all(100) + changing(n, 100) + use_all(100), 100),
    "ifs, 10 locals change": lambda n: one(set_all(10) + changing(n, 10) + use_all(10), 10),
    "ifs, n locals change": lambda n: one(set_all(min(n, 49_000)) + changing(n, min(n, 49_000)) + use_all(min(n, 49_000)), min(n, 49_000)),
    "a block left, 10 locals": lambda n: block_merges(n, 10),
    "a block left, 300 locals": lambda n: block_merges(n, 300),
    "49,999 locals": lambda n: many(b"", n, 49_999),
    "100 locals": lambda n: many(b"", n, 100),
    "calls of 1000 values": lambda n: wide_calls(n, 1000),
    "calls of 10 values": lambda n: wide_calls(n, 10),
    "blocks of 1000 values": lambda n: wide_blocks(n, 1000, b"\x02"),
    "loops of 1000 values": lambda n: wide_blocks(n, 1000, b"\x03", LOAD + b"\x0d\0"),
    "ifs of 1000 values": lambda n: wide_blocks(n, 1000, b"\x04", before=LOAD),
    "loops of 10 values": lambda n: wide_blocks(n, 10, b"\x03", LOAD + b"\x0d\0"),
    "branch tables": lambda n: branch_table(300, 0, n),
    "a long branch table": lambda n: branch_table(n, 0),
    "table of 100 values": lambda n: branch_table(n, 100),
    "table of 1000 values": lambda n: branch_table(n, 1000),
    "functions": lambda n: many(b"", n),
    "functions in a table": lambda n: many(b"", n, elements=[b"\3\0" + vector([leb(START + 1 + i) for i in range(n)])]),
    "exported functions": lambda n: many(b"", n, exports=[text(f"e{i}") + b"\0" + leb(START + 1 + i) for i in range(n)]),
    "additions": lambda n: one(b"\x23\0" + b"\x23\0\x6a" * n + b"\x1a"),
    "a deep expression": lambda n: one(b"\x23\0" * n + b"\x6a" * (n - 1) + b"\x1a"),
    "loads": lambda n: one(b"\x41\0" + b"\x28\2\0" * n + b"\x1a"),
    "stores": lambda n: one(b"\x41\0\x23\0\x36\2\0" * n),
    "divisions": lambda n: one(b"\x23\0" + b"\x23\0\x6d" * n + b"\x1a"),
    "truncations": lambda n: one(b"\x44" + bytes(8) + b"\xb1\xb9" * n + b"\x1a"),
    "saturating truncations": lambda n: one(b"\x44" + bytes(8) + b"\xfc\x06\xb9" * n + b"\x1a"),
    "float min and max": lambda n: one(b"\x44" + bytes(8) + (b"\x44" + bytes(8) + b"\xa4") * n + b"\x1a"),
    "popcount": lambda n: one(b"\x42\1" + b"\x7b" * n + b"\x1a"),
    "selects": lambda n: one(b"\x23\0" + b"\x23\0\x23\0\x1b" * n + b"\x1a"),
    "large constants": lambda n: one((b"\x42" + sleb(0x7123456789ABCDEF) + b"\x24\1") * n),
    "SIMD constants": lambda n: one(b"".join(b"\xfd\x0c" + i.to_bytes(16, "little") for i in range(n)) + b"\xfd\x50" * (n - 1) + b"\x1a"),
    "SIMD shuffles": lambda n: one(b"\xfd\x0c" + bytes(16) + (b"\xfd\x0c" + bytes(16) + b"\xfd\x0d" + bytes(range(16))) * n + b"\x1a"),
    "SIMD products": lambda n: one(b"\xfd\x0c" + bytes(16) + (b"\xfd\x0c" + bytes(16) + b"\xfd\xd5\1") * n + b"\x1a"),
    "SIMD conversions": lambda n: one(b"\xfd\x0c" + bytes(16) + b"\xfd\xf9\1\xfd\xfb\1" * n + b"\x1a"),
    "SIMD loads": lambda n: one(b"\x41\0\xfd\0\4\0\x1a" * n),
    "SIMD shifts": lambda n: one(b"\xfd\x0c" + bytes(16) + b"\x23\0\xfd\x6b" * n + b"\x1a"),
    "memory.fill": lambda n: one(b"\x41\0\x41\0\x41\0\xfc\x0b\0" * n),
    "memory.copy": lambda n: one(b"\x41\0\x41\0\x41\0\xfc\x0a\0\0" * n),
    "memory.grow": lambda n: one(b"\x41\0\x40\0\x1a" * n),
    "table.get": lambda n: one(b"\x41\0\x25\0\x1a" * n),
    "table.set": lambda n: one(b"\x41\0\xd0\x70\x26\0" * n),
    "table.fill": lambda n: one(b"\x41\0\xd0\x70\x41\0\xfc\x11\0" * n),
    "call_indirect": lambda n: one(b"\x41\0\x11\0\0" * n),
    "call_indirect, 10 values": lambda n: one((b"\x41\0" * 10 + b"\x41\0\x11\1\0\x1a") * n),
    "ref.func, call_ref": lambda n: one((b"\xd2" + leb(START) + b"\x14\0") * n, elements=[b"\3\0\1" + leb(START)]),
    "calls": lambda n: one((b"\x10" + leb(START)) * n),
    "calls in ifs": lambda n: one((LOAD + b"\x04\x40\x10" + leb(START) + b"\x0b") * n),
    "tail calls": lambda n: one((LOAD + b"\x04\x40\x12" + leb(START) + b"\x0b") * n),
    "returns": lambda n: one((LOAD + b"\x04\x40\x0f\x0b") * n),
    "traps": lambda n: one((LOAD + b"\x04\x40\0\x0b") * n),
    "live over calls": lambda n: one(LOAD * n + (b"\x10" + leb(START)) * n + b"\x1a" * n),
    "live over ifs": lambda n: one(LOAD * n + (LOAD + b"\x04\x40\x0b") * n + b"\x6a" * (n - 1) + b"\x1a"),
    "live over loops": lambda n: one(LOAD * n + LOOP * n + b"\x6a" * (n - 1) + b"\x1a"),
    "small functions, loops": lambda n: many(LOOP * 100, n),
    "small functions, loads": lambda n: many(b"\x41\0" + b"\x28\2\0" * 100 + b"\x1a", n),
    "small functions, trunc": lambda n: many(b"\x44" + bytes(8) + b"\xb1\xb9" * 100 + b"\x1a", n),
    "small functions, tables": lambda n: many(b"\x41\0\x11\0\0" * 100, n),
    "functions of 1000 values": lambda n: module(
        types=wide(1000)["types"], functions=[OWN_TYPE + 2] * n, bodies=[function(every(1000, lambda i: b"\x20" + i) + END)] * n
    ),
    "globals": lambda n: module(globals_=[b"\x7f\1\x41\0\x0b"] * n),
    "a long constant": lambda n: module(globals_=[b"\x7f\1\x41\0" + b"\x41\0\x6a" * n + b"\x0b"]),
    "a long data offset": lambda n: module(data=[b"\0\x41\0" + b"\x41\0\x6a" * n + b"\x0b\0"]),
    "a long element offset": lambda n: one(b"", elements=[b"\0\x41\0" + b"\x41\0\x6a" * n + b"\x0b\0"]),
    "element expressions": lambda n: one(b"", elements=[b"\4\x41\0\x0b" + vector([ref(START + 1)] * n)]),
    "element segments": lambda n: one(b"", elements=[b"\0\x41\0\x0b\0"] * n),
    "elements": lambda n: one(b"", elements=[b"\0\x41\0\x0b" + vector([leb(START + 1)] * n)]),
    "data segments": lambda n: module(data=[b"\0\x41\0\x0b\0"] * n),
    "types": lambda n: module(types=[signature([], [])] * n),
    "types of 1000 values": lambda n: module(types=[signature([I64] * 1000, [I64] * 1000)] * n),
    "imports": lambda n: module(imports=[IMPORTS[1]] * n),
    "exports": lambda n: module(exports=[text(f"e{i}") + b"\0" + leb(START) for i in range(n)]),
    "custom sections": lambda n: module(customs=[("x", b"")] * n),
    "producers": lambda n: module(customs=[("producers", vector([text("language") + leb(n) + b"\0\0" * n]))]),
}

# Parts of the functions of mixtures. Each may be repeated.
PIECES = {
    "loop": LOOP,
    "loop10": b"\x03\x40" + add_all(10) + LOAD + b"\x0d\0\x0b",
    "open": b"\x03\x40",
    "close": LOAD + b"\x0d\0\x0b",
    "if": LOAD + b"\x04\x40\x42\1\x21\3\x0b",
    "ifelse": LOAD + b"\x04\x40\x42\1\x21\3\x05\x42\2\x21\4\x0b",
    "load": LOAD + b"\x1a",
    "store": b"\x41\0\x23\0\x36\2\0",
    "trunc": b"\x44" + bytes(8) + b"\xb1\x1a",
    "div": b"\x23\0\x23\0\x6d\x1a",
    "indirect": b"\x41\0\x11\0\0",
    "get": b"\x41\0\x25\0\x1a",
    "call": b"\x10" + leb(START),
    "fill": b"\x41\0\x41\0\x41\0\xfc\x0b\0",
    "grow": b"\x41\0\x40\0\x1a",
    "local": b"\x20\5\x42\1\x7c\x21\6",
    "swap": b"\x20\7\x20\x08\x21\7\x21\x08",
    "return": LOAD + b"\x04\x40\x0f\x0b",
}


def mixture():
    """Genes: pieces with how often each comes, the locals, and how many functions share the size."""
    names = random.sample(sorted(PIECES), random.randint(1, 5))
    return {
        "pieces": [(name, random.choice((1, 1, 2, 5, 20))) for name in names],
        "locals": random.choice((0, 10, 30, 100, 300, 1000)),
        "functions": random.choice((1, 1, 1, 10, 1000)),
    }


def vary(genes):
    other = mixture()
    new = dict(genes)
    key = random.choice(sorted(genes))
    new[key] = other[key]
    return new


def of_mixture(genes, size):
    code, opened = b"", 0
    for name, times in genes["pieces"]:
        if name == "open":
            opened += times
        code += PIECES[name] * (min(times, opened) if name == "close" else times)
        if name == "close":
            opened -= min(times, opened)
    code += PIECES["close"] * opened
    k = genes["locals"]
    count = genes["functions"]
    repeats = max(1, size // count)
    body = set_all(k) + code * repeats + use_all(k)
    return many(body, min(count, size), max(k, 16))
