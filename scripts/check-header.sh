#!/usr/bin/env bash
# Each public header compiles alone, as the oldest language version that it promises and as newer ones.
set -euo pipefail
include=$(cd "$(dirname "$0")/../include" && pwd)
strict=(-Wall -Wextra -Werror -pedantic -fsyntax-only "-I$include")
alone() { # language standard header
  printf '#include "%s"\n' "$3" | "$1" "-std=$2" "${strict[@]}" -x "$4" - || { echo "$3 does not compile as $2"; exit 1; }
}
for standard in c11 c17; do alone gcc "$standard" wasm_engine.h c; done
for standard in c++17 c++20; do alone g++ "$standard" wasm_engine.h c++; done
count=1
for header in "$include"/wasm_engine/*.hh "$include"/wasm_engine/host/*.hh; do
  name=${header#"$include"/}
  if [ "$name" = wasm_engine/seastar.hh ]; then
    # Needs Seastar's own flags; compiled with its tests, where Seastar is installed.
    continue
  fi
  alone g++ c++20 "$name" c++
  count=$((count + 1))
done
echo "headers that compile alone: $count"
