#!/usr/bin/env bash
# Builds the library twice, in two folders with names of different lengths, and compares what ships: half an hour or
# more on two processors. `make reproducible` runs it.
#
#   scripts/reproducible.sh OUT [LIBRARY]
#
# With LIBRARY, which was built of the same sources, one build is spared.
set -euo pipefail
out=$1 given=${2:-}
root=$(cd "$(dirname "$0")/.." && pwd)

# built NAME: what is committed, and the files that are not yet.
built() {
  local folder=$out/$1
  rm -rf "$folder"
  mkdir -p "$folder"
  (cd "$root" && git ls-files -z --cached --others --exclude-standard | tar -c --null --ignore-failed-read -T -) |
    tar -x -C "$folder"
  (cd "$folder" && env -u CARGO_TARGET_DIR cargo build --release --locked)
}

if [ -n "$given" ]; then
  first=$(dirname "$given")
else
  built first
  first=$out/first/target/release
fi
built a-second-folder
second=$out/a-second-folder/target/release
status=0
for file in libwasm_engine.so libwasm_engine.so.debug; do
  cmp "$first/$file" "$second/$file" && echo "the same: $(sha256sum <"$second/$file" | cut -c1-64)  $file" || status=1
done
exit "$status"
