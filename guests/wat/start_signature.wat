;; Exports a _start that takes a parameter.
(module $start_signature
  (import "redpanda_transform" "check_abi_version_1" (func))
  (memory (export "memory") 1)
  (func $start (export "_start") (param i32)))
