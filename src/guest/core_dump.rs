//! The core dump of a failed guest: its memory, globals and stack in WebAssembly's format for core dumps
//! (<https://github.com/WebAssembly/tool-conventions/blob/main/Coredump.md>).

use crate::base::error::CoreDump;
use crate::batch::fallible;
use crate::module::suspend_points::{Origin, Wrappers};
use core::num::NonZeroUsize;
use wasm_encoder::{
    ConstExpr, CoreDumpInstancesSection, CoreDumpModulesSection, CoreDumpSection, CoreDumpStackSection, Encode as _,
    GlobalSection, GlobalType, HeapType, MemorySection, MemoryType, Section, SectionId, ValType,
};
use wasmtime::{Error, Memory, Mutability, Store, Val, WasmCoreDump};

/// The most frames that a dump has. The innermost ones are kept. Wasmtime takes 0.6 µs for each in one call.
pub const MOST_FRAMES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(999);

/// Bytes of the largest memory that is dumped. Sections have 32-bit sizes.
const LARGEST_MEMORY: usize = 1 << 30;

/// Each data segment is within one such range. Zeros at its ends are left out.
const RANGE: usize = 4096;

/// Bytes of memory between two pauses. Some 40 µs of work.
const STEP: usize = 128 << 10;

/// Bytes of a segment beside its content at most.
const SEGMENT_HEAD: usize = 16;

/// A dump of the guest in `store`, which failed with `error`. None if dumps are off, if the guest exited without a
/// failure or before it was instantiated, if its memory is larger than 1 GiB or if there is no memory for the dump.
/// `name` is the transform's. `pause` is called often and may suspend.
pub async fn of<T: 'static>(
    store: &mut Store<T>,
    error: &Error,
    name: &str,
    wrappers: &Wrappers,
    pause: impl AsyncFn(),
) -> Option<CoreDump> {
    let dump = error.downcast_ref::<WasmCoreDump>()?;
    if error.downcast_ref::<wasmtime_wasi::I32Exit>().is_some_and(|exit| exit.0 == 0) {
        return None;
    }
    // A guest has one memory and is one instance.
    let memory = dump.memories().first().copied();
    if memory.is_some_and(|memory| memory.data_size(&*store) > LARGEST_MEMORY) {
        return None;
    }
    let mut head = wasm_encoder::Module::new();
    head.section(&CoreDumpSection::new(name));
    let mut memories = MemorySection::new();
    if let Some(memory) = memory {
        let (minimum, maximum) = (memory.size(&*store), memory.ty(&*store).maximum());
        memories.memory(MemoryType { minimum, maximum, memory64: false, shared: false, page_size_log2: None });
    }
    head.section(&memories).section(&globals(dump, store));
    let tail = tail(dump, wrappers);

    let mut bytes = head.finish();
    let (segments, content) = match memory {
        Some(memory) => measure(store, memory, &pause).await,
        None => (0, 0),
    };
    let size = padded_size(content + PADDED);
    fallible::reserve_exact(&mut bytes, 1 + PADDED + content + PADDED + tail.len()).ok()?;
    bytes.push(SectionId::Data.into());
    bytes.extend(size);
    bytes.extend(padded_size(segments));
    if let Some(memory) = memory {
        for at in (0..memory.data_size(&*store)).step_by(STEP) {
            for_segments(&memory.data(&*store)[at..], |offset, content| {
                0_u32.encode(&mut bytes);
                ConstExpr::i32_const((at + offset) as i32).encode(&mut bytes);
                content.encode(&mut bytes);
            });
            pause().await;
        }
    }
    bytes.extend(tail);
    Some(CoreDump::new(bytes))
}

/// Segments of a memory's content and their encoded bytes.
async fn measure<T: 'static>(store: &Store<T>, memory: Memory, pause: &impl AsyncFn()) -> (usize, usize) {
    let (mut segments, mut bytes) = (0, 0);
    let mut head = Vec::with_capacity(SEGMENT_HEAD);
    for at in (0..memory.data_size(store)).step_by(STEP) {
        for_segments(&memory.data(store)[at..], |offset, content| {
            head.clear();
            0_u32.encode(&mut head);
            ConstExpr::i32_const((at + offset) as i32).encode(&mut head);
            (content.len() as u32).encode(&mut head);
            segments += 1;
            bytes += head.len() + content.len();
        });
        pause().await;
    }
    (segments, bytes)
}

