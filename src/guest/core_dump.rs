//! The core dump of a failed guest: its memory, globals and stack in WebAssembly's format for core dumps
//! (<https://github.com/WebAssembly/tool-conventions/blob/main/Coredump.md>).

use crate::base::error::CoreDump;
use crate::module::suspend_points::{Origin, Wrappers};
use core::num::NonZeroUsize;
use wasm_encoder::{CoreDumpStackSection, Section as _};
use wasmparser::{KnownCustom, Parser, Payload};
use wasmtime::{AsContextMut, Error, WasmCoreDump};

/// The most frames that a dump has. The innermost ones are kept.
pub const MOST_FRAMES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(9_999);

/// Bytes of the largest memory that is dumped. Sections have 32-bit sizes. The dump holds the memory's content twice
/// before it is one piece.
const LARGEST_MEMORY: u64 = 1 << 30;

/// A dump of the guest in `store`, which failed with `error`. None if dumps are off, if the guest exited without a
/// failure or before it was instantiated or if its memory is larger than 1 GiB. `name` is the transform's.
pub fn of(mut store: impl AsContextMut, error: &Error, name: &str, wrappers: &Wrappers) -> Option<CoreDump> {
    let dump = error.downcast_ref::<WasmCoreDump>()?;
    if error.downcast_ref::<wasmtime_wasi::I32Exit>().is_some_and(|exit| exit.0 == 0) {
        return None;
    }
    let memory: usize = dump.memories().iter().map(|memory| memory.data_size(&mut store)).sum();
    if memory as u64 > LARGEST_MEMORY {
        return None;
    }
    let mut bytes = dump.serialize(store, name);
    own_functions(&mut bytes, wrappers);
    Some(CoreDump::new(bytes))
}

/// Replaces the stack, which comes last, by one with the names and indices of the original module.
fn own_functions(dump: &mut Vec<u8>, wrappers: &Wrappers) {
    let mut end = 0;
    let mut stack = None;
    for payload in Parser::new(0).parse_all(dump) {
        let Ok(payload) = payload else { return };
        if let Payload::CustomSection(section) = &payload
            && let KnownCustom::CoreDumpStack(frames) = section.as_known()
        {
            stack = Some((end, frames));
        }
        end = match payload {
            Payload::Version { range, .. } => range.end,
            _ => payload.as_section().map_or(end, |(_, range)| range.end),
        };
    }
    let Some((begin, frames)) = stack else { return };
    let mut own = CoreDumpStackSection::new(frames.name);
    for frame in frames.frames {
        let function = match wrappers.origin(frame.funcidx) {
            Origin::Own => frame.funcidx,
            Origin::Import(index, _) => index,
            Origin::SuspendHere | Origin::BulkOperation(_) => continue,
        };
        // Where in a function is not known: code is compiled without a map of its addresses. Nor are its variables.
        own.frame(frame.instanceidx, function, 0, [], []);
    }
    let mut section = Vec::new();
    own.append_to(&mut section);
    dump.truncate(begin);
    dump.extend(section);
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtime::{Engine, Instance, Module, Store};

    /// The stack's functions in the dump of a guest whose function `inner` traps.
    fn dump(wrappers: &Wrappers, body: &str) -> (Option<CoreDump>, Vec<u32>) {
        let mut config = wasmtime::Config::new();
        config.coredump_on_trap(true).wasm_backtrace_max_frames(Some(MOST_FRAMES));
        let engine = Engine::new(&config).unwrap();
        let module = format!(
            r#"(module (memory (export "memory") 2) (global (mut i64) (i64.const 7))
                (data (i32.const 70000) "a secret")
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
        let dump = of(&mut store, &error, "tested", wrappers);
        let functions = dump.as_ref().map_or(Vec::new(), |dump| sections(dump.bytes()).1);
        (dump, functions)
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
    fn what_was_added_to_the_module_is_not_in_the_stack() {
        // As if the last three were a wrapper of import 77, the suspend point and the function that fills memory.
        let wrappers = Wrappers { first: 1, imports: vec![(77, "a.b".into())], bulk_operations: vec![11] };
        let (_, functions) = dump(&wrappers, "unreachable");
        assert_eq!(functions, [0, 77]);
    }
}
