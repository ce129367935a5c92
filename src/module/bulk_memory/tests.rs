//! A divided operation does the same as the original one and can be interrupted.

use super::*;
use crate::module::function_body::MOST_LOCALS;
use crate::module::suspend_points::{self, Origin, Wrappers};
use crate::module::suspend_points::{Changed, Options};
use proptest::prelude::*;
use wasmparser::{Parser, Payload};
use wasmtime::{AsContext as _, Config, Engine, Extern, Instance, Module, Store, Trap, UpdateDeadline, Val};

/// So small that a case has many pieces.
const TINY: PieceSizes = PieceSizes { bytes: 1000, elements: 7 };

/// One function for each operation with three numbers: destination, source or value and length.
const GUEST: &str = r#"(module
    (type $number (func (result i32)))
    (memory (export "memory") 1)
    (table $main (export "main") 100 200 funcref)
    (table $side (export "side") 60 funcref)
    (table $typed (export "typed") 50 (ref null $number))
    (table $few 5 5 funcref)
    (data $bytes "@passive")
    (data $early (i32.const 3000) "@active")
    (data $behind "@passive")
    (elem $functions func $zero $one $two $one $one $zero $two $two $one $zero $zero $one $two $one $one $two $two $zero)
    (elem $active (table $main) (i32.const 3) func $one $two)
    (elem $null funcref (ref.null func) (ref.func $two) (ref.null func) (ref.func $one) (ref.null func)
        (ref.func $one) (ref.null func) (ref.func $zero) (ref.func $two))
    (elem declare func $zero $one $two)
    (func $zero (type $number) (i32.const 0))
    (func $one (type $number) (i32.const 1))
    (func $two (type $number) (i32.const 2))
    (func $function (param i32) (result (ref null $number))
        (if (i32.eqz (i32.and (local.get 0) (i32.const 3))) (then (return (ref.null $number))))
        (if (i32.and (local.get 0) (i32.const 1)) (then (return (ref.func $one))))
        (ref.func $two))
    (func (export "memory.fill") (param i32 i32 i32) (memory.fill (local.get 0) (local.get 1) (local.get 2)))
    (func (export "memory.copy") (param i32 i32 i32) (local i64 f32)
        (memory.copy (local.get 0) (local.get 1) (local.get 2)))
    (func (export "memory.init") (param i32 i32 i32) (memory.init $bytes (local.get 0) (local.get 1) (local.get 2)))
    (func (export "memory.init behind") (param i32 i32 i32)
        (memory.init $behind (local.get 0) (local.get 1) (local.get 2)))
    (func (export "memory.init active") (param i32 i32 i32)
        (memory.init $early (local.get 0) (local.get 1) (local.get 2)))
    (func (export "table.fill") (param i32 i32 i32)
        (table.fill $main (local.get 0) (call $function (local.get 1)) (local.get 2)))
    (func (export "table.fill typed") (param i32 i32 i32)
        (table.fill $typed (local.get 0) (call $function (local.get 1)) (local.get 2)))
    (func (export "table.fill few") (param i32 i32 i32)
        (table.fill $few (local.get 0) (call $function (local.get 1)) (local.get 2)))
    (func (export "table.copy") (param i32 i32 i32)
        (table.copy $main $main (local.get 0) (local.get 1) (local.get 2)))
    (func (export "table.copy there") (param i32 i32 i32)
        (table.copy $side $main (local.get 0) (local.get 1) (local.get 2)))
    (func (export "table.copy typed") (param i32 i32 i32)
        (table.copy $main $typed (local.get 0) (local.get 1) (local.get 2)))
    (func (export "table.init") (param i32 i32 i32)
        (table.init $main $functions (local.get 0) (local.get 1) (local.get 2)))
    (func (export "table.init side") (param i32 i32 i32)
        (table.init $side $null (local.get 0) (local.get 1) (local.get 2)))
    (func (export "table.init active") (param i32 i32 i32)
        (table.init $main $active (local.get 0) (local.get 1) (local.get 2)))
    (func (export "data.drop") (param i32 i32 i32) (data.drop $bytes) (data.drop $early))
    (func (export "elem.drop") (param i32 i32 i32) (elem.drop $functions))
    (func (export "table.grow") (param i32 i32 i32)
        (drop (table.grow $main (ref.null func) (i32.and (local.get 2) (i32.const 15))))))"#;

