#!/usr/bin/env bash
# The library exports the functions that the header declares, and nothing else; and no name in the header, of whatever
# kind, is one of the other Wasm libraries' that a program may have beside it: those of wasm.h (wasm-c-api), of
# Wasmtime's own headers, and of WAMR's. Their headers come from packages, by Cargo.
#
#   scripts/check-symbols.sh LIBRARY
set -euo pipefail
library=$1
root=$(cd "$(dirname "$0")/.." && pwd)
include=$root/include
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

fail() { echo "$*" >&2; exit 1; }

# ---- What is exported is what is declared ----
exported=$(nm -D --defined-only "$library" | awk '{print $3}' | sort)
# Not `wasm_callback_result (*call)(…)`, which is a field.
declared=$(gcc -E -P -x c "$include/wasm_engine.h" | grep -oP '\bwasm_[a-z0-9_]+(?= *\([^*])' | sort -u)
diff <(echo "$declared") <(echo "$exported") >"$scratch/diff" ||
  fail "exported symbols and header differ (<: declared, >: exported):"$'\n'"$(cat "$scratch/diff")"

# ---- Other libraries' headers ----
# sources CRATE PACKAGE: where Cargo has the package's sources, as the lock file of peers/CRATE names them.
sources() {
  local manifest
  manifest=$(cargo metadata --locked --format-version 1 --manifest-path "$root/peers/$1/Cargo.toml" |
    grep -oE '"manifest_path":"[^"]*/'"$2"'-[0-9][^"/]*/Cargo.toml"' | cut -d'"' -f4)
  [ -f "$manifest" ] || fail "Cargo does not tell where $2 is"
  dirname "$manifest"
}
wasmtime=$(sources wasmtime-c-api wasmtime-c-api-impl)/include
wamr=$(sources wamr-headers wamr-sys)/wasm-micro-runtime/core/iwasm/include
# Wasmtime's build writes this header; here with all features.
mkdir "$scratch/wasmtime"
sed 's/^#cmakedefine/#define/' "$wasmtime/wasmtime/conf.h.in" >"$scratch/wasmtime/conf.h"
wasmtime_flags=("-I$wasmtime" "-I$scratch")
wamr_flags=("-I$wamr")
# What WAMR has called its log levels since the version that is in the package.
echo 'enum { WASM_LOG_LEVEL_FATAL, WASM_LOG_LEVEL_ERROR, WASM_LOG_LEVEL_WARNING, WASM_LOG_LEVEL_DEBUG,
             WASM_LOG_LEVEL_VERBOSE };' >"$scratch/wamr_log_levels.h"

# ---- No name is theirs ----
# names HEADER FLAGS...: all identifiers of this kind that a program sees, macros included.
names() {
  local header=$1
  shift
  printf '#include "%s"\n' "$header" | gcc -E -dD -P "$@" -x c - | sed -E 's/"([^"\\]|\\.)*"//g' |
    grep -oiE '\bwas[mi][a-z0-9]*_[a-z0-9_]+' | sort -u
}
names wasm_engine_dlopen.h "-I$include" -DWASM_LIBRARY=library >"$scratch/ours" # includes the other header
count=0
apart() { # header at_least flags...
  local header=$1 at_least=$2
  shift 2
  names "$header" "$@" >"$scratch/theirs"
  local theirs
  theirs=$(wc -l <"$scratch/theirs")
  # A header that was not really read has no names.
  [ "$theirs" -ge "$at_least" ] || fail "only $theirs names found in $header"
  local both
  both=$(comm -12 "$scratch/ours" "$scratch/theirs")
  [ -z "$both" ] || fail "names that $header owns: "$both
  count=$((count + theirs))
}
apart wasm.h 400 "${wasmtime_flags[@]}"
apart wasmtime.h 900 "${wasmtime_flags[@]}"
apart wasm_export.h 60 "${wamr_flags[@]}"
apart wasm_c_api.h 250 "${wamr_flags[@]}"
apart wamr_log_levels.h 5 "-I$scratch"

# ---- They can be included together ----
together() { # header flags...
  local header=$1
  shift
  local language standard first second
  for language in "gcc -x c -std=c11" "g++ -x c++ -std=c++20"; do
    for standard in "wasm_engine.h $header" "$header wasm_engine.h"; do
      read -r first second <<<"$standard"
      # shellcheck disable=SC2086
      printf '#include "%s"\n' "$first" "$second" | $language -fsyntax-only "-I$include" "$@" - ||
        fail "$first and then $second do not compile: $language"
    done
  done
}
together wasm.h "${wasmtime_flags[@]}"
together wasmtime.h "${wasmtime_flags[@]}"
together wasm_export.h "${wamr_flags[@]}"
together wasm_c_api.h "${wamr_flags[@]}"
together wamr_log_levels.h "-I$scratch"

echo "exported symbols: $(wc -l <<<"$exported"), all declared; names of other libraries, none of them ours: $count"
