#!/usr/bin/env bash
# Makes libwasm_engine.a, which a program can link beside its own zstd or another library in Rust: one object whose only
# global symbols are those that the shared library exports. Cargo's archive has the symbols of everything in it.
#
#   scripts/static-library.sh ARCHIVE LIBRARY OUT
#
# ARCHIVE is what Cargo makes of crates/static, LIBRARY the shared library. LD, AR, NM and OBJCOPY are the programs.
set -euo pipefail
archive=$1 library=$2 out=$3
root=$(cd "$(dirname "$0")/.." && pwd)
# Nothing to do?
[ "$out" -ot "$archive" ] || [ "$out" -ot "$library" ] || [ "$out" -ot "$0" ] || [ ! -e "$out" ] || exit 0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

"${NM:-nm}" -D --defined-only "$library" | awk '{print $3}' | sort >"$scratch/exported"
[ -s "$scratch/exported" ] || { echo "static-library.sh: error: $library exports nothing" >&2; exit 1; }
# The functions of build.rs, which the shared library is linked with, too.
wrapped=$(sed -n 's/.*for function in \[\(.*\)\] {/\1/p' "$root/build.rs" | tr -d '" ' | tr ',' '\n')
[ -n "$wrapped" ] || { echo "static-library.sh: error: build.rs does not say which functions are wrapped" >&2; exit 1; }

{
  sed 's/^/-u /' "$scratch/exported"
  sed 's/^/--wrap=/' <<<"$wrapped"
} >"$scratch/options"
# Few sections: there is one a function, and tools stumble over a hundred thousand.
cat >"$scratch/sections" <<'EOF'
SECTIONS {
  .text : { *(.text .text.*) }
  .rodata : { *(.rodata .rodata.*) }
  .data.rel.ro : { *(.data.rel.ro .data.rel.ro.*) }
  .data : { *(.data .data.*) }
  .bss : { *(.bss .bss.*) }
  .tdata : { *(.tdata .tdata.*) }
  .tbss : { *(.tbss .tbss.*) }
  .gcc_except_table : { *(.gcc_except_table .gcc_except_table.*) }
}
EOF
# A group that is the same in another object would be dropped by the linker, with its local symbols.
"${LD:-ld}" -r --force-group-allocation -T "$scratch/sections" -o "$scratch/wasm_engine.o" "@$scratch/options" "$archive"
# zstd calls these if the program has them. A program's own would be those of its own zstd.
for hook in compress_begin compress_end decompress_begin decompress_end; do
  echo "ZSTD_trace_$hook wasm_engine_ZSTD_trace_$hook"
done >"$scratch/renamed"
# Rust's own objects have bitcode in them. A linker with LLVM's plug-in would read it.
"${OBJCOPY:-objcopy}" --strip-debug --remove-section=.llvmbc --remove-section=.llvmcmd \
  --redefine-syms="$scratch/renamed" --keep-global-symbols="$scratch/exported" "$scratch/wasm_engine.o"
rm -f "$out"
"${AR:-ar}" rcsD "$out" "$scratch/wasm_engine.o"
