#!/bin/sh
# Cargo calls this in place of rustc: .cargo/config.toml says so. Neither can be said in Cargo.toml:
#
# - Paths of the machine that builds are replaced. They would be in messages of panics and in debug information.
#   /usr/src/wasm-engine stands for the checkout and /usr/src/cargo for the directory that has the crates.
# - The debug information of libwasm_engine.so moves into libwasm_engine.so.debug, beside the library.
#
#   scripts/rustc.sh RUSTC ARGUMENT...
#
# WASM_ENGINE_SYMBOLS=1 leaves symbols and debug information in the library, for profilers. OBJCOPY is the program that
# moves them.
set -eu
# Cargo also asks for the version.
[ -n "${CARGO_MANIFEST_DIR:-}" ] || exec "$@"

root=${0%/scripts/*}
out='' name='' library='' links='' previous=''
for argument in "$@"; do
  case $previous in
    --out-dir) out=$argument ;;
    --crate-name) name=$argument ;;
    --crate-type) [ "$argument" != cdylib ] || library=yes ;;
  esac
  case $argument in
    # Not `cargo check` and clippy: the library that may be there is of an earlier build.
    --emit=*link*) links=yes ;;
  esac
  previous=$argument
done

# The last that fits is taken.
set -- "$@" "--remap-path-prefix=${RUSTUP_HOME:-$HOME/.rustup}=/usr/src/rust" \
  "--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/usr/src/cargo"
case $CARGO_MANIFEST_DIR in
  "$root" | "$root"/*) ;;
  # Whether it comes from the registry, from git or from a vendor's directory.
  *) set -- "$@" "--remap-path-prefix=${CARGO_MANIFEST_DIR%/*}=/usr/src/cargo" ;;
esac
set -- "$@" "--remap-path-prefix=$root=/usr/src/wasm-engine"
[ -z "${OUT_DIR:-}" ] || set -- "$@" "--remap-path-prefix=$OUT_DIR=/usr/src/generated/$CARGO_PKG_NAME"

if [ "$name$library$links" != wasm_engineyesyes ] || [ -n "${WASM_ENGINE_SYMBOLS:-}" ]; then
  exec "$@"
fi
"$@"
linked=$out/libwasm_engine.so
debug=${out%/deps}/libwasm_engine.so.debug
objcopy=${OBJCOPY:-objcopy}
"$objcopy" --only-keep-debug --compress-debug-sections "$linked" "$debug"
# A file of its own: programs may have the one of the last build, by another link.
"$objcopy" --strip-all "--add-gnu-debuglink=$debug" "$linked" "$linked.stripped"
mv -f "$linked.stripped" "$linked"
chmod -x "$debug"
