;; Copies records, but from the start section: its instantiation never ends.
(module $start_section_reader
  (import "redpanda_transform" "check_abi_version_1" (func))
  (import "redpanda_transform" "read_batch_header"
    (func $read_batch_header (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "read_next_record"
    (func $read_next_record (param i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "write_record" (func $write_record (param i32 i32) (result i32)))
  (memory (export "memory") 4)
  (func $next_batch (result i32)
    (call $read_batch_header (i32.const 0) (i32.const 8) (i32.const 12) (i32.const 16) (i32.const 20) (i32.const 24)
      (i32.const 32) (i32.const 40) (i32.const 48) (i32.const 52)))
  (func $next_record (param $size i32) (result i32)
    (call $read_next_record (i32.const 64) (i32.const 72) (i32.const 80) (i32.const 4096) (local.get $size)))
  (func $main (local $size i32)
    (loop $batch
      (drop (call $next_batch))
      (loop $record
        (local.set $size (call $next_record (i32.const 100000)))
        (br_if $batch (i32.lt_s (local.get $size) (i32.const 0)))
        (drop (call $write_record (i32.const 4096) (local.get $size)))
        (br $record))))
  (start $main)
  (func $start (export "_start")))
