;; Has a data segment that does not fit into its memory: instantiation traps.
(module $data_out_of_bounds
  (import "redpanda_transform" "check_abi_version_1" (func))
  (memory (export "memory") 1)
  (data (i32.const 65530) "too long to fit")
  (func $start (export "_start")))
