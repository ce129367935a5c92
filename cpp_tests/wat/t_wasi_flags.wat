;; For each record, writes a byte per call of WASI that takes flags or enumerations: its errno with all of their bits set,
;; in the order of the imports. Last are poll_oneoff with an unknown event, with an unknown clock and with unknown flags.
;; Behind them are the errnos of the same calls with flags of 0.
(module $wasi_flags
  (import "redpanda_transform" "check_abi_version_1" (func))
  (import "redpanda_transform" "read_batch_header"
    (func $read_batch_header (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "read_next_record"
    (func $read_next_record (param i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "write_record" (func $write_record (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_advise"
    (func $fd_advise (param i32 i64 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_set_flags"
    (func $fd_fdstat_set_flags (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_set_rights"
    (func $fd_fdstat_set_rights (param i32 i64 i64) (result i32)))
  (import "wasi_snapshot_preview1" "fd_filestat_set_times"
    (func $fd_filestat_set_times (param i32 i64 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_seek"
    (func $fd_seek (param i32 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_filestat_get"
    (func $path_filestat_get (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_filestat_set_times"
    (func $path_filestat_set_times (param i32 i32 i32 i32 i64 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_link"
    (func $path_link (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_raise"
    (func $proc_raise (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_accept"
    (func $sock_accept (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_recv"
    (func $sock_recv (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_send"
    (func $sock_send (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_shutdown"
    (func $sock_shutdown (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_res_get"
    (func $clock_res_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get"
    (func $clock_time_get (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 4)
  (data (i32.const 253) "\01\4c") ;; no key, a value of 38 bytes at 255
  ;; Subscriptions of 48 bytes: an unknown event; an unknown clock; unknown flags of the monotonic clock.
  (data (i32.const 608) "\ff")
  (data (i32.const 664) "\ff\ff\ff\ff")
  (data (i32.const 712) "\01")
  (data (i32.const 736) "\ff\ff")
  ;; A sleep of no time.
  (data (i32.const 816) "\01")
  (func $errnos (param $at i32) (param $flags i32) (param $rights i64)
    (i32.store8 offset=0 (local.get $at) (call $fd_advise (i32.const 1) (i64.const 0) (i64.const 0)
      (local.get $flags)))
    (i32.store8 offset=1 (local.get $at) (call $fd_fdstat_set_flags (i32.const 1) (local.get $flags)))
    (i32.store8 offset=2 (local.get $at) (call $fd_fdstat_set_rights (i32.const 1) (local.get $rights)
      (local.get $rights)))
    (i32.store8 offset=3 (local.get $at) (call $fd_filestat_set_times (i32.const 1) (i64.const 0) (i64.const 0)
      (local.get $flags)))
    (i32.store8 offset=4 (local.get $at) (call $fd_seek (i32.const 1) (i64.const 0) (local.get $flags)
      (i32.const 900)))
    (i32.store8 offset=5 (local.get $at) (call $path_filestat_get (i32.const 1) (local.get $flags) (i32.const 900)
      (i32.const 900) (i32.const 900)))
    (i32.store8 offset=6 (local.get $at) (call $path_filestat_set_times (i32.const 1) (local.get $flags)
      (i32.const 900) (i32.const 900) (i64.const 0) (i64.const 0) (local.get $flags)))
    (i32.store8 offset=7 (local.get $at) (call $path_link (i32.const 1) (local.get $flags) (i32.const 900)
      (i32.const 900) (i32.const 1) (i32.const 900) (i32.const 900)))
    (i32.store8 offset=8 (local.get $at) (call $path_open (i32.const 1) (local.get $flags) (i32.const 900)
      (i32.const 900) (local.get $flags) (local.get $rights) (local.get $rights) (local.get $flags) (i32.const 900)))
    (i32.store8 offset=9 (local.get $at) (call $proc_raise (local.get $flags)))
    (i32.store8 offset=10 (local.get $at) (call $sock_accept (i32.const 1) (local.get $flags) (i32.const 900)))
    (i32.store8 offset=11 (local.get $at) (call $sock_recv (i32.const 1) (i32.const 900) (i32.const 900)
      (local.get $flags) (i32.const 900) (i32.const 900)))
    (i32.store8 offset=12 (local.get $at) (call $sock_send (i32.const 1) (i32.const 900) (i32.const 900)
      (local.get $flags) (i32.const 900)))
    (i32.store8 offset=13 (local.get $at) (call $sock_shutdown (i32.const 1) (local.get $flags)))
    (i32.store8 offset=14 (local.get $at) (call $clock_res_get (local.get $flags) (i32.const 900)))
    (i32.store8 offset=15 (local.get $at) (call $clock_time_get (local.get $flags) (i64.const 0) (i32.const 900)))
    (i32.store8 offset=16 (local.get $at) (call $poll_oneoff
      (select (i32.const 600) (i32.const 800) (local.get $flags)) (i32.const 1000) (i32.const 1) (i32.const 900)))
    (i32.store8 offset=17 (local.get $at) (call $poll_oneoff
      (select (i32.const 648) (i32.const 800) (local.get $flags)) (i32.const 1000) (i32.const 1) (i32.const 900)))
    (i32.store8 offset=18 (local.get $at) (call $poll_oneoff
      (select (i32.const 696) (i32.const 800) (local.get $flags)) (i32.const 1000) (i32.const 1) (i32.const 900))))
  (func $start (export "_start")
    (loop $batch
      (drop (call $read_batch_header (i32.const 0) (i32.const 8) (i32.const 12) (i32.const 16) (i32.const 20)
        (i32.const 24) (i32.const 32) (i32.const 40) (i32.const 48) (i32.const 52)))
      (loop $next
        (br_if $batch (i32.lt_s (call $read_next_record (i32.const 64) (i32.const 72) (i32.const 80) (i32.const 4096)
          (i32.const 100000)) (i32.const 0)))
        (call $errnos (i32.const 255) (i32.const -1) (i64.const -1))
        (call $errnos (i32.const 274) (i32.const 0) (i64.const 0))
        (i32.store8 (i32.const 293) (i32.const 0))
        (drop (call $write_record (i32.const 253) (i32.const 41)))
        (br $next)))))
