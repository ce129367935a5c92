;; Declares a version of the schema registry's ABI that does not exist.
(module $sr_abi9
  (import "redpanda_transform" "check_abi_version_1" (func))
  (import "redpanda_schema_registry" "check_abi_version_9" (func))
  (memory (export "memory") 1)
  (func $start (export "_start")))
