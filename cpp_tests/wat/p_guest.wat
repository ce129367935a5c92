;; Writes each record as many times as the second character of its value says, a digit, or once; and then dies, as the
;; first one wants it:
;;
;;   u  unreachable                x  exit code 3              l  loop without end
;;   g  memory refused, and trap   r  recursion without end    p  a pointer out of bounds
;;   h  host.fail(), which fails   b  the record is finished, and it traps before the next one
;;
;; It asks host.start() before it waits for batches, and traps if that is not 0. In a batch with the leader epoch 1 it
;; traps before the first record; with 2, it writes a record before the first one, whose value is the number of records
;; that it was told; with 3 it needs 8 KiB of output per copy, whatever the record. Keys must be shorter than 64 bytes.
(module $policy
  (import "redpanda_transform" "check_abi_version_1" (func $check_abi_version_1))
  (import "redpanda_transform" "read_batch_header"
    (func $read_batch_header (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "read_next_record"
    (func $read_next_record (param i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "write_record" (func $write_record (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (import "host" "start" (func $host_start (result i32)))
  (import "host" "fail" (func $host_fail))

  (memory (export "memory") 64)
  (data (i32.const 256) "\01\02#\00")           ;; no key, the value "#", no headers
  (data (i32.const 512) "\01\80\80\01")          ;; no key, a value of 8,192 bytes; what follows is zero
  (global $buffer i32 (i32.const 65536))
  (global $size i32 (i32.const 4000000))
  (func $unreachable unreachable)
  (func $recurse (param $n i32) (result i32)
    (i32.add (i32.const 1) (call $recurse (i32.add (local.get $n) (i32.const 1)))))
  (func $loop (loop $forever (br $forever)))
  (func $next (param $size i32) (result i32)
    (call $read_next_record (i32.const 80) (i32.const 88) (i32.const 96) (global.get $buffer) (local.get $size)))

  (func $die (param $how i32)
    (if (i32.eq (local.get $how) (i32.const 0x75 (;u;))) (then (call $unreachable)))
    (if (i32.eq (local.get $how) (i32.const 0x78 (;x;))) (then (call $proc_exit (i32.const 3))))
    (if (i32.eq (local.get $how) (i32.const 0x6c (;l;))) (then (call $loop)))
    (if (i32.eq (local.get $how) (i32.const 0x67 (;g;)))
      (then (drop (memory.grow (i32.const 60000))) (call $unreachable)))
    (if (i32.eq (local.get $how) (i32.const 0x72 (;r;))) (then (drop (call $recurse (i32.const 0)))))
    (if (i32.eq (local.get $how) (i32.const 0x70 (;p;)))
      (then (drop (call $write_record (i32.const 0xfffffff0) (i32.const 4)))))
    (if (i32.eq (local.get $how) (i32.const 0x68 (;h;))) (then (call $host_fail)))
    (if (i32.eq (local.get $how) (i32.const 0x62 (;b;)))
      (then (drop (call $next (i32.const 0))) (call $unreachable))))

  ;; Where the value's length is; a null or empty value has none of its characters.
  (func $value (result i32)
    (local $key i32)
    (local.set $key (i32.load8_u (global.get $buffer)))
    (i32.add (i32.add (global.get $buffer) (i32.const 1))
      (select (i32.const 0) (i32.shr_u (local.get $key) (i32.const 1)) (i32.eq (local.get $key) (i32.const 1)))))
  ;; Character `at` of the value, 0 if there is none. A length of one byte is twice the length.
  (func $character (param $at i32) (result i32)
    (local $p i32)
    (local.set $p (call $value))
    (if (i32.and (i32.lt_u (i32.load8_u (local.get $p)) (i32.const 0x80))
                 (i32.or (i32.and (i32.load8_u (local.get $p)) (i32.const 1))
                         (i32.ge_u (local.get $at) (i32.shr_u (i32.load8_u (local.get $p)) (i32.const 1)))))
      (then (return (i32.const 0))))
    (loop $length
      (if (i32.and (i32.load8_u (local.get $p)) (i32.const 0x80))
        (then (local.set $p (i32.add (local.get $p) (i32.const 1))) (br $length))))
    (i32.load8_u (i32.add (i32.add (local.get $p) (i32.const 1)) (local.get $at))))

  (func $copy (param $size i32)
    (local $left i32)
    (local.set $left (i32.sub (call $character (i32.const 1)) (i32.const 0x30)))
    (if (i32.gt_u (local.get $left) (i32.const 9)) (then (local.set $left (i32.const 1))))
    (loop $more
      (if (local.get $left)
        (then
          (if (i32.eq (i32.load (i32.const 16)) (i32.const 3))
            (then (drop (call $write_record (i32.const 512) (i32.const 8197))))
            (else (drop (call $write_record (global.get $buffer) (local.get $size)))))
          (local.set $left (i32.sub (local.get $left) (i32.const 1)))
          (br $more)))))

  (func $start (export "_start")
    (local $size i32)
    (call $check_abi_version_1)
    (if (call $host_start) (then (call $unreachable)))
    (loop $batches
      (drop (call $read_batch_header
        (i32.const 0) (i32.const 8) (i32.const 16) (i32.const 24) (i32.const 32)
        (i32.const 40) (i32.const 48) (i32.const 56) (i32.const 64) (i32.const 72)))
      (if (i32.eq (i32.load (i32.const 16)) (i32.const 1)) (then (call $unreachable)))
      (if (i32.eq (i32.load (i32.const 16)) (i32.const 2))
        (then
          (i32.store8 (i32.const 258) (i32.add (i32.const 0x30) (i32.load (i32.const 8))))
          (drop (call $write_record (i32.const 256) (i32.const 4)))))
      (loop $records
        (local.set $size (call $next (global.get $size)))
        (br_if $batches (i32.lt_s (local.get $size) (i32.const 0)))
        (call $copy (local.get $size))
        (call $die (call $character (i32.const 0)))
        (br $records)))))
