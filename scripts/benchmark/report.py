"""What is said of the figures: tables, and what was to be reached."""


def ratio_of(results, cell, over, under):
    """How many times longer `over` takes than `under`, or None if one of them has no figure there."""
    work, records, size, threads = cell
    for row in results["cells"]:
        if (row["work"], row["records"], row["size"], row["threads"]) == (work, records, size, threads):
            ns = row["ns_per_record"]
            return ns[over] / ns[under] if over in ns and under in ns else None
    return None


def figure_of(results, cell, contender):
    for row in results["cells"]:
        if (row["work"], row["records"], row["size"], row["threads"]) == cell:
            return row["ns_per_record"].get(contender)
    return None


OURS = "engine, C"
POLLS = tuple(f"longest poll at p99.9, {what}," for what in ("loop", "fill", "memory.fill", "recursion"))


def targets(results):
    """Name, bound, whether the figure has to be at least or at most that, and the figure."""
    def identity(records, size, threads=1):
        return ("identity", records, size, threads)

    def speed_up(cell, peer):
        return ratio_of(results, cell, peer, OURS)

    def over(cell, peer):
        return ratio_of(results, cell, OURS, peer)

    def in_one_call(batches):
        rows = extras.get("many", [])
        return next((row["ns"] for row in rows if row["guest"] == "c_identity.wasm" and row["batches"] == batches), None)

    one = figure_of(results, identity(1, 64), OURS)
    extras = results["extras"]
    twos, bare = in_one_call(2), figure_of(results, identity(1, 64), "wasmer, C")
    doubled = next((row["times one"] for row in extras.get("two threads", []) if row["contender"] == OURS), None)
    rows = [
        ("1,000 x 64 B, times faster than Wasmtime's C API", ">=", 15, speed_up(identity(1000, 64), "wasmtime, C")),
        ("1,000 x 1 KiB, times faster than Wasmtime's C API", ">=", 5.4, speed_up(identity(1000, 1024), "wasmtime, C")),
        ("1,000 x 64 B, the Rust SDK's guest, times faster than there", ">=", 12,
         ratio_of(results, identity(1000, 64), "wasmtime, Rust", "engine, Rust")),
        ("1,000 x 64 B, times faster than Extism", ">=", 30, speed_up(identity(1000, 64), "extism, C")),
        ("1,000 x 1 KiB without the CRC, times the two copies", "<=", 1.7,
         ratio_of(results, identity(1000, 1024), "engine, C, no CRC", "memcpy")),
        ("1,000 x 1 KiB, times the two copies", "<=", 1.5, over(identity(1000, 1024), "memcpy")),
        ("1,000 x 16 KiB, times the two copies", "<=", 1.05, over(identity(1000, 16384), "memcpy")),
        ("a batch of one, ns", "<=", 250, one),
        ("batches of one, eight in a call, ns each", "<=", 100, in_one_call(8)),
        ("batches of one, two in a call, times Wasmer's bare call", "<=", 1, twos / bare if twos and bare else None),
        ("a batch of one, times a bare async Wasmtime call", "<=", 1.3, extras.get("batch_of_one_over_bare_call")),
        ("two threads, times one's records, processor time", ">=", 1.95, doubled),
    ]
    for row in extras.get("stall", []):
        rows.append((f"longest poll at p99.9, {row['guest']}, times the slice", "<=", 2,
                     row["cpu_p999_us"] / row["slice_us"]))
    return [{"what": what, "bound": f"{sign} {bound}", "measured": found,
             "reached": None if found is None else (found >= bound if sign == ">=" else found <= bound)}
            for what, sign, bound, found in rows]


def target_lines(rows):
    yield f"{'':<10}{'to reach':<62}{'bound':>9}{'measured':>11}"
    for row in rows:
        verdict = {None: "no figure", True: "reached", False: "NOT YET"}[row["reached"]]
        measured = "-" if row["measured"] is None else f"{row['measured']:.2f}"
        yield f"{verdict:<10}{row['what']:<62}{row['bound']:>9}{measured:>11}"


def size_name(size):
    return f"{size} B" if size < 1024 else f"{size // 1024} KiB"


def cell_name(row):
    threads = "" if row["threads"] == 1 else f", {row['threads']} threads"
    return f"{row['work']} {row['records']:,} x {size_name(row['size'])}{threads}"


def contender_names(results):
    names = []
    for row in results["cells"]:
        names += [n for n in [*row["ns_per_record"], *row["disqualified"]] if n not in names]
    return names


def field(row, name, base):
    if name in row["disqualified"]:
        return "DISQUAL."
    ns = row["ns_per_record"].get(name)
    if ns is None:
        return "-"
    return f"{ns / base:.2f}" if base else "-"


def ratio_lines(results):
    """How many times longer than this library each takes; then the nanoseconds themselves."""
    names = contender_names(results)
    width = max(len(n) for n in names) + 2
    for title, ours in (("times the time of this library with the same guest's language (above 1: this library is faster)", True),
                        ("nanoseconds per record", False)):
        yield title
        yield f"{'':<28}" + "".join(f"{n:>{width}}" for n in names)
        for row in results["cells"]:
            line = f"{cell_name(row):<28}"
            for name in names:
                base = row["ns_per_record"].get("engine, Rust" if name.endswith("Rust") else OURS) if ours else 1
                line += f"{field(row, name, base):>{width}}"
            yield line
        yield ""


def markdown(results):
    """Nanoseconds of the cells that say most, and what was to be reached."""
    yield from race_table(results)
    yield ""
    yield from target_table(results)


def race_table(results):
    names = [n for n in contender_names(results) if n != "engine, C, no CRC"]
    yield "| ns per record | " + " | ".join(names) + " |"
    yield "| --- |" + " ---: |" * len(names)
    for row in results["cells"]:
        if row["threads"] > 1 or row["records"] != 1000 and (row["records"], row["work"], row["size"]) != (1, "identity", 64):
            continue
        found = [field(row, name, 1) for name in names]
        yield f"| {cell_name(row)} | " + " | ".join(f if f in ("-", "DISQUAL.") else f"{float(f):,.0f}" for f in found) + " |"


def target_table(results):
    yield "| to reach | bound | measured | |"
    yield "| --- | ---: | ---: | --- |"
    for row in results["targets"]:
        # The page has a table of its own for these.
        if row["what"].startswith("longest poll") and not row["what"].startswith(POLLS):
            continue
        measured = "-" if row["measured"] is None else f"{row['measured']:.2f}"
        verdict = {None: "no figure", True: "reached", False: "not yet"}[row["reached"]]
        yield f"| {row['what']} | {row['bound']} | {measured} | {verdict} |"


def extra_lines(extras):
    """Every list of rows as a table."""
    for name, rows in extras.items():
        if not isinstance(rows, list):
            yield f"{name}: {rows:.2f}\n"
            continue
        if not rows:
            continue
        yield name
        columns = list(rows[0])
        cells = [[str(row.get(c, "")) for c in columns] for row in rows]
        widths = [max(len(c), *(len(r[i]) for r in cells)) for i, c in enumerate(columns)]
        yield "  " + "  ".join(f"{c:<{w}}" for c, w in zip(columns, widths))
        for row in cells:
            yield "  " + "  ".join(f"{c:<{w}}" for c, w in zip(row, widths))
        yield ""
