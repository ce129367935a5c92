#!/usr/bin/env bash
# Each public header compiles alone, as the oldest language version that it promises and as newer ones. No comment, in
# the headers or elsewhere, is wider than rustfmt lets code be.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
include=$root/include
strict=(-Wall -Wextra -Werror -pedantic -fsyntax-only "-I$include")
alone() { # language standard header flags...
  printf '#include "%s"\n' "$3" | "$1" "-std=$2" "${strict[@]}" "${@:5}" -x "$4" - ||
    { echo "$3 does not compile as $2"; exit 1; }
}
for standard in c11 c17 c2x; do alone gcc "$standard" wasm_engine.h c -Wc++-compat; done
for standard in c++17 c++20 c++23; do alone g++ "$standard" wasm_engine.h c++; done
for standard in c99 c11 c17 c2x; do alone gcc "$standard" wasm_engine_dlopen.h c -Wc++-compat; done
for standard in c++17 c++20 c++23; do alone g++ "$standard" wasm_engine_dlopen.h c++; done
count=2
for header in "$include"/wasm_engine/*.hh "$include"/wasm_engine/host/*.hh; do
  name=${header#"$include"/}
  if [ "$name" = wasm_engine/seastar.hh ]; then
    # Needs Seastar's own flags; compiled with its tests, where Seastar is installed.
    continue
  fi
  alone g++ c++20 "$name" c++
  count=$((count + 1))
done

cd "$root"
export LC_ALL=C.UTF-8 # Width is that of characters.
width=$(sed -n 's/^max_width = //p' rustfmt.toml)
[ -n "$width" ] || { echo "rustfmt.toml has no max_width"; exit 1; }
sources=(--include=*.rs --include=*.h --include=*.hh --include=*.cc --include=*.c --include=*.py --include=*.sh)
wide=$(grep -rnE "${sources[@]}" "^.{$((width + 1))}" build.rs cbindgen.rs abi bench cpp_tests crates examples guests \
  include peers scripts src tools | grep -E '^[^:]+:[0-9]+:\s*(//|#)' || true)
[ -z "$wide" ] || { echo "comments wider than $width:"$'\n'"$wide"; exit 1; }
echo "headers that compile alone: $count; no comment is wider than $width"
