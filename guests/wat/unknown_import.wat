;; Imports functions that no host offers, one of them from a known module.
(module $unknown_import
  (import "redpanda_transform" "check_abi_version_1" (func))
  (import "redpanda_transform" "make_coffee" (func (param i32) (result i32)))
  (import "env" "launch" (func))
  (memory (export "memory") 1)
  (func $start (export "_start")))