/// The parts of the first bytes that are not zero, with their offsets.
fn for_segments(memory: &[u8], mut found: impl FnMut(usize, &[u8])) {
    for (range, start) in memory[..memory.len().min(STEP)].chunks(RANGE).zip((0..).step_by(RANGE)) {
        if let (Some(first), Some(last)) = (range.iter().position(|&b| b != 0), range.iter().rposition(|&b| b != 0)) {
            found(start + first, &range[first..=last]);
        }
    }
}

/// Bytes of a number in LEB128 that is not as short as it could be.
const PADDED: usize = 5;

fn padded_size(number: usize) -> [u8; PADDED] {
    core::array::from_fn(|i| {
        let bits = (number >> (7 * i)) as u8 & 0x7f;
        if i + 1 < PADDED { bits | 0x80 } else { bits }
    })
}

/// The globals with their values. References are null.
fn globals<T: 'static>(dump: &WasmCoreDump, store: &mut Store<T>) -> GlobalSection {
    let mut globals = GlobalSection::new();
    for global in dump.globals() {
        let mutable = global.ty(&*store).mutability() == Mutability::Var;
        let (val_type, value) = match global.get(&mut *store) {
            Val::I32(value) => (ValType::I32, ConstExpr::i32_const(value)),
            Val::I64(value) => (ValType::I64, ConstExpr::i64_const(value)),
            Val::F32(bits) => (ValType::F32, ConstExpr::f32_const(f32::from_bits(bits).into())),
            Val::F64(bits) => (ValType::F64, ConstExpr::f64_const(f64::from_bits(bits).into())),
            Val::V128(value) => (ValType::V128, ConstExpr::v128_const(value.as_u128() as i128)),
            _ => (ValType::FUNCREF, ConstExpr::ref_null(HeapType::FUNC)),
        };
        globals.global(GlobalType { val_type, mutable, shared: false }, &value);
    }
    globals
}

