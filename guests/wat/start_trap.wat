;; Traps in _start, two calls deep: the backtrace is main, then start.
(module $start_trap
  (import "redpanda_transform" "check_abi_version_1" (func))
  (memory (export "memory") 1)
  (func $main unreachable)
  (func $start (export "_start") (call $main)))
