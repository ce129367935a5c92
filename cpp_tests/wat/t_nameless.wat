;; Without names: loops and writes nothing at the first record, without end.
(module
  (import "redpanda_transform" "check_abi_version_1" (func))
  (import "redpanda_transform" "read_batch_header" (func (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "write_record" (func (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (loop (br_if 0 (i32.eqz (call 2 (i32.const 0) (i32.const 0))))))
  (func (export "_start")
    (loop
      (drop (call 1 (i32.const 0) (i32.const 8) (i32.const 12) (i32.const 16) (i32.const 20)
        (i32.const 24) (i32.const 32) (i32.const 40) (i32.const 48) (i32.const 52)))
      (loop (call 3) (br 0)))))
