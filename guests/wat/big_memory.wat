;; Starts with 128 MiB of memory, more than an engine's default limit.
(module $big_memory
  (import "redpanda_transform" "check_abi_version_1" (func))
  (memory (export "memory") 2048)
  (func $start (export "_start")))
