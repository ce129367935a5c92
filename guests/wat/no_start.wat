;; Exports no _start.
(module $no_start
  (import "redpanda_transform" "check_abi_version_1" (func))
  (memory (export "memory") 1))
