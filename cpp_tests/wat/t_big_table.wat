;; Starts with a table of two million elements, more than an engine's default limit.
(module $big_table
  (import "redpanda_transform" "check_abi_version_1" (func))
  (memory (export "memory") 1)
  (table 2000000 funcref)
  (func $start (export "_start")))
