;; Imports write_record with one parameter too few.
(module $import_signature
  (import "redpanda_transform" "check_abi_version_1" (func))
  (import "redpanda_transform" "write_record" (func (param i32) (result i32)))
  (memory (export "memory") 1)
  (func $start (export "_start")))
