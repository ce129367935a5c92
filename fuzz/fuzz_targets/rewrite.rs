//! A module and what the library makes of it, side by side in plain Wasmtime: results, traps, frames, memory, globals, tables
//! and the order of host calls are the same.
//!
//! Bytes that begin as a module are one. Others are random choices, by which wasm-smith makes one. Pieces of long operations
//! are as small as one byte, and imports wait up to three times before they answer. A host function answers by a function of
//! the number of the call and its arguments, and writes to the guest's memory.
//!
//! The expansion of calls for records needs the library's own memories: the target `guest` runs it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::LazyLock;
use wasm_engine_fuzz::batch::crc32c;
use wasm_engine_fuzz::image::Creator;
use wasm_engine_fuzz::module::abi::WOULD_BLOCK;
use wasm_engine_fuzz::module::bulk_memory::PieceSizes;
use wasm_engine_fuzz::module::inspect::Summary;
use wasm_engine_fuzz::module::suspend_points::{self, Options, Origin, Waits, Wrappers};
use wasm_engine_fuzz::module::{data_image, data_segments, elements, validate};
use wasm_engine_fuzz::{image, sdk, smith};
use wasmtime::{
    Caller, Config, Engine, Extern, ExternType, Func, FuncType, Instance, Module, Store, StoreLimits,
    StoreLimitsBuilder, Trap, Val, WasmBacktrace,
};

/// Steps of a function that wasm-smith makes, and fuel for the original and for what is made of it.
const STEPS: u32 = 200;
const FUEL: u64 = 1 << 20;
const MORE_FUEL: u64 = 1 << 27;

/// Bytes of a memory and elements of a table at most.
const MEMORY: usize = 4 << 20;
const ELEMENTS: usize = 20_000;

/// Host calls that are made before the guest is ended.
const CALLS: usize = 200;

static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let mut config = Config::new();
    config
        .consume_fuel(true)
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .memory_may_move(false)
        .memory_reservation(0)
        .memory_guard_size(0)
        .memory_init_cow(false)
        .with_host_memory(std::sync::Arc::new(Creator { bytes: MEMORY }));
    Engine::new(&config).expect("the configuration is valid")
});

fuzz_target!(|bytes: &[u8]| {
    let module = if bytes.starts_with(b"\0asm") { Some(bytes.to_vec()) } else { smith::ending_module(bytes, STEPS) };
    let Some(module) = module else { return };
    let (summary, _) = Summary::read(&module);
    let valid = validate::check_specification(&module, 1).is_ok() && elements::check(&module).is_ok();
    if !valid || !sdk::fits(&summary) {
        return;
    }
    let choices = crc32c::checksum(&module);
    let Some(made) = Made::new(&module, choices) else { return };
    let original = run(&module, None, choices);
    let rewritten = run(&made.module, Some(&made), choices);
    let (Some(original), Some(rewritten)) = (original, rewritten) else { return };
    if original.calls.len() >= CALLS {
        return;
    }
    assert_eq!(original.calls, rewritten.calls, "host calls differ");
    assert_eq!(original.results, rewritten.results, "results differ");
    assert_eq!(original.left, rewritten.left, "what is left behind differs");
});

/// What the library makes of a module.
struct Made {
    module: Vec<u8>,
    wrappers: Wrappers,
    image: Option<data_image::DataImage>,
}

impl Made {
    /// As `compile::rewriting` does. `None` if the module stays as it is.
    fn new(module: &[u8], choices: u32) -> Option<Self> {
        let (taken, image) = data_image::take(module).expect("a valid module can be read").unzip();
        let taken_or = taken.as_deref().unwrap_or(module);
        let joined = if image.is_none() { data_segments::join(taken_or).expect("it can be read") } else { None };
        let joined_or = joined.as_deref().unwrap_or(taken_or);
        let sizes = match choices % 4 {
            0 => PieceSizes { bytes: 1, elements: 1 },
            1 => PieceSizes { bytes: 7, elements: 5 },
            2 => PieceSizes { bytes: 1000, elements: 100 },
            _ => PieceSizes::default(),
        };
        let changed =
            suspend_points::add_with(joined_or, waits, Options::default(), sizes).expect("it can be rewritten");
        let (code, wrappers) = match changed {
            Some(changed) => (Some(changed.module), changed.wrappers),
            None => (joined.or(taken), Wrappers::default()),
        };
        code.map(|module| Self { module, wrappers, image })
    }
}

