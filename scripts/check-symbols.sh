#!/usr/bin/env bash
# The library exports the functions that the header declares, and nothing else.
set -euo pipefail
library=$1
header=$(dirname "$0")/../include/wasm_engine.h
exported=$(nm -D --defined-only "$library" | awk '{print $3}' | sort)
declared=$(gcc -E -P -x c "$header" | grep -oE '\bwasm_[a-z0-9_]+ *\(' | tr -d ' (' | sort -u)
if ! diff <(echo "$declared") <(echo "$exported") >/tmp/symbols.$$; then
  echo "exported symbols and header differ (<: declared, >: exported):"
  cat /tmp/symbols.$$
  rm -f /tmp/symbols.$$
  exit 1
fi
rm -f /tmp/symbols.$$
# Names that wasm.h (wasm-c-api, which Wasmtime exports too) and WAMR own.
owned='^wasm_(engine_(new|new_with_config|new_with_args|delete)|runtime_(init|full_init|destroy|free|malloc|load|instantiate|get_version|get_memory|set_log_level))$'
if clash=$(grep -E "$owned" <<<"$exported"); then
  echo "exported names that other libraries own: $clash"
  exit 1
fi
echo "exported symbols: $(wc -l <<<"$exported"), all declared in the header"
