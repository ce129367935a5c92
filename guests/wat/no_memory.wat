;; Exports no memory.
(module $no_memory
  (import "redpanda_transform" "check_abi_version_1" (func))
  (func $start (export "_start")))
