(module
  (type $header (func (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "check_abi_version_2" (func $check))
  (import "redpanda_transform" "read_batch_header" (func $header (type $header)))
  (import "redpanda_transform" "read_next_record" (func $next (param i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "write_record" (func $write (param i32 i32) (result i32)))
  (memory (export "memory") 2)
  (func (export "_start") (local $left i32) (local $size i32) (local $room i32)
    (call $check)
    (loop $batches
      (local.set $room (call $header (i32.const 0) (i32.const 8) (i32.const 12) (i32.const 16) (i32.const 20) (i32.const 24) (i32.const 32)
        (i32.const 40) (i32.const 48) (i32.const 52)))
      (if (i32.lt_s (local.get $room) (i32.const 0)) (then unreachable))
      (block $enough
        (loop $grow
          (br_if $enough (i32.le_u (i32.add (local.get $room) (i32.const 1024)) (i32.shl (memory.size) (i32.const 16))))
          (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable))
          (br $grow)))
      (local.set $left (i32.load (i32.const 8)))
      (loop $records
        (if (i32.gt_s (local.get $left) (i32.const 0))
          (then
            (local.set $size (call $next (i32.const 56) (i32.const 64) (i32.const 72) (i32.const 1024) (local.get $room)))
            (if (i32.lt_s (local.get $size) (i32.const 0)) (then unreachable))
            (if (i32.lt_s (call $write (i32.const 1024) (local.get $size)) (i32.const 0)) (then unreachable))
            (local.set $left (i32.sub (local.get $left) (i32.const 1)))
            (br $records))))
      (br $batches))))
