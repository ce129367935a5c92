;; For each record, writes 64 bytes: real-time clock, its resolution, monotonic clock, the same again, 16 random bytes,
;; the real-time clock after a sleep, and eight errnos: of fd_read from stdin, fd_prestat_get(3), path_open,
;; fd_close(5), fd_seek(1), sock_accept, poll_oneoff (the sleep), and fd_write to descriptor 3. Dies at a value that
;; begins with d.
(module $wasi
  (import "redpanda_transform" "check_abi_version_1" (func))
  (import "redpanda_transform" "read_batch_header"
    (func $read_batch_header (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "read_next_record"
    (func $read_next_record (param i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "write_record" (func $write_record (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock_time_get (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_res_get" (func $clock_res_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_get" (func $fd_prestat_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_seek" (func $fd_seek (param i32 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_accept" (func $sock_accept (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sched_yield" (func $sched_yield (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (memory (export "memory") 4)
  (data (i32.const 253) "\01\80\01")          ;; no key, a value of 64 bytes at 256, aligned
  (data (i32.const 400) "a-path")
  (data (i32.const 512) "\00\03\00\00\10\00\00\00") ;; a part: 16 bytes at 768
  ;; A subscription at 600: user data 0, then tag 0 (clock), clock 1 (monotonic), an hour.
  (data (i32.const 616) "\01")
  (data (i32.const 624) "\00\a0\b8\30\46\03\00\00")
  (func $next_batch (result i32)
    (call $read_batch_header (i32.const 0) (i32.const 8) (i32.const 12) (i32.const 16) (i32.const 20) (i32.const 24)
      (i32.const 32) (i32.const 40) (i32.const 48) (i32.const 52)))
  (func $next_record (param $size i32) (result i32)
    (call $read_next_record (i32.const 64) (i32.const 72) (i32.const 80) (i32.const 4096) (local.get $size)))
  (func $note (param $at i32) (param $errno i32) (i32.store8 (local.get $at) (local.get $errno)))
  (func $start (export "_start")
    (loop $batch
      (drop (call $next_batch))
      (loop $record
        (br_if $batch (i32.lt_s (call $next_record (i32.const 100000)) (i32.const 0)))
        (if (i32.eq (i32.load8_u (i32.const 4098)) (i32.const 100)) (then unreachable))
        (drop (call $clock_time_get (i32.const 0) (i64.const 1) (i32.const 256)))
        (drop (call $clock_res_get (i32.const 0) (i32.const 264)))
        (drop (call $clock_time_get (i32.const 1) (i64.const 1) (i32.const 272)))
        (drop (call $clock_time_get (i32.const 1) (i64.const 1) (i32.const 280)))
        (drop (call $random_get (i32.const 288) (i32.const 16)))
        (drop (call $sched_yield))
        (call $note (i32.const 312) (call $fd_read (i32.const 0) (i32.const 512) (i32.const 1) (i32.const 900)))
        (call $note (i32.const 313) (call $fd_prestat_get (i32.const 3) (i32.const 900)))
        (call $note (i32.const 314) (call $path_open (i32.const 3) (i32.const 0) (i32.const 400) (i32.const 6)
          (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 900)))
        (call $note (i32.const 315) (call $fd_close (i32.const 5)))
        (call $note (i32.const 316) (call $fd_seek (i32.const 1) (i64.const 0) (i32.const 0) (i32.const 900)))
        (call $note (i32.const 317) (call $sock_accept (i32.const 0) (i32.const 0) (i32.const 900)))
        (call $note (i32.const 318) (call $poll_oneoff (i32.const 600) (i32.const 700) (i32.const 1) (i32.const 900)))
        (call $note (i32.const 319) (call $fd_write (i32.const 3) (i32.const 512) (i32.const 1) (i32.const 900)))
        (drop (call $clock_time_get (i32.const 0) (i64.const 1) (i32.const 304)))
        (drop (call $write_record (i32.const 253) (i32.const 68)))
        (br $record)))))
