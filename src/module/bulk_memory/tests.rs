//! A divided operation does the same as the original one and can be interrupted.

use super::*;
use crate::module::suspend_points::{self, Origin, Wrappers};
use proptest::prelude::*;
use wasmparser::{Parser, Payload};
use wasmtime::{AsContext as _, Config, Engine, Instance, Memory, Module, Store, Trap, TypedFunc, UpdateDeadline};

const GUEST: &str = r#"(module
    (memory (export "memory") 9)
    (func (export "fill") (param i32 i32 i32) (memory.fill (local.get 0) (local.get 1) (local.get 2)))
    (func (export "copy") (param i32 i32 i32) (local i64 f32)
        (memory.copy (local.get 0) (local.get 1) (local.get 2))))"#;
const SIZE: u32 = 9 << 16;

/// The rewritten module, which must be valid, or the module itself.
fn divided(module: &str) -> (Vec<u8>, Option<Wrappers>) {
    let module = wat::parse_str(module).unwrap();
    wasmparser::validate(&module).unwrap();
    let Some((out, wrappers)) = suspend_points::add(&module, suspend_points::own).unwrap() else {
        return (module, None);
    };
    wasmparser::validate(&out).unwrap();
    (out, Some(wrappers))
}

/// The operators of each function as text.
fn operators(module: &[u8]) -> Vec<Vec<String>> {
    let body = |payload| match payload {
        Payload::CodeSectionEntry(body) => Some(body),
        _ => None,
    };
    let text = |body: FunctionBody<'_>| {
        body.get_operators_reader().unwrap().into_iter().map(|op| format!("{:?}", op.unwrap())).collect()
    };
    Parser::new(0).parse_all(module).filter_map(|payload| body(payload.unwrap())).map(text).collect()
}

type Triple = (u32, u32, u32);

struct Guest<T: 'static> {
    store: Store<T>,
    memory: Memory,
    fill: TypedFunc<Triple, ()>,
    copy: TypedFunc<Triple, ()>,
}

impl<T: Default> Guest<T> {
    fn new(module: &[u8]) -> Self {
        let engine = Engine::new(Config::new().epoch_interruption(true)).unwrap();
        let module = Module::new(&engine, module).unwrap();
        let mut store = Store::new(&engine, T::default());
        store.set_epoch_deadline(1);
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let [fill, copy] = ["fill", "copy"].map(|name| instance.get_typed_func(&mut store, name).unwrap());
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        Self { memory, fill, copy, store }
    }

    /// Returns the trap if there is one.
    fn run(&mut self, operation: BulkOperation, operands: Triple) -> Option<Trap> {
        let function = match operation {
            BulkOperation::Fill => &self.fill,
            BulkOperation::Copy => &self.copy,
        };
        function.call(&mut self.store, operands).err().map(|error| *error.downcast_ref().unwrap())
    }

    /// Fills the whole memory with bytes that do not repeat.
    fn scribble(&mut self, seed: u64) {
        let mut state = seed;
        for word in self.memory.data_mut(&mut self.store).as_chunks_mut::<8>().0 {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            *word = state.to_le_bytes();
        }
    }
}

