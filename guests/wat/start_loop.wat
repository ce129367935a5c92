;; Loops for ever in _start: never asks for a batch.
(module $start_loop
  (import "redpanda_transform" "check_abi_version_1" (func))
  (memory (export "memory") 1)
  (func $start (export "_start")
    (loop $forever (br $forever))))
