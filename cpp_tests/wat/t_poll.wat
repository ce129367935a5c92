;; For each record, waits as its value says and writes 160 bytes: at 0 the errnos of poll_oneoff, of clock_time_get for
;; the clocks 2 and 9 and of clock_res_get for clock 3, a byte each; at 4 the number of events; at 8 and 16 the
;; monotonic clock before and after; at 24 the real-time clock after; at 32 four events. The value is an array of
;; subscriptions. If it is empty, the guest looks at the monotonic clock until 5 ms have passed.
(module $poll
  (import "redpanda_transform" "check_abi_version_1" (func))
  (import "redpanda_transform" "read_batch_header"
    (func $read_batch_header (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "read_next_record"
    (func $read_next_record (param i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "write_record" (func $write_record (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock_time_get (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_res_get" (func $clock_res_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 4)
  (data (i32.const 1021) "\01\c0\02")         ;; no key, a value of 160 bytes at 1024, aligned, and no header at 1184
  (func $next_batch (result i32)
    (call $read_batch_header (i32.const 0) (i32.const 8) (i32.const 12) (i32.const 16) (i32.const 20) (i32.const 24)
      (i32.const 32) (i32.const 40) (i32.const 48) (i32.const 52)))
  (func $next_record (param $size i32) (result i32)
    (call $read_next_record (i32.const 64) (i32.const 72) (i32.const 80) (i32.const 4096) (local.get $size)))
  (func $now (param $at i32) (drop (call $clock_time_get (i32.const 1) (i64.const 1) (local.get $at))))
  (func $start (export "_start") (local $size i32) (local $value i32)
    (loop $batch
      (drop (call $next_batch))
      (loop $record
        (local.set $size (call $next_record (i32.const 100000)))
        (br_if $batch (i32.lt_s (local.get $size) (i32.const 0)))
        (memory.fill (i32.const 1024) (i32.const 0) (i32.const 160))
        ;; The value's length takes a byte up to 63 and else two. The last byte of the record counts headers.
        (local.set $value (i32.add (i32.const 4098) (i32.ge_u (i32.load8_u (i32.const 4097)) (i32.const 128))))
        (local.set $size (i32.sub (i32.sub (i32.add (local.get $size) (i32.const 4096)) (local.get $value)) (i32.const 1)))
        (call $now (i32.const 1032))
        (if (local.get $size)
          (then
            (i32.store8 (i32.const 1024) (call $poll_oneoff (local.get $value) (i32.const 1056)
              (i32.div_u (local.get $size) (i32.const 48)) (i32.const 1028)))
            (call $now (i32.const 1040)))
          (else
            (loop $spin
              (call $now (i32.const 1040))
              (br_if $spin (i64.lt_u (i64.sub (i64.load (i32.const 1040)) (i64.load (i32.const 1032)))
                (i64.const 5000000))))))
        (i32.store8 (i32.const 1025) (call $clock_time_get (i32.const 2) (i64.const 1) (i32.const 2048)))
        (i32.store8 (i32.const 1026) (call $clock_time_get (i32.const 9) (i64.const 1) (i32.const 2048)))
        (i32.store8 (i32.const 1027) (call $clock_res_get (i32.const 3) (i32.const 2048)))
        (drop (call $clock_time_get (i32.const 0) (i64.const 1) (i32.const 1048)))
        (drop (call $write_record (i32.const 1021) (i32.const 164)))
        (br $record)))))
