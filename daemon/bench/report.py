# SPDX-License-Identifier: Apache-2.0
"""Tables of the results of bench.py.

    report.py RESULTS.json PAGE    writes them between the page's <!-- bench-kafka --> and <!-- end -->"""

import json
import pathlib
import re
import sys

NAMES = {"daemon": "wasm-transformd", "copy": "librdkafka alone", "streams": "Kafka Streams"}


def ratio(contenders, name, of):
    return contenders["daemon"][of] / contenders[name][of] if name in contenders else None


def spread(row, of):
    """By how much the runs differ, as a part of their median."""
    values = [run[of] for run in row["runs"]]
    return (max(values) - min(values)) / row[of] if row[of] else 0


def throughput(results):
    yield "| records per second and core | wasm-transformd | librdkafka alone | Kafka Streams | of librdkafka's | times Streams' |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for row in results["throughput"]:
        all_of = row["contenders"]
        of = "records_per_core_second"
        figures = " | ".join(f"{all_of[name][of]:,.0f}" for name in NAMES)
        yield (f"| {row['size']} B, {row['guarantee']} | {figures} | {ratio(all_of, 'copy', of):.2f} "
               f"| {ratio(all_of, 'streams', of):.1f} |")
    yield ""
    yield "| records per second, with the broker on the same machine | wasm-transformd | librdkafka alone | Kafka Streams |"
    yield "| --- | ---: | ---: | ---: |"
    for row in results["throughput"]:
        cells = " | ".join(f"{row['contenders'][name]['records_per_second']:,.0f} "
                           f"({row['contenders'][name]['memory_mib']:.0f} MiB)" for name in NAMES)
        yield f"| {row['size']} B, {row['guarantee']} | {cells} |"


def latency(results):
    yield "| milliseconds from producer to reader, p50 / p99 | wasm-transformd | librdkafka alone | Kafka Streams |"
    yield "| --- | ---: | ---: | ---: |"
    for row in results["latency"]:
        cells = " | ".join(f"{row['contenders'][name]['p50_ms']:.0f} / {row['contenders'][name]['p99_ms']:.0f}" for name in NAMES)
        yield f"| {row['rate']:,} records a second, {row['guarantee']} | {cells} |"


def growth(results):
    yield "| exactly-once, 100 B | records per second | and core |"
    yield "| --- | ---: | ---: |"
    for kind in ("partitions", "transforms"):
        for row in results[kind]:
            figures = row["contenders"]["daemon"]
            yield (f"| {row[kind]} {kind if row[kind] > 1 else kind[:-1]} | {figures['records_per_second']:,.0f} "
                   f"| {figures['records_per_core_second']:,.0f} |")


def machine(results):
    about = results["machine"]
    spreads = [spread(found, "records_per_core_second") for row in results["throughput"] for found in row["contenders"].values()]
    noise = f" The runs of one cell were up to {max(spreads):.0%} apart." if spreads and about["rounds"] > 1 else ""
    yield (f"{about['date']}, {about['cores']} cores of {about['processor']}, the broker and the load on the same machine. "
           f"{about['threads']} threads each, commits every {about['interval_ms']} ms, guest `{about['guest']}`, medians of "
           f"{about['rounds']} turns. The load was {about['load_before']:.1f} before and {about['load_after']:.1f} after.{noise}")


def markdown(results):
    parts = [(part, make) for part, make in (("throughput", throughput), ("latency", latency), ("partitions", growth))
             if results[part]]
    blocks = [*(make(results) for _, make in parts), machine(results)]
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def main():
    results, page = (pathlib.Path(argument) for argument in sys.argv[1:])
    text = page.read_text()
    table = markdown(json.loads(results.read_text()))
    new, times = re.subn(r"(<!-- bench-kafka -->\n).*?(<!-- end -->)", lambda m: m.group(1) + table + m.group(2), text, flags=re.DOTALL)
    if times != 1:
        sys.exit(f"{page} has no <!-- bench-kafka --> with an <!-- end -->")
    page.write_text(new)


if __name__ == "__main__":
    main()