/// Bytes of its data segments.
const SEGMENT: u32 = 5300;
const SIZE: u32 = 1 << 16;

/// The guest with long segments.
fn guest() -> String {
    let bytes = |salt: u32| (0..SEGMENT).map(|i| format!("\\{:02x}", (i * salt + i / 251) as u8)).collect::<String>();
    GUEST.replace("@passive", &bytes(7)).replace("@active", &bytes(11))
}

/// The rewritten module, which must be valid, or the module itself.
fn divided_by(module: &str, sizes: PieceSizes) -> (Vec<u8>, Option<Wrappers>) {
    let module = wat::parse_str(module).unwrap();
    wasmparser::validate(&module).unwrap();
    let changed = suspend_points::add_with(&module, suspend_points::own, Options::default(), sizes).unwrap();
    let Some(Changed { module: out, wrappers, .. }) = changed else {
        return (module, None);
    };
    wasmparser::validate(&out).unwrap();
    (out, Some(wrappers))
}

fn divided(module: &str) -> (Vec<u8>, Option<Wrappers>) {
    divided_by(module, PIECES)
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

fn engine() -> Engine {
    Engine::new(Config::new().epoch_interruption(true)).unwrap()
}

type Triple = (u32, u32, u32);

/// An instance of a module in plain Wasmtime.
struct Guest<T: 'static> {
    store: Store<T>,
    instance: Instance,
}

impl<T: Default> Guest<T> {
    fn new(module: &[u8]) -> Result<Self, Option<Trap>> {
        let engine = engine();
        let module = Module::new(&engine, module).unwrap();
        let mut store = Store::new(&engine, T::default());
        store.set_epoch_deadline(1);
        let instance = Instance::new(&mut store, &module, &[]).map_err(|error| error.downcast_ref().copied())?;
        Ok(Self { instance, store })
    }

    /// Returns the trap if there is one.
    fn run(&mut self, operation: &str, operands: Triple) -> Option<Trap> {
        let function = self.instance.get_typed_func::<Triple, ()>(&mut self.store, operation).unwrap();
        function.call(&mut self.store, operands).err().map(|error| *error.downcast_ref().unwrap())
    }

    fn memory(&mut self) -> &mut [u8] {
        let memory = self.instance.get_memory(&mut self.store, "memory").unwrap();
        memory.data_mut(&mut self.store)
    }

    /// Fills the whole memory with bytes that do not repeat.
    fn scribble(&mut self, seed: u64) {
        let mut state = seed;
        for word in self.memory().as_chunks_mut::<8>().0 {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            *word = state.to_le_bytes();
        }
    }

    /// What the function in each element of each table returns.
    fn tables(&mut self) -> Vec<Option<i32>> {
        let mut numbers = Vec::new();
        for name in ["main", "side", "typed"] {
            let Some(Extern::Table(table)) = self.instance.get_export(&mut self.store, name) else { continue };
            for i in 0..table.size(&self.store) {
                let element = table.get(&mut self.store, i).unwrap();
                numbers.push(element.as_func().unwrap().copied().map(|function| {
                    let mut result = [Val::I32(0)];
                    function.call(&mut self.store, &[], &mut result).unwrap();
                    result[0].unwrap_i32()
                }));
            }
        }
        numbers
    }
}

/// Near a boundary of a piece, a segment, a table or the memory or anywhere.
fn number(operation: &str) -> BoxedStrategy<u32> {
    let (piece, sizes) = match operation.starts_with("memory") {
        true => (TINY.bytes, &[SEGMENT, SIZE][..]),
        false => (TINY.elements, &[100, 60, 50, 18, 9][..]),
    };
    let near = (0..6_u32, -2..3_i32).prop_map(move |(pieces, off)| (pieces * piece).wrapping_add_signed(off));
    let end = (prop::sample::select(sizes), -2..3_i32).prop_map(|(end, off)| end.wrapping_add_signed(off));
    prop_oneof![4 => near, 2 => end, 4 => 0..sizes[0], 1 => any::<u32>()].boxed()
}

const OPERATIONS: [&str; 17] = [
    "memory.fill",
    "memory.copy",
    "memory.init",
    "memory.init behind",
    "memory.init active",
    "table.fill",
    "table.fill typed",
    "table.fill few",
    "table.copy",
    "table.copy there",
    "table.copy typed",
    "table.init",
    "table.init side",
    "table.init active",
    "data.drop",
    "elem.drop",
    "table.grow",
];

