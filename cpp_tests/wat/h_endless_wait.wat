;; In its start, waits for a function of the host's over and over, and does next to nothing in between.
(module $h_endless_wait
  (import "redpanda_transform" "check_abi_version_1" (func))
  (import "t" "wait" (func $wait))
  (memory (export "memory") 1)
  (func $start (export "_start")
    (loop $again (call $wait) (br $again))))
