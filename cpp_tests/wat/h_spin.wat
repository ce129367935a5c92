;; Works for a while before it asks for the first batch, so that its start yields.
(module $h_spin
  (import "redpanda_transform" "check_abi_version_1" (func))
  (import "redpanda_transform" "read_batch_header"
    (func $read_batch_header (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func $start (export "_start") (local $i i32)
    (local.set $i (i32.const 100000000))
    (loop $spin
      (i32.store (i32.const 100) (i32.add (i32.load (i32.const 100)) (local.get $i)))
      (br_if $spin (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
    (loop $batch
      (drop (call $read_batch_header (i32.const 0) (i32.const 8) (i32.const 12) (i32.const 16) (i32.const 20)
        (i32.const 24) (i32.const 32) (i32.const 40) (i32.const 48) (i32.const 52)))
      (br $batch))))
