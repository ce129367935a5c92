;; Fills and copies most of its memory at once, as the first character of a record's value wants it; copies all records,
;; and has the second character say whether all is well (y or n) if it was asked.
;;
;;   f  fill               F  is it filled?
;;   p  write a pattern that repeats nowhere, which the copies need
;;   u  copy upwards       U  is it copied upwards?       both overlap but for the distance
;;   d  copy downwards     D  is it copied downwards?
;;   o  fill past the end  c  copy from past the end
;;   l  fill without end
;;
;; Keys must be null, and values shorter than 64 bytes.
(module $bulk_memory
  (import "redpanda_transform" "check_abi_version_1" (func $check_abi_version_1))
  (import "redpanda_transform" "read_batch_header"
    (func $read_batch_header (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "read_next_record"
    (func $read_next_record (param i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "write_record" (func $write_record (param i32 i32) (result i32)))

  ;; Below $buffer is room for what the host fills in; from $base on is what is filled and copied.
  (memory (export "memory") 1024)
  (global $buffer i32 (i32.const 1024))
  (global $buffer_size i32 (i32.const 1000))
  (global $base i32 (i32.const 65536))
  (global $distance i32 (i32.const 8008))

  (func $end (result i32) (i32.shl (memory.size) (i32.const 16)))
  ;; Bytes from $base on.
  (func $size (result i32) (i32.sub (call $end) (global.get $base)))

  (func $fill (param $size i32) (memory.fill (global.get $base) (i32.const 0x5a) (local.get $size)))
  (func $copy (param $to i32) (param $from i32) (param $size i32)
    (memory.copy (local.get $to) (local.get $from) (local.get $size)))
  (func $fill_forever (loop $forever (call $fill (call $size)) (br $forever)))
  (func $up
    (call $copy (i32.add (global.get $base) (global.get $distance)) (global.get $base)
      (i32.sub (call $size) (global.get $distance))))
  (func $down
    (call $copy (global.get $base) (i32.add (global.get $base) (global.get $distance))
      (i32.sub (call $size) (global.get $distance))))

  (func $pattern_of (param $at i32) (result i64)
    (i64.mul (i64.extend_i32_u (local.get $at)) (i64.const 0x9e3779b97f4a7c15)))
  (func $pattern (local $at i32)
    (local.set $at (global.get $base))
    (loop $words
      (i64.store (local.get $at) (call $pattern_of (local.get $at)))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (br_if $words (i32.lt_u (local.get $at) (call $end)))))

  (func $is_filled (result i32) (local $at i32)
    (local.set $at (global.get $base))
    (loop $words
      (if (i64.ne (i64.load (local.get $at)) (i64.const 0x5a5a5a5a5a5a5a5a)) (then (return (i32.const 0))))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (br_if $words (i32.lt_u (local.get $at) (call $end))))
    ;; And nothing else.
    (i64.eqz (i64.load (i32.sub (global.get $base) (i32.const 8)))))

  ;; Whether from $from to $to there is the pattern of $distance before.
  (func $is_pattern (param $from i32) (param $to i32) (param $distance i32) (result i32)
    (loop $words
      (if (i64.ne (i64.load (local.get $from)) (call $pattern_of (i32.sub (local.get $from) (local.get $distance))))
        (then (return (i32.const 0))))
      (local.set $from (i32.add (local.get $from) (i32.const 8)))
      (br_if $words (i32.lt_u (local.get $from) (local.get $to))))
    (i32.const 1))
  (func $is_up (result i32) (local $middle i32)
    (local.set $middle (i32.add (global.get $base) (global.get $distance)))
    (i32.and
      (call $is_pattern (global.get $base) (local.get $middle) (i32.const 0))
      (call $is_pattern (local.get $middle) (call $end) (global.get $distance))))
  (func $is_down (result i32) (local $middle i32)
    (local.set $middle (i32.sub (call $end) (global.get $distance)))
    (i32.and
      (call $is_pattern (global.get $base) (local.get $middle) (i32.sub (i32.const 0) (global.get $distance)))
      (call $is_pattern (local.get $middle) (call $end) (i32.const 0))))

  ;; $value is where the value begins.
  (func $answer (param $value i32) (param $well i32)
    (i32.store8 offset=1 (local.get $value) (select (i32.const 0x79 (;y;)) (i32.const 0x6e (;n;)) (local.get $well))))
  (func $on_record (param $value i32)
    (local $kind i32)
    (local.set $kind (i32.load8_u (local.get $value)))
    (if (i32.eq (local.get $kind) (i32.const 0x66 (;f;))) (then (call $fill (call $size))))
    (if (i32.eq (local.get $kind) (i32.const 0x46 (;F;))) (then (call $answer (local.get $value) (call $is_filled))))
    (if (i32.eq (local.get $kind) (i32.const 0x70 (;p;))) (then (call $pattern)))
    (if (i32.eq (local.get $kind) (i32.const 0x75 (;u;))) (then (call $up)))
    (if (i32.eq (local.get $kind) (i32.const 0x55 (;U;))) (then (call $answer (local.get $value) (call $is_up))))
    (if (i32.eq (local.get $kind) (i32.const 0x64 (;d;))) (then (call $down)))
    (if (i32.eq (local.get $kind) (i32.const 0x44 (;D;))) (then (call $answer (local.get $value) (call $is_down))))
    (if (i32.eq (local.get $kind) (i32.const 0x6f (;o;)))
      (then (call $fill (i32.add (call $size) (i32.const 1)))))
    (if (i32.eq (local.get $kind) (i32.const 0x63 (;c;)))
      (then (call $copy (global.get $base) (i32.const 1) (call $end))))
    (if (i32.eq (local.get $kind) (i32.const 0x6c (;l;))) (then (call $fill_forever))))

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
        ;; After the lengths of the key and of the value, a byte each.
        (call $on_record (i32.add (global.get $buffer) (i32.const 2)))
        (drop (call $write_record (global.get $buffer) (local.get $size)))
        (br $records)))))
