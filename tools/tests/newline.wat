;; SPDX-License-Identifier: Apache-2.0
;; Writes the value "ok" for the first record of each batch, and a value with a newline in it for all others.
(module
  (import "redpanda_transform" "check_abi_version_1" (func $check_abi_version_1))
  (import "redpanda_transform" "read_batch_header"
    (func $read_batch_header (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "read_next_record"
    (func $read_next_record (param i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "write_record" (func $write_record (param i32 i32) (result i32)))
  (memory (export "memory") 2)
  ;; Payloads: no key, the value, no headers.
  (data (i32.const 128) "\01\04ok\00")
  (data (i32.const 144) "\01\06a\0ab\00")
  (func (export "_start") (local $left i32)
    (call $check_abi_version_1)
    (loop $batches
      (drop (call $read_batch_header
        (i32.const 0) (i32.const 8) (i32.const 16) (i32.const 24) (i32.const 32)
        (i32.const 40) (i32.const 48) (i32.const 56) (i32.const 64) (i32.const 72)))
      (local.set $left (i32.load (i32.const 8))) ;; the record count
      (drop (call $read_next_record
        (i32.const 80) (i32.const 88) (i32.const 96) (i32.const 1024) (i32.const 100000)))
      (drop (call $write_record (i32.const 128) (i32.const 5)))
      (loop $records
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br_if $batches (i32.le_s (local.get $left) (i32.const 0)))
        (drop (call $read_next_record
          (i32.const 80) (i32.const 88) (i32.const 96) (i32.const 1024) (i32.const 100000)))
        (drop (call $write_record (i32.const 144) (i32.const 6)))
        (br $records)))))
