;; Exports a memory with 64-bit addresses.
(module $memory64
  (import "redpanda_transform" "check_abi_version_1" (func))
  (memory (export "memory") i64 1)
  (func $start (export "_start")))
