#!/usr/bin/env bash
# Shows the tool at work on real data: a Rust guest filters and masks, a Go guest re-keys and routes.
#
#   scripts/demo.sh TOOL GUESTS_DIR        (`make demo` builds both and calls this)
set -euo pipefail

die() { echo "demo: error: $*" >&2; exit 1; }
[ $# = 2 ] || { echo "usage: $0 TOOL GUESTS_DIR" >&2; exit 2; }
tool=$(realpath "$1")
guests=$(realpath "$2")
python=${WASM_ENGINE_VENV:-${XDG_CACHE_HOME:-$HOME/.cache}/wasm-engine/venv}/bin/python
[ -x "$tool" ] || die "no such program: $tool (run make demo)"
[ -x "$python" ] || die "no Python at $python: run scripts/setup.sh"
for guest in rust_redact go_rekey; do
  [ -r "$guests/$guest.wasm" ] || die "no $guest.wasm in $guests: run make guests"
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
# Short names, so that the command lines below are what is run.
ln -s "$tool" wasm-transform
ln -s "$guests/rust_redact.wasm" redact.wasm
ln -s "$guests/go_rekey.wasm" rekey.wasm
PATH=$work:$PATH

title() { printf '\n== %s\n\n' "$*"; }
# Shows a command line and runs it.
run() { printf '$ %s\n' "$*"; eval "$*"; }
# Cuts long lines, for reading.
cut_lines() { cut -c 1-180; }

title "The data: cars of the years 1970 to 1982, from PyPI's vega_datasets"
"$python" - <<'PYTHON'
# The package's own loader would want pandas, so only its file is used.
import importlib.util, json, pathlib, sys
from datetime import datetime, timezone

spec = importlib.util.find_spec("vega_datasets")
if spec is None:
    sys.exit("demo: error: vega_datasets is not installed: run scripts/setup.sh")
cars = json.loads((pathlib.Path(spec.origin).parent / "_data" / "cars.json").read_text())

# The same twice: plain JSON, and as `rpk topic consume --format json` prints a topic of four partitions.
with open("cars.ndjson", "w") as plain, open("cars-topic.ndjson", "w") as topic:
    for number, car in enumerate(cars):
        print(json.dumps(car), file=plain)
        year = datetime.fromisoformat(car["Year"]).replace(tzinfo=timezone.utc)
        record = {
            "topic": "cars-raw", "key": car["Name"], "value": json.dumps(car), "headers": [],
            "timestamp": int(year.timestamp() * 1000), "partition": number % 4, "offset": number // 4,
        }
        print(json.dumps(record), file=topic)
PYTHON
run "wc -l cars.ndjson"
run "head -n 2 cars.ndjson" | cut_lines

title "1. JSON lines through a guest in Rust: it drops cars without a known mileage and masks two fields"
run "wasm-transform run redact.wasm cars.ndjson --format json --key-field Name --threads 2 \\
    --env KEEP_FIELD=Miles_per_Gallon --env REDACT_FIELDS=Name,Year --output redacted.ndjson"
printf '\n'
run "wc -l redacted.ndjson"
run "head -n 2 redacted.ndjson" | cut_lines
if grep -qv '"Name":"\*\*\*"' redacted.ndjson; then die "a name got through"; fi

title "2. A topic's records through a guest in Go: the origin becomes the key, and strong cars get a topic of their own"
run "head -n 1 cars-topic.ndjson" | cut_lines
run "wasm-transform run rekey.wasm cars-topic.ndjson --format records --threads 2 --input-topic cars-raw \\
    --env REKEY_FIELD=Origin --env ROUTE_FIELD=Horsepower --env ROUTE_MIN=150 \\
    --output-topic cars --output-topic strong-cars --output-dir routed"
printf '\n'
run "wc -l routed/*"
run "head -n 2 routed/cars.ndjson" | cut_lines
run "head -n 2 routed/strong-cars.ndjson" | cut_lines

printf '\nThe guests are in guests/rust/redact and guests/go/rekey; more about the tool: wasm-transform run --help\n'
