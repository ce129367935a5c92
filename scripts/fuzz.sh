#!/usr/bin/env bash
# Fuzz targets: docs/reliability.md.
#
#   scripts/fuzz.sh list
#   scripts/fuzz.sh build TARGET...      compiles them
#   scripts/fuzz.sh run TARGET SECONDS   fuzzes one; ends with an error at a finding, whose input is in artifacts/
#   scripts/fuzz.sh smoke SECONDS        fuzzes each that needs no Wasmtime, and prints a table of executions
#   scripts/fuzz.sh try TARGET FILE...   runs inputs once
#   scripts/fuzz.sh seeds GUESTS         makes inputs to begin with, and of the guests in that directory
#   scripts/fuzz.sh minimize TARGET      few small inputs of all corpora become the corpus in git
#   scripts/fuzz.sh total                executions of all runs so far, by target
#
# One process at the lowest priority, however many processors there are. What is found goes into $WASM_ENGINE_FUZZ
# (default: build/fuzz): corpora, inputs of findings, logs and the number of executions of each run. ARGUMENTS are for
# libFuzzer. WASM_ENGINE_SANITIZER=address compiles with AddressSanitizer, into a directory of its own.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
out=${WASM_ENGINE_FUZZ:-$root/build/fuzz}
sanitizer=${WASM_ENGINE_SANITIZER:-}
triple=x86_64-unknown-linux-gnu
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}/fuzz${sanitizer:+-$sanitizer}
binaries=$CARGO_TARGET_DIR/$triple/release

# Bytes of the longest input. 256 KiB of a batch end within a step of its check.
declare -A longest=([abi]=600 [artifact]=4096 [batch]=8192 [demangle]=1024 [guest]=2048 [lines]=16384 [payload]=4096
  [rewrite]=65536 [schema]=4096 [validate]=65536)
fast=(artifact batch demangle lines payload schema validate)

say() { echo "fuzz: $*"; }
die() { say "error: $*" >&2; exit 1; }

known() { [ -n "${longest[$1]:-}" ] || die "there is no target $1: ${!longest[*]}"; }

build() {
  local target bins=()
  for target in "$@"; do
    [ "$target" = seeds ] || known "$target"
    bins+=(--bin "$target")
    [[ " ${fast[*]} seeds " == *" $target "* ]] || bins+=(--features engine)
  done
  # A stable compiler has the options of coverage, but not those of sanitizers.
  (cd "$root/fuzz" && RUSTC_WRAPPER=$root/scripts/fuzz-rustc.sh ${sanitizer:+env RUSTC_BOOTSTRAP=1} \
    nice -n 19 cargo build --quiet --release --locked --target "$triple" "${bins[@]}")
}

# fuzz TARGET ARGUMENT... runs libFuzzer with the target's directories.
fuzz() {
  local target=$1
  shift
  mkdir -p "$out/corpus/$target" "$out/artifacts/$target" "$out/logs"
  # shellcheck disable=SC2086 # several
  nice -n 19 "$binaries/$target" -artifact_prefix="$out/artifacts/$target/" -max_len="${longest[$target]}" \
    -rss_limit_mb=2048 -timeout=20 ${ARGUMENTS:-} "$@"
}

# executions LOG prints how many there were, also if the run ended with a finding.
executions() {
  awk -F '[:#\t ]+' '/^stat::number_of_executed_units/ { n = $NF } /^#[0-9]/ { if (!s || $2 > s) s = $2 }
    END { print (n ? n : s + 0) }' "$1"
}

# run TARGET SECONDS prints a line with the number of executions.
run() {
  local target=$1 seconds=$2 log status=0
  local log=$out/logs/$target
  mkdir -p "$out/logs"
  fuzz "$target" -max_total_time="$seconds" -print_final_stats=1 -reload=0 "$out/corpus/$target" \
    "$root/fuzz/corpus/$target" >"$log" 2>&1 || status=$?
  local count
  count=$(executions "$log")
  echo "$target $seconds $count" >>"$out/executions"
  printf '%-10s %12d executions in %s s: %s\n' "$target" "$count" "$seconds" \
    "$([ "$status" = 0 ] && echo 'no finding' || echo "FINDING, see $log")"
  if [ "$status" != 0 ]; then
    grep -aE 'panicked|ERROR|SUMMARY|Test unit written|assertion' -A 2 "$log" | head -n 20
    return 1
  fi
}

# seeds GUESTS writes them into the corpora of the build, as long as they are short.
seeds() {
  local target guests=("$1"/*.wasm)
  build seeds
  for target in "${!longest[@]}"; do
    mkdir -p "$out/corpus/$target"
    "$binaries/seeds" "$target" "$out/corpus/$target" "${guests[@]}"
  done
}

# The 40 largest of a few hundred bytes each: they reach most.
minimize() {
  local target=$1 work
  work=$(mktemp -d)
  fuzz "$target" -set_cover_merge=1 -max_len="${SMALL:-400}" "$work" "$out/corpus/$target" "$root/fuzz/corpus/$target" 2>/dev/null
  rm -rf "$root/fuzz/corpus/$target"
  mkdir -p "$root/fuzz/corpus/$target"
  find "$work" -type f -printf '%s %p\n' | sort -rn | head -n 40 | cut -d ' ' -f 2 | xargs -r mv -t "$root/fuzz/corpus/$target"
  rm -rf "$work"
  say "$target: $(find "$root/fuzz/corpus/$target" -type f | wc -l) files with" \
    "$(cat "$root/fuzz/corpus/$target"/* | wc -c) bytes"
}

command=${1:-}
[ $# = 0 ] || shift
case $command in
  list) printf '%s\n' "${!longest[@]}" | sort ;;
  build) build "$@" ;;
  run)
    known "$1"
    build "$1"
    run "$@"
    ;;
  smoke)
    build "${fast[@]}"
    failed=0
    for target in "${fast[@]}"; do run "$target" "$1" || failed=1; done
    exit "$failed"
    ;;
  try)
    known "$1"
    build "$1"
    fuzz "$@"
    ;;
  seeds) seeds "$1" ;;
  minimize)
    known "$1"
    build "$1"
    minimize "$1"
    ;;
  total)
    awk '{ n[$1] += $3; s[$1] += $2; all += $3 }
      END { for (t in n) printf "%-10s %14d executions in %d s\n", t, n[t], s[t]; printf "%-10s %14d\n", "all", all }' \
      "$out/executions" | sort
    ;;
  *) sed -n '2,/^set /s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