/// What comes after the memory: modules, instances and the stack with the names and indices of the original module.
fn tail(dump: &WasmCoreDump, wrappers: &Wrappers) -> Vec<u8> {
    let mut modules = CoreDumpModulesSection::new();
    for module in dump.modules() {
        modules.module(module.name().unwrap_or("<anonymous-module-0>"));
    }
    let mut instances = CoreDumpInstancesSection::new();
    for _ in dump.instances() {
        // Without the memories that were added.
        instances.instance(0, 0..dump.memories().len().min(1) as u32, 0..dump.globals().len() as u32);
    }
    let mut stack = CoreDumpStackSection::new("main");
    for frame in dump.frames() {
        let function = match wrappers.origin(frame.func_index()) {
            Origin::Own => frame.func_index(),
            Origin::Import(index, _) => index,
            Origin::SuspendHere | Origin::BulkOperation(_) => continue,
        };
        // Where in a function is not known: code is mostly compiled without a map of its
        // addresses. A map would lead to rewritten code. Nor are its variables.
        stack.frame(0, function, 0, [], []);
    }
    let mut tail = Vec::new();
    modules.append_to(&mut tail);
    instances.append_to(&mut tail);
    stack.append_to(&mut tail);
    tail
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::task::{Context, Poll, Waker};
    use wasmparser::{KnownCustom, Parser, Payload};
    use wasmtime::{Engine, Instance, Module};

    /// The stack's functions in the dump of a guest whose function `inner` traps.
    fn dump(wrappers: &Wrappers, body: &str) -> (Option<CoreDump>, Vec<u32>) {
        let (dump, _, _) = dump_of(2, r#"(data (i32.const 70000) "a secret")"#, wrappers, body);
        let functions = dump.as_ref().map_or(Vec::new(), |dump| sections(dump.bytes()).1);
        (dump, functions)
    }

    /// The dump of a guest with so many pages of memory, the memory and how often there was a pause.
    fn dump_of(pages: u32, data: &str, wrappers: &Wrappers, body: &str) -> (Option<CoreDump>, Vec<u8>, usize) {
        let mut config = wasmtime::Config::new();
        config.coredump_on_trap(true).wasm_backtrace_max_frames(Some(MOST_FRAMES));
        let engine = Engine::new(&config).unwrap();
        let module = format!(
            r#"(module (memory (export "memory") {pages}) (global (mut i64) (i64.const 7))
                {data}
                (func $inner {body})
                (func $middle (call $inner))
                (func $suspend_here (call $middle))
                (func (export "_start") (call $suspend_here)))"#
        );
        let module = Module::new(&engine, wat::parse_str(module).unwrap()).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let start = instance.get_typed_func::<(), ()>(&mut store, "_start").unwrap();
        let error = start.call(&mut store, ()).unwrap_err();
        let pauses = core::cell::Cell::new(0);
        let dump = {
            let pause = async || pauses.set(pauses.get() + 1);
            let dump = core::pin::pin!(of(&mut store, &error, "tested", wrappers, pause));
            let Poll::Ready(dump) = dump.poll(&mut Context::from_waker(Waker::noop())) else { panic!("it waits") };
            dump
        };
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        (dump, memory.data(&store).to_vec(), pauses.get())
    }

    /// Names of sections and the functions of the stack.
    fn sections(dump: &[u8]) -> (Vec<String>, Vec<u32>) {
        let (mut names, mut functions) = (Vec::new(), Vec::new());
        for payload in Parser::new(0).parse_all(dump) {
            match payload.unwrap() {
                Payload::CustomSection(section) => {
                    names.push(section.name().to_owned());
                    match section.as_known() {
                        KnownCustom::CoreDump(core) => assert_eq!(core.name, "tested"),
                        KnownCustom::CoreDumpStack(stack) => {
                            functions.extend(stack.frames.iter().map(|frame| frame.funcidx));
                        }
                        KnownCustom::CoreDumpInstances(instances) => assert_eq!(instances.instances.len(), 1),
                        KnownCustom::CoreDumpModules(modules) => assert_eq!(modules.modules.len(), 1),
                        _ => panic!("what is {}?", section.name()),
                    }
                }
                Payload::MemorySection(memories) => {
                    names.extend(memories.into_iter().map(|memory| format!("memory {}", memory.unwrap().initial)));
                }
                Payload::DataSection(data) => {
                    names.extend(data.into_iter().map(|data| String::from_utf8_lossy(data.unwrap().data).into_owned()));
                }
                _ => {}
            }
        }
        (names, functions)
    }

    #[test]
    fn a_dump_has_memory_and_stack_and_is_read_by_wasmparser() {
        let (dump, functions) = dump(&Wrappers::default(), "unreachable");
        let (names, _) = sections(dump.unwrap().bytes());
        assert_eq!(names, ["core", "memory 2", "a secret", "coremodules", "coreinstances", "corestack"]);
        assert_eq!(functions, [0, 1, 2, 3]);
    }

    #[test]
    fn the_segments_make_the_same_memory_and_there_are_pauses_between_them() {
        const PAGES: u32 = 9;
        // At both ends of ranges and of steps, alone and side by side.
        let places = [0, 1, 4095, 4096, 70_000, 131_071, 131_072, 140_000, 589_823];
        let data: String =
            places.iter().map(|at| format!(r#"(data (i32.const {at}) "\{:02x}")"#, at % 255 + 1)).collect();
        let all = r#"(memory.fill (i32.const 262144) (i32.const 5) (i32.const 200000)) unreachable"#;
        for body in ["unreachable", all] {
            let (dump, memory, pauses) = dump_of(PAGES, &data, &Wrappers::default(), body);
            let mut copy = vec![0; memory.len()];
            for payload in Parser::new(0).parse_all(dump.unwrap().bytes()) {
                let Payload::DataSection(section) = payload.unwrap() else { continue };
                for segment in section {
                    let segment = segment.unwrap();
                    let wasmparser::DataKind::Active { offset_expr, .. } = segment.kind else {
                        panic!("it is passive")
                    };
                    let Ok(wasmparser::Operator::I32Const { value }) = offset_expr.get_operators_reader().read() else {
                        panic!("where is it?")
                    };
                    copy[value as usize..][..segment.data.len()].copy_from_slice(segment.data);
                }
            }
            assert!(copy == memory, "{body}");
            // Once for its size and once for its content.
            assert_eq!(pauses, 2 * memory.len().div_ceil(STEP), "{body}");
        }
    }

    #[test]
    fn what_was_added_to_the_module_is_not_in_the_stack() {
        // As if the last three were a wrapper of import 77, the suspend point and the function that fills memory.
        let wrappers = Wrappers { first: 1, imports: vec![(77, "a.b".into())], bulk_operations: vec![11] };
        let (_, functions) = dump(&wrappers, "unreachable");
        assert_eq!(functions, [0, 77]);
    }
}
