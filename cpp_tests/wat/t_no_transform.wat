;; No transform: functions for Wasmtime's own C API, in the test that has it in the same process.
(module $no_transform
  (import "host" "call" (func $call))
  (memory 1)
  (func (export "divide") (param $by i32) (result i32) (i32.div_s (i32.const 42) (local.get $by)))
  (func (export "load") (param $at i32) (result i32) (i32.load (local.get $at)))
  (func (export "call_host") (param i32) (result i32) (call $call) (local.get 0))
  (func (export "unreachable") (param i32) (result i32) unreachable)
  (func $recurse (export "recurse") (param $depth i32) (result i32)
    (i32.add (i32.const 1) (call $recurse (i32.add (local.get $depth) (i32.const 1))))))
