;; Asks the host, or traps, as the first character of a record's value wants it; copies all records.
;;
;;   w  host.later(21), which must give 42      d  division by zero       u  unreachable
;;   l  loop without end                        o  load out of bounds
;;
;; Keys must be null or shorter than 64 bytes, so that their length is one byte.
(module $later
  (import "redpanda_transform" "check_abi_version_1" (func $check_abi_version_1))
  (import "redpanda_transform" "read_batch_header"
    (func $read_batch_header (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "read_next_record"
    (func $read_next_record (param i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "write_record" (func $write_record (param i32 i32) (result i32)))
  (import "host" "later" (func $later (param i64) (result i64)))

  ;; Below $buffer is room for what the host fills in.
  (memory (export "memory") 2)
  (global $buffer i32 (i32.const 1024))
  (global $buffer_size i32 (i32.const 100000))
  (func $unreachable unreachable)
  (func $divide (param $by i32) (drop (i32.div_s (i32.const 1) (local.get $by))))
  (func $load (param $at i32) (drop (i32.load (local.get $at))))
  (func $loop (loop $forever (br $forever)))
  (func $wait
    (if (i64.ne (call $later (i64.const 21)) (i64.const 42)) (then unreachable)))

  (func $on_record (param $kind i32)
    (if (i32.eq (local.get $kind) (i32.const 0x77 (;w;))) (then (call $wait)))
    (if (i32.eq (local.get $kind) (i32.const 0x75 (;u;))) (then (call $unreachable)))
    (if (i32.eq (local.get $kind) (i32.const 0x64 (;d;))) (then (call $divide (i32.const 0))))
    (if (i32.eq (local.get $kind) (i32.const 0x6f (;o;))) (then (call $load (i32.const 0xfffffff0))))
    (if (i32.eq (local.get $kind) (i32.const 0x6c (;l;))) (then (call $loop))))

  ;; The first character of the value: after the key's length (-1, null, is the byte 1; n is 2n), the key, and the
  ;; value's length, which may take several bytes.
  (func $first_character (result i32)
    (local $at i32) (local $key_length i32)
    (local.set $key_length (i32.load8_u (global.get $buffer)))
    (local.set $at (i32.add (global.get $buffer) (i32.const 1)))
    (if (i32.ne (local.get $key_length) (i32.const 1))
      (then (local.set $at
        (i32.add (local.get $at) (i32.shr_u (local.get $key_length) (i32.const 1))))))
    (if (i32.le_u (i32.load8_u (local.get $at)) (i32.const 1))
      (then (return (i32.const 0)))) ;; null or empty
    (loop $length
      (if (i32.and (i32.load8_u (local.get $at)) (i32.const 0x80))
        (then
          (local.set $at (i32.add (local.get $at) (i32.const 1)))
          (br $length))))
    (i32.load8_u (i32.add (local.get $at) (i32.const 1))))

  (func $start (export "_start")
    (local $left i32) (local $size i32)
    (call $check_abi_version_1)
    (loop $batches
      (drop (call $read_batch_header
        (i32.const 0) (i32.const 8) (i32.const 16) (i32.const 24) (i32.const 32)
        (i32.const 40) (i32.const 48) (i32.const 56) (i32.const 64) (i32.const 72)))
      (local.set $left (i32.load (i32.const 8))) ;; the record count
      (loop $records
        (br_if $batches (i32.le_s (local.get $left) (i32.const 0)))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (local.set $size (call $read_next_record
          (i32.const 80) (i32.const 88) (i32.const 96) (global.get $buffer) (global.get $buffer_size)))
        (if (i32.lt_s (local.get $size) (i32.const 0)) (then unreachable))
        (call $on_record (call $first_character))
        (drop (call $write_record (global.get $buffer) (local.get $size)))
        (br $records)))))