/// Near a boundary (of a piece, of several, of the memory, of 32 bits) or anywhere.
fn number() -> impl Strategy<Value = u32> {
    let near = (0..6_u32, -2..3_i32).prop_map(|(pieces, off)| (pieces * PIECE).wrapping_add_signed(off));
    let end = (-2..3_i32).prop_map(|off| SIZE.wrapping_add_signed(off));
    prop_oneof![4 => near, 1 => end, 4 => 0..SIZE, 1 => any::<u32>()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn what_is_divided_does_the_same(cases in prop::collection::vec((any::<bool>(), number(), number(), number()), 100)) {
        let mut plain = Guest::<()>::new(&wat::parse_str(GUEST).unwrap());
        let mut divided = Guest::<()>::new(&divided(GUEST).0);
        for (fill, dst, other, length) in cases {
            let operation = if fill { BulkOperation::Fill } else { BulkOperation::Copy };
            let seed = u64::from(dst ^ length);
            plain.scribble(seed);
            divided.scribble(seed);
            let operands = (dst, other, length);
            prop_assert_eq!(plain.run(operation, operands), divided.run(operation, operands), "{:?}", operands);
            let same = plain.memory.data(&plain.store) == divided.memory.data(&divided.store);
            prop_assert!(same, "{operation:?} {operands:?}");
        }
    }
}

#[test]
fn overlapping_copies_and_those_up_to_the_very_end_are_right() {
    let mut plain = Guest::<()>::new(&wat::parse_str(GUEST).unwrap());
    let mut divided = Guest::<()>::new(&divided(GUEST).0);
    let by = 1000;
    let all = SIZE - by;
    for (operation, operands, traps) in [
        (BulkOperation::Copy, (by, 0, all), false),
        (BulkOperation::Copy, (0, by, all), false),
        (BulkOperation::Copy, (0, 0, SIZE), false),
        (BulkOperation::Copy, (by + 1, 0, all), true),
        (BulkOperation::Copy, (0, by + 1, all), true),
        (BulkOperation::Copy, (1, u32::MAX, PIECE + 1), true),
        (BulkOperation::Copy, (0, 0, u32::MAX), true),
        (BulkOperation::Fill, (0, 7, SIZE), false),
        (BulkOperation::Fill, (1, 7, SIZE), true),
        (BulkOperation::Fill, (u32::MAX, 7, u32::MAX), true),
        (BulkOperation::Fill, (SIZE, 7, 0), false),
        (BulkOperation::Fill, (SIZE + 1, 7, 0), true),
        (BulkOperation::Fill, (0, 0x1ff, PIECE + 1), false),
    ] {
        plain.scribble(1);
        divided.scribble(1);
        let before = divided.memory.data(&divided.store).to_vec();
        assert_eq!(plain.run(operation, operands), divided.run(operation, operands), "{operation:?} {operands:?}");
        let after = divided.memory.data(&divided.store);
        assert!(plain.memory.data(&plain.store) == after, "{operation:?} {operands:?}");
        assert!(!traps || before == after, "{operation:?} {operands:?} wrote before it trapped");
    }
}

#[test]
fn the_epoch_is_looked_at_between_the_pieces() {
    const LENGTH: u32 = 2 * PIECE + 10;
    const BEHIND: u32 = LENGTH + 10;
    /// Where an operation writes ones and how many there were at each epoch check.
    #[derive(Default)]
    struct Looks(Option<Memory>, usize, Vec<usize>);
    for (operation, operands, ones) in [
        (BulkOperation::Fill, (0, 1, LENGTH), SIZE),
        (BulkOperation::Copy, (0, BEHIND, LENGTH), BEHIND),
        (BulkOperation::Copy, (BEHIND, 0, LENGTH), 0),
    ] {
        let mut guest = Guest::<Looks>::new(&divided(GUEST).0);
        let content = guest.memory.data_mut(&mut guest.store);
        content[ones as usize..].iter_mut().take(LENGTH as usize).for_each(|byte| *byte = 1);
        *guest.store.data_mut() = Looks(Some(guest.memory), operands.0 as usize, Vec::new());
        guest.store.set_epoch_deadline(0);
        guest.store.epoch_deadline_callback(|mut store| {
            let &Looks(memory, begin, _) = store.data();
            let written = &memory.unwrap().data(store.as_context())[begin..][..LENGTH as usize];
            let count = written.iter().filter(|&&byte| byte == 1).count();
            store.data_mut().2.push(count);
            Ok(UpdateDeadline::Continue(0))
        });
        assert_eq!(guest.run(operation, operands), None);
        let mut seen = guest.store.data().2.clone();
        seen.dedup();
        assert_eq!(seen, [0, PIECE as usize, 2 * PIECE as usize], "{operation:?}");
    }
}

#[test]
fn constant_lengths_of_at_most_a_piece_stay_as_they_are() {
    let module = |length: u32| {
        format!(
            "(module (memory 9) (func (param i32) (memory.fill (local.get 0) (i32.const 1) (i32.const {length})))
                (func (memory.copy (i32.const 0) (block (result i32) (i32.const 2)) (i32.const {length}))))"
        )
    };
    for length in [0, 1, 128, PIECE] {
        assert_eq!(divided(&module(length)).1, None, "{length}");
    }
    for length in [PIECE + 1, u32::MAX] {
        let (out, wrappers) = divided(&module(length));
        assert_eq!(wrappers, Some(Wrappers { first: 2, imports: vec![], bulk_memory: true }));
        let all = operators(&out);
        for (function, name, call) in [(0, "MemoryFill", 2), (1, "MemoryCopy", 3)] {
            let calls = format!("Call {{ function_index: {call} }}");
            assert!(all[function].iter().any(|operator| operator.starts_with(name)), "{:?}", all[function]);
            assert!(all[function].contains(&calls), "{:?}", all[function]);
        }
    }
    // Next to a divided operation too.
    let both = "(module (memory 9) (func (param i32)
        (memory.fill (i32.const 0) (i32.const 0) (i32.const 64)) (memory.fill (i32.const 0) (i32.const 0) (local.get 0))))";
    let (out, _) = divided(both);
    let fill = operators(&out)[0].iter().position(|operator| operator.starts_with("MemoryFill"));
    assert_eq!(fill, Some(3), "{:?}", operators(&out)[0]);
}

