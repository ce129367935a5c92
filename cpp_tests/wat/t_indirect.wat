;; Copies each record a hundred times, calling the host by all the ways there are: directly, through a table, through a
;; reference that was stored in one at run time, and as a tail call.
(module $indirect
  (import "redpanda_transform" "check_abi_version_1" (func))
  (import "redpanda_transform" "read_batch_header"
    (func $read_batch_header (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "read_next_record"
    (func $read_next_record (param i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "write_record" (func $write_record (param i32 i32) (result i32)))
  (type $write (func (param i32 i32) (result i32)))
  (memory (export "memory") 4)
  (table $table 2 funcref)
  (elem (i32.const 0) func $write_record)
  (elem declare func $write_record)
  (export "reexported" (func $write_record))
  (func $next_batch (result i32)
    (call $read_batch_header (i32.const 0) (i32.const 8) (i32.const 12) (i32.const 16) (i32.const 20) (i32.const 24)
      (i32.const 32) (i32.const 40) (i32.const 48) (i32.const 52)))
  (func $next_record (param $size i32) (result i32)
    (call $read_next_record (i32.const 64) (i32.const 72) (i32.const 80) (i32.const 4096) (local.get $size)))
  (func $tail (param i32 i32) (result i32) (return_call $write_record (local.get 0) (local.get 1)))
  (func $check (param $size i32) (param $result i32)
    (if (i32.ne (local.get $size) (local.get $result)) (then unreachable)))
  (func $start (export "_start") (local $size i32) (local $i i32)
    (table.set $table (i32.const 1) (ref.func $write_record))
    (loop $batch
      (drop (call $next_batch))
      (loop $record
        (local.set $size (call $next_record (i32.const 100000)))
        (if (i32.lt_s (local.get $size) (i32.const 0)) (then (br $batch)))
        (local.set $i (i32.const 25))
        (loop $copy
          (call $check (local.get $size) (call $write_record (i32.const 4096) (local.get $size)))
          (call $check (local.get $size)
            (call_indirect (type $write) (i32.const 4096) (local.get $size) (i32.const 0)))
          (call $check (local.get $size)
            (call_indirect (type $write) (i32.const 4096) (local.get $size) (i32.const 1)))
          (call $check (local.get $size) (call $tail (i32.const 4096) (local.get $size)))
          (br_if $copy (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
        (br $record)))))
