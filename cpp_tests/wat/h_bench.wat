;; Calls one of bench's functions as often as each record's second number says; the first one chooses.
(module $h_bench
  (import "redpanda_transform" "check_abi_version_1" (func))
  (import "redpanda_transform" "read_batch_header"
    (func $read_batch_header (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "read_next_record"
    (func $read_next_record (param i32 i32 i32 i32 i32) (result i32)))
  (import "bench" "c_sync" (func $c_sync (param i32 i32) (result i32)))
  (import "bench" "typed_sync" (func $typed_sync (param i32 i32) (result i32)))
  (import "bench" "typed_span" (func $typed_span (param i32 i32) (result i32)))
  (import "bench" "c_ready" (func $c_ready (param i32 i32) (result i32)))
  (import "bench" "typed_ready" (func $typed_ready (param i32 i32) (result i32)))
  (import "bench" "c_suspended" (func $c_suspended (param i32 i32) (result i32)))
  (import "bench" "typed_suspended" (func $typed_suspended (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func $loop0 (param $n i32) (local $sum i32)
    (loop $again
      (local.set $sum (i32.add (local.get $sum) (i32.load (i32.const 1024))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (i32.store (i32.const 1024) (local.get $sum)))
  (func $loop1 (param $n i32) (local $sum i32)
    (loop $again
      (local.set $sum (i32.add (local.get $sum) (call $c_sync (i32.const 1) (i32.const 2))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (i32.store (i32.const 1024) (local.get $sum)))
  (func $loop2 (param $n i32) (local $sum i32)
    (loop $again
      (local.set $sum (i32.add (local.get $sum) (call $typed_sync (i32.const 1) (i32.const 2))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (i32.store (i32.const 1024) (local.get $sum)))
  (func $loop3 (param $n i32) (local $sum i32)
    (loop $again
      (local.set $sum (i32.add (local.get $sum) (call $typed_span (i32.const 1) (i32.const 2))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (i32.store (i32.const 1024) (local.get $sum)))
  (func $loop4 (param $n i32) (local $sum i32)
    (loop $again
      (local.set $sum (i32.add (local.get $sum) (call $c_ready (i32.const 1) (i32.const 2))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (i32.store (i32.const 1024) (local.get $sum)))
  (func $loop5 (param $n i32) (local $sum i32)
    (loop $again
      (local.set $sum (i32.add (local.get $sum) (call $typed_ready (i32.const 1) (i32.const 2))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (i32.store (i32.const 1024) (local.get $sum)))
  (func $loop6 (param $n i32) (local $sum i32)
    (loop $again
      (local.set $sum (i32.add (local.get $sum) (call $c_suspended (i32.const 1) (i32.const 2))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (i32.store (i32.const 1024) (local.get $sum)))
  (func $loop7 (param $n i32) (local $sum i32)
    (loop $again
      (local.set $sum (i32.add (local.get $sum) (call $typed_suspended (i32.const 1) (i32.const 2))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (i32.store (i32.const 1024) (local.get $sum)))
  (func $serve (param $what i32) (param $n i32)
    (block $7 (block $6 (block $5 (block $4 (block $3 (block $2 (block $1 (block $0
      (br_table $0 $1 $2 $3 $4 $5 $6 $7 (local.get $what)))
      (call $loop0 (local.get $n)) (return))
      (call $loop1 (local.get $n)) (return))
      (call $loop2 (local.get $n)) (return))
      (call $loop3 (local.get $n)) (return))
      (call $loop4 (local.get $n)) (return))
      (call $loop5 (local.get $n)) (return))
      (call $loop6 (local.get $n)) (return))
    (call $loop7 (local.get $n))
    )
  (func $start (export "_start")
    (loop $batch
      (drop (call $read_batch_header (i32.const 0) (i32.const 8) (i32.const 12) (i32.const 16) (i32.const 20)
        (i32.const 24) (i32.const 32) (i32.const 40) (i32.const 48) (i32.const 52)))
      (loop $record
        (if (i32.ge_s (call $read_next_record (i32.const 64) (i32.const 72) (i32.const 80) (i32.const 4096)
              (i32.const 1000)) (i32.const 0))
          (then
            (call $serve (i32.load (i32.const 4098)) (i32.load (i32.const 4102)))
            (br $record))))
      (br $batch))))
