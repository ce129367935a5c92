#!/usr/bin/env bash
# An archive for those whose distribution has no package: libraries, headers, what CMake and pkg-config look for, debug
# information, licences and examples. It works wherever it is unpacked. `make tarball` runs it.
#
#   scripts/tarball.sh LIBRARY OUT
#
# COMPRESSION=1 to 9 is xz's level.
set -euo pipefail
library=$1 out=$2
root=$(cd "$(dirname "$0")/.." && pwd)
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -n 1)
name=wasm-engine-$version-linux-$(uname -m)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct 2>/dev/null || date +%s)}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

cmake -S "$root" -B "$scratch/build" -DWASM_ENGINE_LIBRARY="$library" -DWASM_ENGINE_STATIC=ON -DWASM_ENGINE_TOOL=OFF \
  -DCMAKE_INSTALL_LIBDIR=lib -DCMAKE_INSTALL_PREFIX=/usr/local >/dev/null
cmake --build "$scratch/build" >/dev/null
cmake --install "$scratch/build" --prefix "$scratch/$name" >/dev/null
cmake --install "$scratch/build" --prefix "$scratch/$name" --component debug >/dev/null
cp -r "$root/examples" "$scratch/$name/share/doc/wasm_engine/"
mkdir -p "$out"
# The same whenever and by whomever it is made.
tar -C "$scratch" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX \
  -c "$name" | xz "-${COMPRESSION:-3}" -T1 >"$out/$name.tar.xz"
echo "$out/$name.tar.xz"