#[test]
fn a_constant_is_the_length_only_right_before_the_operation() {
    for body in [
        "(memory.fill (i32.const 0) (i32.const 0) (block (result i32) (i32.const 8)))",
        "(memory.fill (i32.const 0) (i32.const 0) (if (result i32) (local.get 0) (then (local.get 0)) (else (i32.const 8))))",
        "(memory.fill (i32.const 0) (i32.const 8) (local.get 0))",
    ] {
        assert!(divided(&format!("(module (memory 9) (func (param i32) {body}))")).1.is_some(), "{body}");
    }
}

#[test]
fn odd_modules_stay_valid() {
    for module in [
        // The stack holds nothing that could be kept.
        "(module (memory 1) (func unreachable memory.fill) (func unreachable memory.copy))",
        // A type that exists already in a group and no type at all.
        "(module (rec (type (func)) (type $three (func (param i32 i32 i32)))) (memory 1)
            (func (type $three) (memory.copy (local.get 0) (local.get 1) (local.get 2))))",
        r#"(module (import "a" "f" (func)) (import "a" "memory" (memory 1)) (global i32 (i32.const 4))
            (func (memory.fill (i32.const 0) (i32.const 0) (global.get 0))))"#,
        // With waiting imports.
        r#"(module (type $void (func))
            (import "redpanda_transform" "write_record" (func $write (param i32 i32) (result i32)))
            (memory (export "memory") 1)
            (func (type $void) (memory.fill (i32.const 0) (i32.const 0) (call $write (i32.const 1) (i32.const 2)))))"#,
    ] {
        assert!(divided(module).1.is_some(), "{module}");
    }
    let (out, wrappers) = divided(
        r#"(module (type $void (func))
            (import "redpanda_transform" "write_record" (func $write (param i32 i32) (result i32)))
            (memory (export "memory") 1)
            (func (type $void) (memory.copy (i32.const 0) (i32.const 0) (call $write (i32.const 1) (i32.const 2)))))"#,
    );
    // The import, the guest's function, the wrapper, the suspend point and the function called here.
    assert!(operators(&out)[0].contains(&"Call { function_index: 5 }".into()));
    assert_eq!(wrappers.unwrap().origin(5), Origin::BulkMemory(BulkOperation::Copy));
}

#[test]
fn a_function_without_room_for_a_local_is_divided_too() {
    let full = |locals: u32| {
        let body = "(memory.fill (local.get 0) (local.get 1) (local.get 2))";
        let locals = " i64".repeat(locals as usize);
        let module = format!("(module (memory 9) (func (param i32 i32 i32) (local{locals}) {body}))");
        operators(&divided(&module).0)[0].clone()
    };
    let calls = "Call { function_index: 1 }".to_owned();
    let nearly = full(MOST_LOCALS - 4);
    assert!(nearly.contains(&calls) && nearly.len() > 5, "{nearly:?}");
    let entirely = full(MOST_LOCALS - 3);
    assert!(entirely.contains(&calls) && entirely.len() == 5, "{entirely:?}");
}

#[test]
fn opcodes_in_more_bytes_than_they_need_are_found() {
    let module = wat::parse_str(
        "(module (memory 9) (func (param i32) (memory.fill (i32.const 0) (i32.const 0) (local.get 0)) nop nop))",
    )
    .unwrap();
    let at = module.windows(3).position(|bytes| bytes == [PREFIX, 11, 0]).unwrap();
    let mut longer = module.clone();
    // In place of the two operators behind.
    longer[at..at + 5].copy_from_slice(&[PREFIX, 0x8b, 0x80, 0, 0]);
    wasmparser::validate(&longer).unwrap();
    assert!(suspend_points::add(&longer, suspend_points::own).unwrap().is_some());
}
