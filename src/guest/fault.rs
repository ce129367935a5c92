//! Translates Wasmtime's error of a failed guest to the library's.

use super::context::{Context, Growing};
use super::instance::GuestEnd;
use super::program::LinkedModule;
use crate::base::description::in_call;
use crate::base::error::{Error, Frame, GuestDetail, Location, wasm_trap};
use crate::base::status::wasm_status as Status;
use crate::base::text::{demangle, printable};
use crate::module::suspend_points::Origin;
use crate::system::memory::refusal::is_refusal;
use core::fmt::Write as _;
use std::collections::TryReserveError;
use std::time::{Duration, Instant};

impl From<TryReserveError> for Fault {
    fn from(_: TryReserveError) -> Self {
        Self::OutOfMemory
    }
}

/// What a host function of ours raises.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The guest passed a range outside of its memory.
    #[error("{call}: {what} at {start:#x} with {length} bytes is outside of the guest's memory of {memory} bytes")]
    Pointer {
        /// The host function.
        call: &'static str,
        /// Which of its arguments.
        what: &'static str,
        /// The range's first byte.
        start: u32,
        /// Its length.
        length: u64,
        /// Bytes of the guest's memory.
        memory: usize,
    },
    /// The guest called a host function before its memory existed.
    #[error("the guest called a host function before it had a memory")]
    NoMemory,
    /// A function of the host failed.
    #[error("host function {function}: {why}")]
    Host {
        /// Module and name.
        function: String,
        /// The host's reason.
        why: String,
    },
    /// The allocator refused memory for what the guest passed.
    #[error("a host call found no memory: try the batch again later")]
    OutOfMemory,
    /// The time limit.
    #[error("the guest ran for more than {}", milliseconds(*limit))]
    Timeout {
        /// The limit in nanoseconds.
        limit: u64,
    },
}

/// A time as a host has set it. Not rounded: a limit below a millisecond is not 0.
fn milliseconds(nanoseconds: u64) -> String {
    match (nanoseconds / 1_000_000, nanoseconds % 1_000_000) {
        (whole, 0) => format!("{whole} ms"),
        (whole, rest) => format!("{} ms", format!("{whole}.{rest:06}").trim_end_matches('0')),
    }
}

/// Frames that an error has: Wasmtime's own default.
const MOST_FRAMES: usize = 20;

/// Time after which further names of an error stay mangled. Names are chosen by whoever made the module.
const NAMES_TIME: Duration = Duration::from_micros(250);

/// The trap numbers of the C ABI for Wasmtime's.
fn trap_code(trap: wasmtime::Trap) -> wasm_trap {
    use wasmtime::Trap;
    match trap {
        Trap::UnreachableCodeReached => wasm_trap::Unreachable,
        Trap::StackOverflow => wasm_trap::StackOverflow,
        Trap::MemoryOutOfBounds | Trap::HeapMisaligned => wasm_trap::MemoryOutOfBounds,
        Trap::TableOutOfBounds => wasm_trap::TableOutOfBounds,
        Trap::IndirectCallToNull => wasm_trap::IndirectCallToNull,
        Trap::BadSignature => wasm_trap::BadSignature,
        Trap::IntegerOverflow => wasm_trap::IntegerOverflow,
        Trap::IntegerDivisionByZero => wasm_trap::DivisionByZero,
        Trap::BadConversionToInteger => wasm_trap::BadConversion,
        Trap::Interrupt => wasm_trap::Interrupt,
        _ => wasm_trap::Other,
    }
}

/// The error of a guest that ended for any reason.
pub fn explain(ended: GuestEnd, context: &Context, code: &LinkedModule) -> Error {
    // A line without a newline is a line at its end.
    context.flush_log();
    let growth = context.refused_growth().filter(|growth| growth.what != Growing::Table);
    let mut detail = GuestDetail {
        record: context.record(),
        core_dump: ended.core_dump,
        stderr: context.last_words().unwrap_or_default(),
        refusal: context.refusal().unwrap_or_default(),
        memory_size: context.memory_size() as u64,
        memory_wanted: growth.map_or(0, |growth| growth.wanted as u64),
        ..GuestDetail::default()
    };
    let (status, what) = match &ended.result {
        Ok(()) => {
            detail.exit_code = Some(0);
            (Status::GuestExit, "the guest returned from _start instead of waiting for records".to_owned())
        }
        Err(error) => {
            let backtrace = error.downcast_ref::<wasmtime::WasmBacktrace>();
            detail.frames = backtrace.map(|backtrace| frames(backtrace, code)).unwrap_or_default();
            classify(error, context, &mut detail)
        }
    };
    let batch = context.batch();
    let mut message = format!("{}{}", context.transform(), in_call(batch));
    let _ = match detail.record {
        Some(record) => write!(message, ", record {} of the batch (offset {}): {what}", record.index, record.offset),
        None if context.has_started() => write!(message, ", between records: {what}"),
        None => write!(message, ", while it started: {what}"),
    };
    if !detail.refusal.is_empty() {
        let _ = write!(message, "\n  before: {}", detail.refusal);
    }
    for line in detail.stderr.lines() {
        let _ = write!(message, "\n  stderr: {line}");
    }
    for frame in detail.frames.iter().take(16) {
        let _ = match &frame.function {
            Some(name) => write!(message, "\n  at {name}"),
            None => write!(message, "\n  at function {}", frame.index),
        };
        if let Some(Location { file, line, .. }) = &frame.location {
            let _ = write!(message, " ({file}:{line})");
        }
    }
    if detail.frames.len() > 16 {
        let _ = write!(message, "\n  and {} more frames", detail.frames.len() - 16);
    }
    Error { status, message, batch: batch.unwrap_or(0), guest: Some(Box::new(detail)) }
}

