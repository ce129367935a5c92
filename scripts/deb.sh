#!/usr/bin/env bash
# Makes Debian's packages of a library that is built, with its static library beside it: `make deb`.
#
#   scripts/deb.sh LIBRARY OUT                 packages in OUT
#   scripts/deb.sh LIBRARY OUT --new-symbols   also writes the exports that are new into packaging/debian
#
# TOOL=OFF leaves wasm-transform out, which saves minutes. DAEMON=ON makes wasm-transformd, too, which takes minutes and
# what `scripts/setup.sh daemon` installs. DEBFULLNAME and DEBEMAIL are the maintainer, DEB_REVISION is the revision of
# the package. COMPRESSION=1 to 9 is xz's level: with 1 packages take a quarter of the time and are a tenth larger.
set -euo pipefail
library=$1 out=$2 new_symbols=${3:-}
root=$(cd "$(dirname "$0")/.." && pwd)
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -n 1)
# Packages of the same commit are the same.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH SOURCE=$root LIBRARY=$library COMPRESSION=${COMPRESSION:-6}
[ "${TOOL:-ON}" = ON ] || export DEB_BUILD_PROFILES="${DEB_BUILD_PROFILES:-} pkg.wasm-engine.notool"
[ "${DAEMON:-OFF}" != ON ] || export DEB_BUILD_PROFILES="${DEB_BUILD_PROFILES:-} pkg.wasm-engine.daemon"
maintainer="${DEBFULLNAME:-wasm-engine maintainers} <${DEBEMAIL:-maintainers@wasm-engine.invalid}>"

build=$out/wasm-engine-$version
rm -rf "$out"
mkdir -p "$build"
cp -r "$root/packaging/debian" "$build/"
sed -i "s|@MAINTAINER@|$maintainer|" "$build/debian/control"
cat >"$build/debian/changelog" <<EOF
wasm-engine ($version-${DEB_REVISION:-1}) unstable; urgency=medium

  * Built from the sources of version $version.

 -- $maintainer  $(date -u -R -d "@$SOURCE_DATE_EPOCH")
EOF
symbols=debian/libwasm-engine0.symbols
if [ -n "$new_symbols" ]; then
  {
    cat "$build/$symbols" 2>/dev/null || printf '%s\n' "libwasm_engine.so.0 libwasm-engine0 #MINVER#" \
      "* Build-Depends-Package: libwasm-engine-dev"
    nm -D --defined-only "$library" | awk '{print $3}' | while read -r name; do
      grep -qs "^ $name@" "$build/$symbols" || echo " $name@Base $version"
    done
  } >"$out/symbols"
  { head -n 2 "$out/symbols"; tail -n +3 "$out/symbols" | LC_ALL=C sort; } >"$root/packaging/$symbols"
  cp "$root/packaging/$symbols" "$build/$symbols"
fi

cd "$build"
dpkg-buildpackage --jobs=auto --build=binary --no-sign >"$out/build.log" 2>&1 || {
  tail -n 40 "$out/build.log" >&2
  ! grep -q "some new symbols appeared" "$out/build.log" || echo "deb.sh: make deb-symbols writes down what is new" >&2
  exit 1
}
ls "$out"/*.deb
