#!/usr/bin/env bash
# Builds the library by a profile of how it is used (profile-guided optimization): `make library-pgo` runs it.
#
#   scripts/pgo.sh BENCH GUESTS OUT
#
# BENCH has bench-engine and bench-input, GUESTS the guests, and OUT gets libwasm_engine.so. Only this library's own
# code is compiled that way, with Wasmtime's generic code in it. $CARGO_TARGET_DIR/release has the plain library again
# afterwards.
set -euo pipefail

bench=$1 guests=$2 out=$3
release=${CARGO_TARGET_DIR:-target}/release
work=$(mktemp -d)
# Whatever happens, what lies in the target directory afterwards is the plain library.
trap 'rm -rf "$work"; cargo build --release --locked' EXIT

# The profile's format is that of rustc's LLVM.
llvm=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
profdata=$(command -v "llvm-profdata-$llvm" || echo "/usr/lib/llvm-$llvm/bin/llvm-profdata")
[ -x "$profdata" ] || { echo "pgo.sh: error: no llvm-profdata of LLVM $llvm, which rustc has: install llvm-$llvm" >&2; exit 1; }

# build FLAG... compiles the library only.
build() { cargo rustc --release --locked --lib --crate-type cdylib -- "$@"; }

build -Cprofile-generate="$work/raw"
mkdir -p "$out" "$work/lib" && cp "$release/libwasm_engine.so" "$work/lib/"
for shape in "1 64" "10 1024" "1000 64" "1000 1024" "100 16384"; do
  # shellcheck disable=SC2086 # two words
  "$bench/bench-input" $shape "$work/input"
  for guest in identity:c_identity identity:rust_identity filter:bench_transform_filter route:rust_bench_route; do
    LD_LIBRARY_PATH=$work/lib "$bench/bench-engine" --work "${guest%%:*}" --input "$work/input" --seconds 0.3 \
      --guest "$guests/${guest##*:}.wasm" >"$work/line" || { cat "$work/line"; exit 1; }
  done
done
"$profdata" merge -o "$work/profile" "$work/raw"
build -Cprofile-use="$work/profile"
cp "$release/libwasm_engine.so" "$out/"
echo "pgo.sh: $out/libwasm_engine.so"
