;; Does what the first record of each batch says. Its value is a list of operations, 32 bytes each: a number and seven
;; words. What follows the list is data for them. support/scripts.hh has the numbers.
;;
;;   0x1000 the first record with its operations   0x60000 results of the operations   0x80000 and more: free
;;
;; Each result is also added to $sum. At the end of a script all results go to t.report. An operation may overwrite the
;; list and everything else: a batch ends after so many operations as its leader epoch says.
(module $driver
  (type $write_type (func (param i32 i32) (result i32)))
  (import "redpanda_transform" "check_abi_version_2" (func $check_abi_version_2))
  (import "redpanda_transform" "read_batch_header"
    (func $read_batch_header (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "read_next_record"
    (func $read_next_record (param i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "write_record" (func $write_record (param i32 i32) (result i32)))
  (import "redpanda_transform" "write_record_with_options"
    (func $write_record_with_options (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock_time_get (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "t" "report" (func $report (param i32 i32)))
  (import "t" "wait" (func $wait (param i32) (result i32)))

  (memory (export "memory") 26)
  (table funcref (elem $write_record $tail))
  ;; Whoever has the module can also call the import by its export.
  (export "write" (func $write_record))
  (global $sum (mut i64) (i64.const 0))
  (global $size (mut i32) (i32.const 0))
  (global $results (mut i32) (i32.const 0))
  (global $clock (mut i64) (i64.const 0))

  (func $tail (param i32 i32) (result i32)
    (return_call $write_record (local.get 0) (local.get 1)))
  (func $result (param $r i32)
    (global.set $sum
      (i64.add (i64.mul (global.get $sum) (i64.const 31)) (i64.extend_i32_s (local.get $r))))
    (if (i32.lt_u (global.get $results) (i32.const 4096))
      (then
        (i32.store (i32.add (i32.const 0x60000) (i32.shl (global.get $results) (i32.const 2))) (local.get $r))
        (global.set $results (i32.add (global.get $results) (i32.const 1))))))
  ;; A number of what lies there.
  (func $hash (param $at i32) (param $words i32) (result i32)
    (local $h i64)
    (local.set $h (i64.const 0xcbf29ce484222325))
    (block $done (loop $next
      (br_if $done (i32.eqz (local.get $words)))
      (local.set $h (i64.mul (i64.xor (local.get $h) (i64.load (local.get $at))) (i64.const 0x100000001b3)))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (local.set $words (i32.sub (local.get $words) (i32.const 1)))
      (br $next)))
    (i32.wrap_i64 (i64.xor (local.get $h) (i64.shr_u (local.get $h) (i64.const 32)))))
  (func $w (param $pc i32) (param $n i32) (result i32)
    (i32.load (i32.add (local.get $pc) (i32.shl (local.get $n) (i32.const 2)))))

  (func $run
    (local $pc i32) (local $steps i32)
    (local $a i32) (local $b i32) (local $c i32) (local $d i32) (local $e i32)
    (local.set $pc (i32.const 0x1000))
    ;; The value: a null key and three bytes of its length.
    (local.set $pc (i32.add (local.get $pc) (i32.const 4)))
    (local.set $steps (i32.load (i32.const 16)))
    (loop $next
      (if (i32.eqz (local.get $steps)) (then (return)))
      (local.set $steps (i32.sub (local.get $steps) (i32.const 1)))
      (local.set $a (call $w (local.get $pc) (i32.const 1)))
      (local.set $b (call $w (local.get $pc) (i32.const 2)))
      (local.set $c (call $w (local.get $pc) (i32.const 3)))
      (local.set $d (call $w (local.get $pc) (i32.const 4)))
      (local.set $e (call $w (local.get $pc) (i32.const 5)))
      (local.set $pc (i32.add (local.get $pc) (i32.const 32)))
      (block $other
      (block $17 (block $16 (block $15 (block $14 (block $13 (block $12 (block $11 (block $10 (block $9 (block $8
      (block $7 (block $6 (block $5 (block $4 (block $3 (block $2 (block $1 (block $0
        (br_table $0 $1 $2 $3 $4 $5 $6 $7 $8 $9 $10 $11 $12 $13 $14 $15 $16 $17 $other
          (i32.load (i32.sub (local.get $pc) (i32.const 32)))))
        ;; 0: the end
        (return))
        ;; 1: read a record
        (global.set $size (call $read_next_record
          (local.get $a) (local.get $b) (local.get $c) (local.get $d) (local.get $e)))
        (call $result (global.get $size))
        (br $next))
        ;; 2: write a record
        (call $result (call $write_record (local.get $a) (local.get $b)))
        (br $next))
        ;; 3: write one with options
        (call $result (call $write_record_with_options
          (local.get $a) (local.get $b) (local.get $c) (local.get $d)))
        (br $next))
        ;; 4: write one of the size of the one that was read, unless there was none
        (if (i32.ge_s (global.get $size) (i32.const 0))
          (then (call $result (call $write_record (local.get $a) (global.get $size)))))
        (br $next))
        ;; 5: write one by a table: directly or by a tail call
        (call $result (call_indirect (type $write_type) (local.get $a) (local.get $b) (local.get $c)))
        (br $next))
        ;; 6: copy
        (memory.copy (local.get $a) (local.get $b) (local.get $c))
        (br $next))
        ;; 7: fill
        (memory.fill (local.get $a) (local.get $b) (local.get $c))
        (br $next))
        ;; 8: grow
        (call $result (memory.grow (local.get $a)))
        (br $next))
        ;; 9: trap
        (unreachable))
        ;; 10: exit
        (call $proc_exit (local.get $a))
        (br $next))
        ;; 11: without end
        (loop $forever (br $forever)))
        ;; 12: the time, in milliseconds
        (drop (call $clock_time_get (i32.const 0) (i64.const 0) (local.get $a)))
        (global.set $clock (i64.div_s (i64.load (local.get $a)) (i64.const 1000000)))
        (call $result (i32.wrap_i64 (global.get $clock)))
        (br $next))
        ;; 13: standard error, by the iovec that is there
        (call $result (call $fd_write (i32.const 2) (local.get $a) (i32.const 1) (local.get $b)))
        (br $next))
        ;; 14: b times more from operation a on
        (if (local.get $b)
          (then
            (i32.store (i32.sub (local.get $pc) (i32.const 24)) (i32.sub (local.get $b) (i32.const 1)))
            (local.set $pc (i32.add (i32.const 0x1004) (i32.shl (local.get $a) (i32.const 5))))))
        (br $next))
        ;; 15: from operation a on if a record was read
        (if (i32.ge_s (global.get $size) (i32.const 0))
          (then (local.set $pc (i32.add (i32.const 0x1004) (i32.shl (local.get $a) (i32.const 5))))))
        (br $next))
        ;; 16: what lies at a, b words of it
        (call $result (call $hash (local.get $a) (local.get $b)))
        (br $next))
        ;; 17: the host looks at a, b bytes
        (call $report (local.get $a) (local.get $b))
        (br $next))
      ;; 18: the host takes its time
      (call $result (call $wait (local.get $a)))
      (br $next)))

  (func (export "_start")
    (call $check_abi_version_2)
    (loop $batches
      (drop (call $read_batch_header
        (i32.const 0) (i32.const 8) (i32.const 16) (i32.const 24) (i32.const 32)
        (i32.const 40) (i32.const 48) (i32.const 56) (i32.const 64) (i32.const 72)))
      (global.set $results (i32.const 0))
      (if (i32.ge_s
            (call $read_next_record
              (i32.const 80) (i32.const 88) (i32.const 96) (i32.const 0x1000) (i32.const 0x5f000))
            (i32.const 0))
        (then
          (call $run)
          (call $report (i32.const 0x60000) (i32.shl (global.get $results) (i32.const 2)))))
      (br $batches))))
