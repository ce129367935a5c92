;; Traps in the start section, while the module is instantiated.
(module $start_section_trap
  (import "redpanda_transform" "check_abi_version_1" (func))
  (memory (export "memory") 1)
  (func $initialize unreachable)
  (start $initialize)
  (func $start (export "_start")))