fn step() -> impl Strategy<Value = (&'static str, Triple)> {
    // Dropping and growing change what comes later. So they are rare.
    let operation =
        prop_oneof![30 => prop::sample::select(&OPERATIONS[..14]), 1 => prop::sample::select(&OPERATIONS[14..])];
    operation.prop_flat_map(|name| (Just(name), (number(name), number(name), number(name))))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn what_is_divided_does_the_same(steps in prop::collection::vec(step(), 150)) {
        let mut plain = Guest::<()>::new(&wat::parse_str(guest()).unwrap()).unwrap();
        let mut divided = Guest::<()>::new(&divided_by(&guest(), TINY).0).unwrap();
        prop_assert!(plain.memory() == divided.memory(), "the active segments");
        for (operation, operands) in steps {
            if operation.starts_with("memory") {
                let seed = u64::from(operands.0 ^ operands.2);
                plain.scribble(seed);
                divided.scribble(seed);
            }
            let [expected, trap] = [&mut plain, &mut divided].map(|guest| guest.run(operation, operands));
            prop_assert_eq!(expected, trap, "{} {:?}", operation, operands);
            prop_assert!(plain.memory() == divided.memory(), "{operation} {operands:?}");
            if !operation.starts_with("memory") {
                prop_assert_eq!(plain.tables(), divided.tables(), "{} {:?}", operation, operands);
            }
        }
    }
}

#[test]
fn each_long_operation_gets_a_function_and_no_other() {
    let (_, wrappers) = divided_by(&guest(), TINY);
    let names: Vec<_> = wrappers.unwrap().bulk_operations.iter().map(|&code| name(code).unwrap()).collect();
    // Two data segments, two tables to fill, three pairs to copy, two segments of elements. Neither the table of five
    // nor active segments are long.
    let expected = [
        ("memory.fill", 1),
        ("memory.copy", 1),
        ("memory.init", 2),
        ("table.fill", 2),
        ("table.copy", 3),
        ("table.init", 2),
    ];
    assert_eq!(names, expected.iter().flat_map(|&(name, count)| vec![name; count]).collect::<Vec<_>>());
}

#[test]
fn overlapping_copies_and_those_up_to_the_very_end_are_right() {
    let by = 1000;
    let all = SIZE - by;
    let piece = TINY.bytes;
    for (operation, operands, traps) in [
        ("memory.copy", (by, 0, all), false),
        ("memory.copy", (0, by, all), false),
        ("memory.copy", (0, 0, SIZE), false),
        ("memory.copy", (by + 1, 0, all), true),
        ("memory.copy", (0, by + 1, all), true),
        ("memory.copy", (1, u32::MAX, piece + 1), true),
        ("memory.copy", (0, 0, u32::MAX), true),
        ("memory.fill", (0, 7, SIZE), false),
        ("memory.fill", (1, 7, SIZE), true),
        ("memory.fill", (u32::MAX, 7, u32::MAX), true),
        ("memory.fill", (SIZE, 7, 0), false),
        ("memory.fill", (SIZE + 1, 7, 0), true),
        ("memory.fill", (0, 0x1ff, piece + 1), false),
        ("memory.init", (9, 0, SEGMENT), false),
        ("memory.init", (9, 1, SEGMENT), true),
        ("memory.init", (SIZE - SEGMENT, 0, SEGMENT), false),
        ("memory.init", (SIZE - SEGMENT + 1, 0, SEGMENT), true),
        ("memory.init active", (0, 0, 0), false),
        ("memory.init active", (0, 0, 2 * piece), true),
        ("table.copy", (9, 0, 91), false),
        ("table.copy", (0, 9, 91), false),
        ("table.copy", (10, 0, 91), true),
        ("table.copy", (0, 10, 91), true),
        ("table.copy there", (0, 40, 60), false),
        ("table.copy there", (1, 40, 60), true),
        ("table.copy there", (0, 41, 60), true),
        ("table.fill", (0, 1, 100), false),
        ("table.fill", (1, 1, 100), true),
        ("table.init", (82, 0, 18), false),
        ("table.init", (83, 0, 18), true),
        ("table.init", (0, 1, 18), true),
    ] {
        let mut plain = Guest::<()>::new(&wat::parse_str(guest()).unwrap()).unwrap();
        let mut divided = Guest::<()>::new(&divided_by(&guest(), TINY).0).unwrap();
        for guest in [&mut plain, &mut divided] {
            guest.scribble(1);
            assert_eq!(guest.run("table.init", (20, 2, 16)), None);
            assert_eq!(guest.run("table.init", (90, 1, 9)), None);
        }
        let before = (divided.memory().to_vec(), divided.tables());
        let trap = divided.run(operation, operands);
        assert_eq!(plain.run(operation, operands), trap, "{operation} {operands:?}");
        let after = (divided.memory().to_vec(), divided.tables());
        assert!((plain.memory().to_vec(), plain.tables()) == after, "{operation} {operands:?}");
        assert_eq!(trap.is_some(), traps, "{operation} {operands:?}");
        assert!(!traps || before == after, "{operation} {operands:?} wrote before it trapped");
    }
}