fn waits(module: &str, name: &str) -> Option<Waits> {
    match suspend_points::own(module, name) {
        Some(waits) => Some(waits),
        None => (name.len() % 2 == 1).then_some(Waits::Flag),
    }
}

/// What can be seen of a run.
#[derive(Default)]
struct Run {
    /// Module, name and arguments of each call.
    calls: Vec<String>,
    /// What each exported function returned or how it trapped.
    results: Vec<String>,
    /// Memories, globals and tables.
    left: Vec<String>,
}

/// The store's data.
struct Host {
    limits: StoreLimits,
    calls: Vec<String>,
    /// How often the current call has been refused.
    refused: usize,
    choices: u32,
    memory: Option<wasmtime::Memory>,
}

/// Instantiates a module and calls all that it exports. `None` if that took too long or too much stack.
fn run(bytes: &[u8], made: Option<&Made>, choices: u32) -> Option<Run> {
    let module = Module::new(&ENGINE, bytes).expect("it is valid");
    let limits = StoreLimitsBuilder::new().memory_size(MEMORY).table_elements(ELEMENTS).build();
    let host = Host { limits, calls: Vec::new(), refused: 0, choices, memory: None };
    let mut store = Store::new(&ENGINE, host);
    store.limiter(|host| &mut host.limits);
    let fuel = if made.is_some() { MORE_FUEL } else { FUEL };
    store.set_fuel(fuel).expect("fuel is on");

    let mut imports = Vec::new();
    for (index, import) in module.imports().enumerate() {
        // Others than functions, which the library refuses.
        let ExternType::Func(ty) = import.ty() else { return None };
        let wrapped = made.is_some_and(|made| made.wrappers.imports.iter().any(|(of, _)| *of as usize == index));
        let waits = if wrapped { waits(import.module(), import.name()) } else { None };
        let name = format!("{}.{}", import.module(), import.name());
        imports.push(Extern::Func(function(&mut store, name, ty, waits)?));
    }
    let mut run = Run::default();
    let wrappers = made.map(|made| &made.wrappers);
    image::prepare(made.and_then(|made| made.image.as_ref()).map(|image| (image.start, image.bytes.clone())));
    match Instance::new(&mut store, &module, &imports) {
        Ok(instance) => {
            store.data_mut().memory = instance.get_memory(&mut store, "memory");
            let functions: Vec<_> = instance.exports(&mut store).filter_map(|export| export.into_func()).collect();
            for function in functions {
                let result = call(&mut store, function)?;
                run.results.push(shown(result, wrappers)?);
            }
            run.left = left(&mut store, instance);
        }
        Err(error) => run.results.push(shown(Err(error), wrappers)?),
    }
    run.calls = store.into_data().calls;
    Some(run)
}

/// A host function. With `waits` it is refused up to three times before it answers. `None` if its results have no default.
fn function(store: &mut Store<Host>, name: String, ty: FuncType, waits: Option<Waits>) -> Option<Func> {
    let defaults = ty.results().map(|ty| ty.default_value()).collect::<Option<Vec<_>>>()?;
    let own_results = defaults.len() - usize::from(waits == Some(Waits::Flag));
    Some(Func::new(store, ty, move |mut caller: Caller<'_, Host>, params, results| {
        results.clone_from_slice(&defaults);
        let host = caller.data_mut();
        let mut hasher = DefaultHasher::new();
        let line = format!("{name}{}", list(params));
        (host.calls.len(), host.choices, &line).hash(&mut hasher);
        let answer = hasher.finish();
        if waits.is_some() && host.refused < (answer >> 60) as usize % 4 {
            host.refused += 1;
            let last = results.last_mut().expect("it has one");
            *last = Val::I32(if waits == Some(Waits::Flag) { 1 } else { WOULD_BLOCK });
            return Ok(());
        }
        host.refused = 0;
        host.calls.push(line);
        if host.calls.len() >= CALLS {
            return Err(Trap::Interrupt.into());
        }
        if let Some(memory) = host.memory {
            let data = memory.data_mut(&mut caller);
            let place = answer as usize % data.len().max(1);
            if let Some(byte) = data.get_mut(place) {
                *byte ^= 0x55;
            }
        }
        for (index, result) in results.iter_mut().enumerate() {
            // Small numbers, as sizes and answers are. Never what says that a call would block.
            *result =
                if index < own_results { value(result, (answer >> (index % 56)) as u8 as i8) } else { Val::I32(0) };
        }
        Ok(())
    }))
}