fn classify(error: &wasmtime::Error, context: &Context, detail: &mut GuestDetail) -> (Status, String) {
    if let Some(exit) = error.downcast_ref::<wasmtime_wasi::I32Exit>() {
        detail.exit_code = Some(exit.0);
        // The backtrace of an exit says nothing useful: it shows the exit function of the guest's language.
        detail.frames.clear();
        return (
            refused_growth(context).unwrap_or(Status::GuestExit),
            with_growth(context, format!("the guest exited with code {}", exit.0)),
        );
    }
    if let Some(fault) = error.downcast_ref::<Fault>() {
        let (trap, status) = match fault {
            Fault::Timeout { .. } => (wasm_trap::Interrupt, Status::GuestTimeout),
            Fault::Host { .. } => (wasm_trap::Host, Status::HostFunctionFailed),
            Fault::OutOfMemory => (wasm_trap::Host, Status::OutOfMemory),
            Fault::Pointer { .. } | Fault::NoMemory => (wasm_trap::Host, Status::GuestBadCall),
        };
        detail.trap = Some(trap);
        return (status, fault.to_string());
    }
    if let Some(&trap) = error.downcast_ref::<wasmtime::Trap>() {
        detail.trap = Some(trap_code(trap));
        let status = match trap {
            wasmtime::Trap::StackOverflow => Status::GuestStackOverflow,
            _ => refused_growth(context).unwrap_or(Status::GuestTrap),
        };
        return (status, with_growth(context, trap.to_string()));
    }
    if error.is::<wasmtime::WasmBacktrace>() {
        // A host function of wasmtime-wasi. It refuses bad pointers with its own errors.
        detail.trap = Some(wasm_trap::Host);
        return (Status::GuestBadCall, format!("a host call failed: {:#}", error.root_cause()));
    }
    if error.is::<wasmtime::PoolConcurrencyLimitError>() {
        let what = "the process's pool has no room for another engine: stop an engine or raise pool_engines";
        return (Status::PoolExhausted, format!("{what} ({})", error.root_cause()));
    }
    let status = if is_refusal(error) { Status::OutOfMemory } else { Status::System };
    (status, format!("the guest could not be instantiated: {error:#}"))
}

fn refused_growth(context: &Context) -> Option<Status> {
    let growth = context.refused_growth()?;
    (growth.what == Growing::Memory).then_some(Status::GuestMemoryLimit)
}

fn with_growth(context: &Context, what: String) -> String {
    let Some(growth) = context.refused_growth() else { return what };
    let (size, wanted) = (growth.size, growth.wanted);
    match growth.what {
        Growing::Memory => {
            let limit = context.memory_limit();
            format!(
                "{what}, after its memory of {size} bytes was not allowed to grow to {wanted} bytes (memory_limit is \
                 {limit})"
            )
        }
        Growing::MemoryOfSystem => {
            format!("{what}, after the system had no memory for it to grow from {size} to {wanted} bytes")
        }
        Growing::Table => {
            let limit = context.table_limit();
            format!(
                "{what}, after its tables of {size} elements were not allowed to grow to {wanted} elements (table_limit \
                 is {limit})"
            )
        }
    }
}

fn frames(backtrace: &wasmtime::WasmBacktrace, code: &LinkedModule) -> Vec<Frame> {
    let begin = Instant::now();
    let readable = |name: &str| if begin.elapsed() < NAMES_TIME { demangle(name) } else { printable(name) };
    let mut frames: Vec<Frame> = Vec::new();
    // With core dumps Wasmtime gives more.
    for f in backtrace.frames().iter().take(MOST_FRAMES) {
        match code.code.wrappers.origin(f.func_index()) {
            Origin::Own => {
                let index = f.func_index();
                // A function that calls itself has its name demangled once.
                let function = match frames.iter().find(|frame| frame.index == index) {
                    Some(same) => same.function.clone(),
                    None => f.func_name().map(readable),
                };
                // What compiled code does at a function's entry, such as checking the stack, has no instruction.
                let location = code.code.lines.find(index, f.func_offset().unwrap_or_default() as u32);
                frames.push(Frame { function, index, location });
            }
            Origin::Import(index, name) => frames.push(Frame { function: Some(name), index, location: None }),
            Origin::SuspendHere | Origin::BulkOperation(_) => {}
        }
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_limits_are_not_rounded() {
        for (nanoseconds, text) in [(3_000_000_000, "3000 ms"), (1_500_000, "1.5 ms"), (200_001, "0.200001 ms")] {
            assert_eq!(
                Fault::Timeout { limit: nanoseconds }.to_string(),
                format!("the guest ran for more than {text}")
            );
        }
    }
}
