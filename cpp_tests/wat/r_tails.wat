;; Copies each record four times, and calls the host for all of it by tail calls, by those and by plain calls in turn: a
;; tail call is not expanded, and what it finds must be what expanded calls left. The last copy goes to the topic `two`.
(module $tails
  (type $write_type (func (param i32 i32) (result i32)))
  (import "redpanda_transform" "check_abi_version_2" (func $check_abi_version_2))
  (import "redpanda_transform" "read_batch_header"
    (func $read_batch_header (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "read_next_record" (func $read (param i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "write_record" (func $write (type $write_type)))
  (import "redpanda_transform" "write_record_with_options" (func $with (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 40)
  (data (i32.const 16) "\01\06two\00\00\00")
  (table funcref (elem $write))
  (func $header_tail (result i32)
    (return_call $read_batch_header (i32.const 100) (i32.const 108) (i32.const 112) (i32.const 116) (i32.const 120)
      (i32.const 124) (i32.const 132) (i32.const 140) (i32.const 148) (i32.const 152)))
  (func $read_tail (param $room i32) (result i32)
    (return_call $read (i32.const 80) (i32.const 88) (i32.const 96) (i32.const 0x10000) (local.get $room)))
  (func $read_plain (param $room i32) (result i32)
    (call $read (i32.const 80) (i32.const 88) (i32.const 96) (i32.const 0x10000) (local.get $room)))
  (func $write_tail (param i32 i32) (result i32) (return_call $write (local.get 0) (local.get 1)))
  (func $write_indirect (param i32 i32) (result i32)
    (return_call_indirect (type $write_type) (local.get 0) (local.get 1) (i32.const 0)))
  (func $with_tail (param i32 i32) (result i32)
    (return_call $with (local.get 0) (local.get 1) (i32.const 16) (i32.const 5)))
  ;; Two tail calls in a row.
  (func $twice (param i32 i32) (result i32) (return_call $write_tail (local.get 0) (local.get 1)))
  (func $check (param $size i32) (param $result i32)
    (if (i32.ne (local.get $size) (local.get $result)) (then unreachable)))
  (func $start (export "_start") (local $size i32) (local $n i32)
    (call $check_abi_version_2)
    (loop $batch
      (drop (call $header_tail))
      (loop $record
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        ;; Three by tail calls, then five by calls that are expanded.
        (local.set $size
          (if (result i32) (i32.lt_u (i32.rem_u (local.get $n) (i32.const 8)) (i32.const 3))
            (then (call $read_tail (i32.const 0x200000)))
            (else (call $read_plain (i32.const 0x200000)))))
        (if (i32.lt_s (local.get $size) (i32.const 0)) (then (br $batch)))
        (call $check (local.get $size) (call $write (i32.const 0x10000) (local.get $size)))
        (call $check (local.get $size) (call $twice (i32.const 0x10000) (local.get $size)))
        (call $check (local.get $size) (call $write_indirect (i32.const 0x10000) (local.get $size)))
        (call $check (local.get $size) (call $with_tail (i32.const 0x10000) (local.get $size)))
        (br $record)))))
