#!/usr/bin/env bash
# Other languages' tools read the header: cffi and Debian's bindgen, through which the library is then called, and SWIG.
#
#   scripts/check-bindings.sh LIBRARY
set -euo pipefail
library=$1
root=$(cd "$(dirname "$0")/.." && pwd)
header=$root/include/wasm_engine.h
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Debian's Python, for which Debian's cffi is.
/usr/bin/python3 "$root/scripts/bindings/bindings_test.py" "$header" "$library"

/usr/bin/bindgen "$header" -o "$scratch/wasm_engine.rs"
BINDINGS=$scratch rustc --edition 2021 --test -L "$(dirname "$library")" -l dylib=wasm_engine -o "$scratch/test" \
  "$root/scripts/bindings/bindings_test.rs"
LD_LIBRARY_PATH=$(dirname "$library") "$scratch/test" --quiet >"$scratch/log" || { cat "$scratch/log"; exit 1; }
tests=$(grep -oE '[0-9]+ passed' "$scratch/log")

for language in "" -c++; do
  printf '%%module wasm_engine\n%%include <stdint.i>\n%%include "%s"\n' "$header" >"$scratch/wasm_engine.i"
  # shellcheck disable=SC2086
  swig -python $language -Wall -Werror -o "$scratch/wrapper" "$scratch/wasm_engine.i"
done
echo "the header is read by cffi, bindgen (tests: $tests) and SWIG"
