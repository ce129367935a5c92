;; Declares a version of the ABI that does not exist.
(module $abi9
  (import "redpanda_transform" "check_abi_version_9" (func))
  (memory (export "memory") 1)
  (func $start (export "_start")))
