;; Returns from _start at once, without asking for a batch.
(module $returns
  (import "redpanda_transform" "check_abi_version_1" (func))
  (memory (export "memory") 1)
  (func $start (export "_start")))
