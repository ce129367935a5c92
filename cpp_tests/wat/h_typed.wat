;; Calls typed host functions, one for each record, chosen by its first number; tells the result to t.report.
(module $h_typed
  (import "redpanda_transform" "check_abi_version_1" (func))
  (import "redpanda_transform" "read_batch_header"
    (func $read_batch_header (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "read_next_record"
    (func $read_next_record (param i32 i32 i32 i32 i32) (result i32)))
  (import "t" "narrow" (func $narrow (param i32 i32 i32 i32) (result i32)))
  (import "t" "wide" (func $wide (param i64 i64) (result i64)))
  (import "t" "floats" (func $floats (param f32 f64) (result f64)))
  (import "t" "flags" (func $flags (param i32 i32 i64) (result i32)))
  (import "t" "sum" (func $sum (param i32 i32) (result i64)))
  (import "t" "fill" (func $fill (param i32 i32 i32)))
  (import "t" "text" (func $text (param i32 i32) (result i32)))
  (import "t" "out" (func $out (param i32 i32) (result i32)))
  (import "t" "point" (func $point (param i32 i32) (result f64)))
  (import "t" "fixed" (func $fixed (param i32) (result i32)))
  (import "t" "copies" (func $copies (param i32 i32 i32 i32) (result i32)))
  (import "t" "memory" (func $memory (param i32 i32) (result i32)))
  (import "t" "pair" (func $pair (result i32 i64)))
  (import "t" "report" (func $report (param i64)))
  (memory (export "memory") 1)
  (data (i32.const 1024) "hello, host")
  (data (i32.const 2048) "\01\00\00\00\02\00\00\00\03\00\00\00\04\00\00\00")
  (data (i32.const 2064) "\00\00\00\00\00\00\08\40\00\00\00\00\00\00\10\40")   ;; a point: 3.0, 4.0
  (func $serve (param $what i32) (param $x i32)
    (if (i32.eq (local.get $what) (i32.const 0)) (then
      (call $report (i64.extend_i32_s (call $narrow (local.get $x) (i32.const 0) (i32.const 0) (i32.const 0))))))
    (if (i32.eq (local.get $what) (i32.const 1)) (then
      (call $report (i64.extend_i32_s (call $narrow (i32.const 0) (local.get $x) (i32.const 0) (i32.const 0))))))
    (if (i32.eq (local.get $what) (i32.const 2)) (then
      (call $report (i64.extend_i32_s (call $narrow (i32.const 0) (i32.const 0) (local.get $x) (i32.const 0))))))
    (if (i32.eq (local.get $what) (i32.const 3)) (then
      (call $report (i64.extend_i32_s (call $narrow (i32.const 0) (i32.const 0) (i32.const 0) (local.get $x))))))
    (if (i32.eq (local.get $what) (i32.const 4)) (then
      (call $report (call $wide (i64.const -1) (i64.extend_i32_s (local.get $x))))))
    (if (i32.eq (local.get $what) (i32.const 5)) (then
      (call $report (i64.reinterpret_f64 (call $floats (f32.const 0.5) (f64.convert_i32_s (local.get $x)))))))
    (if (i32.eq (local.get $what) (i32.const 6)) (then
      (call $report (i64.extend_i32_s (call $flags (local.get $x) (i32.const 2) (i64.const 3))))))
    (if (i32.eq (local.get $what) (i32.const 7)) (then
      (call $report (call $sum (local.get $x) (i32.const 4)))))
    (if (i32.eq (local.get $what) (i32.const 8)) (then
      (call $report (call $sum (i32.const 2048) (local.get $x)))))
    (if (i32.eq (local.get $what) (i32.const 9)) (then
      (call $fill (i32.const 3000) (i32.const 3) (local.get $x))
      (call $report (i64.load (i32.const 3000)))))
    (if (i32.eq (local.get $what) (i32.const 10)) (then
      (call $report (i64.extend_i32_s (call $text (i32.const 1024) (local.get $x))))))
    ;; At an odd address.
    (if (i32.eq (local.get $what) (i32.const 11)) (then
      (i64.store (i32.const 3001) (i64.const 100))
      (call $report (i64.extend_i32_s (call $out (i32.const 3001) (local.get $x))))
      (call $report (i64.load (i32.const 3001)))))
    (if (i32.eq (local.get $what) (i32.const 12)) (then
      (call $report (i64.extend_i32_s (call $out (local.get $x) (i32.const 1))))))
    (if (i32.eq (local.get $what) (i32.const 13)) (then
      (call $report (i64.trunc_f64_s (call $point (i32.const 2064) (local.get $x))))
      (call $report (i64.trunc_f64_s (f64.load (i32.const 2064))))))
    (if (i32.eq (local.get $what) (i32.const 14)) (then
      (call $report (i64.extend_i32_s (call $fixed (local.get $x))))))
    (if (i32.eq (local.get $what) (i32.const 15)) (then
      (call $report (i64.extend_i32_s (call $copies (i32.const 1024) (i32.const 5) (i32.const 2049) (local.get $x))))))
    (if (i32.eq (local.get $what) (i32.const 16)) (then
      (call $report (i64.extend_i32_s (call $memory (local.get $x) (i32.const 2))))))
    (if (i32.eq (local.get $what) (i32.const 17)) (then
      (call $pair) (call $report) (call $report (i64.extend_i32_s)))))
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