/// A value of the same type.
fn value(like: &Val, number: i8) -> Val {
    match like {
        Val::I32(_) => Val::I32(number.into()),
        Val::I64(_) => Val::I64(number.into()),
        Val::F32(_) => Val::F32(f32::from(number).to_bits()),
        Val::F64(_) => Val::F64(f64::from(number).to_bits()),
        Val::V128(_) => Val::V128((number as u128).into()),
        other => *other,
    }
}

/// Calls a function with small arguments. `None` if they cannot be made.
fn call(store: &mut Store<Host>, function: Func) -> Option<wasmtime::Result<Vec<Val>>> {
    let ty = function.ty(&*store);
    let mut params = Vec::new();
    for (index, ty) in ty.params().enumerate() {
        let number = (store.data().choices >> (index % 24)) as u8 as i8;
        params.push(value(&ty.default_value()?, number));
    }
    let mut results = vec![Val::I32(0); ty.results().len()];
    Some(function.call(&mut *store, &params, &mut results).map(|()| results))
}

/// A result as text: values, or the trap and the guest's own functions on the stack. `None` if the run cannot be compared.
fn shown(result: wasmtime::Result<Vec<Val>>, wrappers: Option<&Wrappers>) -> Option<String> {
    let error = match result {
        Ok(values) => return Some(list(&values)),
        Err(error) => error,
    };
    let trap = error.downcast_ref::<Trap>();
    if matches!(trap, Some(Trap::OutOfFuel | Trap::StackOverflow)) {
        return None;
    }
    let own = |function: &u32| wrappers.is_none_or(|wrappers| wrappers.origin(*function) == Origin::Own);
    let frames = error.downcast_ref::<WasmBacktrace>().map_or(&[][..], |trace| trace.frames());
    let frames: Vec<_> = frames.iter().map(|frame| frame.func_index()).filter(own).collect();
    Some(match trap {
        Some(trap) => format!("{trap:?} in {frames:?}"),
        None => format!("{} in {frames:?}", error.root_cause()),
    })
}

fn list(values: &[Val]) -> String {
    let shown = values.iter().map(|value| match value {
        Val::FuncRef(function) => {
            if function.is_some() {
                "a function".into()
            } else {
                "null".into()
            }
        }
        Val::V128(value) => format!("{:x}", value.as_u128()),
        other => format!("{other:?}"),
    });
    format!("({})", shown.collect::<Vec<_>>().join(", "))
}

/// What a guest leaves behind in what it exports.
fn left(store: &mut Store<Host>, instance: Instance) -> Vec<String> {
    let exports: Vec<_> = instance.exports(&mut *store).map(|export| export.into_extern()).collect();
    let mut left = Vec::new();
    for export in exports {
        left.push(match export {
            Extern::Memory(memory) => {
                let data = memory.data(&*store);
                format!("memory of {} with {:08x}", data.len(), crc32c::checksum(data))
            }
            Extern::Global(global) => list(&[global.get(&mut *store)]),
            Extern::Table(table) => {
                let size = table.size(&*store);
                let empty = (0..size).filter(|&at| table.get(&mut *store, at).is_none_or(|element| element.is_null()));
                let mut hasher = DefaultHasher::new();
                empty.collect::<Vec<_>>().hash(&mut hasher);
                format!("table of {size} with {:x}", hasher.finish())
            }
            _ => continue,
        });
    }
    left
}
