;; Tries, in vain, to grow a table past its own maximum, two thousand times by a thousand elements; then grows another one
;; by a single element, and writes "y" if that works, "n" if not.
(module $table_budget
  (import "redpanda_transform" "check_abi_version_1" (func))
  (import "redpanda_transform" "read_batch_header"
    (func $read_batch_header (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "read_next_record"
    (func $read_next_record (param i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "write_record" (func $write_record (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (table $bounded 0 10 funcref)
  (table $free 0 funcref)
  (data (i32.const 256) "\01\02n\00")
  (func $next_batch (result i32)
    (call $read_batch_header (i32.const 0) (i32.const 8) (i32.const 12) (i32.const 16) (i32.const 20) (i32.const 24)
      (i32.const 32) (i32.const 40) (i32.const 48) (i32.const 52)))
  (func $next_record (param $size i32) (result i32)
    (call $read_next_record (i32.const 64) (i32.const 72) (i32.const 80) (i32.const 4096) (local.get $size)))
  (func $start (export "_start") (local $i i32)
    (local.set $i (i32.const 2000))
    (loop $again
      (drop (table.grow $bounded (ref.null func) (i32.const 1000)))
      (br_if $again (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
    (if (i32.ge_s (table.grow $free (ref.null func) (i32.const 1)) (i32.const 0))
      (then (i32.store8 (i32.const 258) (i32.const 0x79))))
    (loop $forever
      (drop (call $next_batch))
      (drop (call $write_record (i32.const 256) (i32.const 4)))
      (br $forever))))