#[test]
fn the_epoch_is_looked_at_between_the_pieces() {
    const LENGTH: u32 = 2 * TINY.bytes + 10;
    const BEHIND: u32 = LENGTH + 10;
    for (operation, operands, pieces) in [
        ("memory.fill", (0, 1, LENGTH), 3),
        ("memory.copy", (0, BEHIND, LENGTH), 3),
        ("memory.copy", (BEHIND, 0, LENGTH), 3),
        ("memory.init", (0, 0, LENGTH), 3),
        ("memory.init behind", (0, 0, LENGTH), 3),
        ("table.fill", (0, 1, 16), 3),
        ("table.fill typed", (0, 1, 16), 3),
        ("table.copy", (0, 40, 16), 3),
        ("table.copy", (50, 40, 16), 3),
        ("table.copy there", (0, 40, 16), 3),
        ("table.init", (0, 0, 16), 3),
    ] {
        // A look at the epoch counts if memory or tables have changed since the one before.
        let looks = |module: &[u8]| {
            let mut guest = Guest::<(Option<Instance>, Vec<u64>)>::new(module).unwrap();
            guest.scribble(2);
            assert_eq!(guest.run("table.init", (40, 0, 17)), None);
            guest.store.data_mut().0 = Some(guest.instance);
            guest.store.set_epoch_deadline(0);
            guest.store.epoch_deadline_callback(|mut store| {
                let instance = store.data().0.unwrap();
                let memory = instance.get_memory(&mut store, "memory").unwrap();
                let mut content = memory.data(store.as_context()).to_vec();
                for name in ["main", "side", "typed"] {
                    let table = instance.get_table(&mut store, name).unwrap();
                    for i in 0..table.size(&store) {
                        content.push(table.get(&mut store, i).unwrap().as_func().unwrap().is_some().into());
                    }
                }
                use std::hash::{DefaultHasher, Hash as _, Hasher as _};
                let mut hasher = DefaultHasher::new();
                content.hash(&mut hasher);
                store.data_mut().1.push(hasher.finish());
                Ok(UpdateDeadline::Continue(0))
            });
            assert_eq!(guest.run(operation, operands), None);
            let mut seen = guest.store.data().1.clone();
            seen.dedup();
            seen.len()
        };
        assert_eq!(looks(&divided_by(&guest(), TINY).0), pieces, "{operation}");
        // What is seen before it: nothing has changed.
        assert_eq!(looks(&wat::parse_str(guest()).unwrap()), 1, "{operation}");
    }
}

