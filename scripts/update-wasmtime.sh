#!/usr/bin/env bash
# Takes the newest patch release of Wasmtime's line that Cargo.toml names, then builds, tests and measures.
#
#   scripts/update-wasmtime.sh --check    says what is newest and changes nothing: 0 nothing is new, 3 something is
#   scripts/update-wasmtime.sh --lock     changes Cargo.lock, that of the peer and the page of advisories, and no more
#   scripts/update-wasmtime.sh            and then everything: an hour or two
#
# It needs the registry. If nothing is new it says so and ends. If a step fails the changes stay for a look at them:
# `git diff`, `git checkout .`. It commits nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

page=docs/advisories.md
peer=peers/wasmtime-c-api

say() { echo "update-wasmtime: $*"; }

# The version of a crate in a lock file.
locked() { sed -n "/^name = \"$1\"$/{n;s/^version = \"\(.*\)\"$/\1/p;q}" "$2"; }

# All crates of Wasmtime's repository in a lock file. They are released together and pin each other.
family() { sed -nE 's/^name = "((wasmtime|cranelift|pulley|winch)(-[a-z0-9-]+)?|wiggle(-[a-z]+)?)"$/\1/p' "$1" | sort -u; }

# The newest release of the line that this Rust can build. Outside of the workspace, where Cargo does not look at the
# lock.
newest() {
  local found
  found=$(cd / && cargo info --quiet "$1@$2" 2>/dev/null | sed -n 's/^version: \([^ ]*\).*/\1/p;/^version:/q')
  [[ -n "$found" ]] || { say "the registry says nothing of $1 $2" >&2; exit 1; }
  echo "$found"
}

# Whether $1 is a later version than $2.
later() { [[ "$1" != "$2" && "$(printf '%s\n' "$1" "$2" | sort -V | tail -n 1)" == "$1" ]]; }

update_lock() {
  mapfile -t names < <(family "$1/Cargo.lock")
  (cd "$1" && cargo update --quiet "${names[@]}")
  local odd
  odd=$(grep -A1 -E '^name = "(wasmtime|wiggle)' "$1/Cargo.lock" | sed -n 's/^version = "\(.*\)"$/\1/p' | sort -u)
  [[ "$odd" == "$new" ]] || { say "$1/Cargo.lock has Wasmtime's crates in" $odd "and not in $new only"; exit 1; }
}

# The library reads modules and debug information with the releases that Wasmtime itself uses.
check_shared() {
  local crate found
  for crate in wasmparser wasm-encoder gimli; do
    found=$(cargo tree --quiet --locked --edges normal --prefix none --format '{p}' -p wasm-engine \
      | sed -n "s/^\($crate v[^ ]*\).*/\1/p" | sort -u)
    [[ "$(wc -l <<<"$found")" == 1 ]] || { say "two releases of $crate: give Cargo.toml the one of Wasmtime:" $found; exit 1; }
  done
}

line=$(sed -nE 's/^wasmtime = \{ version = "([0-9]+)".*/\1/p' Cargo.toml)
old=$(locked wasmtime Cargo.lock)
new=$(newest wasmtime "$line")
if ! later "$new" "$old"; then
  say "wasmtime $old is the newest release of $line that the registry has"
  exit 0
fi
for crate in wasmtime-wasi wasmtime-c-api-impl; do
  [[ "$(newest "$crate" "$line")" == "$new" ]] || { say "the registry has wasmtime $new and not yet its $crate"; exit 1; }
done
say "wasmtime $new is there, the library has $old"
say "its notes: https://github.com/bytecodealliance/wasmtime/releases/tag/v$new"
[[ "${1:-}" != --check ]] || exit 3

update_lock .
update_lock "$peer"
update_lock fuzz
check_shared
# A test wants what is open to be what this version has.
sed -i "s/\*\*${old//./\\.}\*\*/**$new**/" "$page"
say "changed Cargo.lock, $peer/Cargo.lock, fuzz/Cargo.lock and $page"
[[ "${1:-}" != --lock ]] || exit 0

make library
make licences
make test
scripts/instructions.py build/cmake/bench/bench-instructions build/guests/c_identity.wasm
make bench-quick
say "done. Read what is open in $page, add a line to CHANGELOG.md, and commit with THIRD-PARTY.md and sbom.cdx.json"
