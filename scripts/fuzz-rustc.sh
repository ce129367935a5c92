#!/bin/sh
# Cargo calls this in place of rustc while it builds fuzz targets: scripts/fuzz.sh says so. It adds the coverage that
# libFuzzer is guided by, to the crates that are fuzzed and not to others: Wasmtime would take several times as long to
# build and to run.
#
#   scripts/fuzz-rustc.sh RUSTC ARGUMENT...
#
# All of these options are stable. Only a sanitizer, which WASM_ENGINE_SANITIZER names, is an option of nightly
# compilers: a stable one takes it with RUSTC_BOOTSTRAP=1, and Rust ships the runtime of AddressSanitizer for both.
set -eu

# Build scripts and procedural macros are for the machine that builds. What is fuzzed is compiled for a target.
fuzzed='' previous=''
for argument in "$@"; do
  case $previous:$argument in
    *:--target | *:--target=*) fuzzed=${fuzzed}t ;;
  esac
  previous=$argument
done
[ -n "$fuzzed" ] || exec "$@"

case ${CARGO_PKG_NAME:-} in
  wasm-engine-* | cpp_demangle | flate2 | gimli | lz4_flex | miniz_oxide | rustc-demangle | serde_json | snap | \
    twox-hash | wasm-encoder | wasmparser)
    set -- "$@" -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
      -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
      -Cllvm-args=-sanitizer-coverage-trace-compares ;;
esac
[ -z "${WASM_ENGINE_SANITIZER:-}" ] || set -- "$@" "-Zsanitizer=$WASM_ENGINE_SANITIZER"
exec "$@" --cfg fuzzing