#[test]
fn constant_lengths_of_at_most_a_piece_stay_as_they_are() {
    let module = |bytes: u32, elements: u32| {
        format!(
            "(module (memory 9) (table $t 9 funcref)
                (func (param i32) (memory.fill (local.get 0) (i32.const 1) (i32.const {bytes})))
                (func (memory.copy (i32.const 0) (block (result i32) (i32.const 2)) (i32.const {bytes})))
                (func (table.copy $t $t (i32.const 0) (i32.const 2) (i32.const {elements}))))"
        )
    };
    for (bytes, elements) in [(0, 0), (1, 1), (128, 128), (PIECES.bytes, PIECES.elements)] {
        assert_eq!(divided(&module(bytes, elements)).1, None, "{bytes}");
    }
    for (bytes, elements) in [(PIECES.bytes + 1, PIECES.elements + 1), (u32::MAX, u32::MAX)] {
        let (out, wrappers) = divided(&module(bytes, elements));
        assert_eq!(wrappers, Some(Wrappers { first: 3, imports: vec![], bulk_operations: vec![11, 10, 14] }));
        let all = operators(&out);
        for (function, name, call) in [(0, "MemoryFill", 3), (1, "MemoryCopy", 4), (2, "TableCopy", 5)] {
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
        "(module (table 1 funcref) (func unreachable table.fill 0) (func unreachable table.copy 0 0))",
        // A type that exists already in a group and no type at all.
        "(module (rec (type (func)) (type $three (func (param i32 i32 i32)))) (memory 1)
            (func (type $three) (memory.copy (local.get 0) (local.get 1) (local.get 2))))",
        r#"(module (import "a" "f" (func)) (import "a" "memory" (memory 1)) (global i32 (i32.const 4))
            (func (memory.fill (i32.const 0) (i32.const 0) (global.get 0))))"#,
        // Tables that are imported come first.
        r#"(module (import "a" "table" (table 1 externref)) (table 1 funcref)
            (func (param externref i32) (table.fill 0 (i32.const 0) (local.get 0) (local.get 1)))
            (func (param i32) (table.fill 1 (i32.const 0) (ref.null func) (local.get 0))))"#,
        // Elements that are never null.
        "(module (type $t (func)) (table 1 (ref $t) (ref.func $f)) (func $f (type $t))
            (func (param i32) (table.fill 0 (i32.const 0) (ref.func $f) (local.get 0))))",
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
    assert!(operators(&out)[0].contains(&"Call { function_index: 4 }".into()));
    assert_eq!(wrappers.unwrap().origin(4), Origin::BulkOperation("memory.copy"));
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
    assert!(suspend_points::add(&longer, suspend_points::own, Options::default()).unwrap().is_some());
}

#[test]
fn long_active_segments_become_several_and_a_start_is_the_same() {
    let bytes =
        |salt: u32, count: u32| (0..count).map(|i| format!("\\{:02x}", (i * salt + i / 251) as u8)).collect::<String>();
    let (first, second) = (bytes(3, 3 * TINY.bytes), bytes(5, TINY.bytes + 1));
    for offset in ["(i32.const 40000)", "(global.get $at)", "(i32.add (global.get $at) (i32.const 20))"] {
        for (second_at, traps) in [(40_100_u32, false), (65_000, true), (u32::MAX - 10, true)] {
            let module = format!(
                r#"(module (memory (export "memory") 1) (global $at i32 (i32.const 40000))
                    (data {offset} "{first}") (data (i32.const {second_at}) "{second}") (data $empty (i32.const 7) "")
                    (data $passive "abc") (data $last (i32.const 45) "xyz")
                    (func (export "init") (memory.init $passive (i32.const 9) (i32.const 0) (i32.const 3))
                        (data.drop $passive) (data.drop $last) (data.drop $empty)))"#
            );
            let mut guests = [wat::parse_str(&module).unwrap(), divided_by(&module, TINY).0].map(|module| {
                let mut guest = Guest::<()>::new(&module)?;
                let init = guest.instance.get_typed_func::<(), ()>(&mut guest.store, "init").unwrap();
                init.call(&mut guest.store, ()).unwrap();
                Ok::<_, Option<Trap>>(guest.memory().to_vec())
            });
            assert_eq!(guests[0].is_err(), traps, "{module}");
            let [plain, divided] = &mut guests;
            assert!(plain == divided, "{offset} {second_at}");
        }
    }
    let names = |module: &[u8]| {
        let mut sizes = Vec::new();
        for payload in Parser::new(0).parse_all(module) {
            if let Payload::DataSection(data) = payload.unwrap() {
                sizes.extend(data.into_iter().map(|data| data.unwrap().data.len()));
            }
        }
        sizes
    };
    let module =
        format!(r#"(module (memory 1) (data (i32.const 0) "{first}") (data "{first}") (data (i32.const 0) "a"))"#);
    assert_eq!(names(&divided_by(&module, TINY).0), [1000, 1000, 1000, 3000, 1]);
    // Nothing to do.
    assert_eq!(divided(&module).1, None);
}
