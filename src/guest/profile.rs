//! Profiles of guests: samples of their stacks in the format of Firefox's profiler.
//!
//! A sample is possible only where compiled code compares the epoch with its deadline: at loops and at functions'
//! entries. The code that handles a reached deadline (`guest::instance`) takes it. While a profile is in progress,
//! the deadline is the next tick. Otherwise profiling costs one check of an empty slot each time that a guest is
//! suspended.

use super::program::{LinkedModule, Program};
use crate::base::description::Description;
use crate::base::error::{Error, Result};
use crate::base::status::wasm_status as Status;
use crate::base::text::demangle;
use crate::guest::context::GuestState;
use crate::module::suspend_points::Origin;
use crate::system::memory::reserve;
use crate::system::ticker::run_clock;
use core::cell::RefCell;
use std::time::{Duration, Instant};
use wasmtime::{ExternType, GuestProfiler, StoreContextMut};

/// How often a guest is looked at unless the host says otherwise.
pub const INTERVAL: Duration = Duration::from_millis(1);

/// The longest interval.
const LONGEST: Duration = Duration::from_secs(10);

/// The most samples of a profile. A sample takes some 70 bytes as text.
const MOST_SAMPLES: u32 = 1 << 20;

/// A slot for the profile of an engine's successive guests. Used on the engine's thread only.
#[derive(Default)]
pub struct Profile(RefCell<Option<Box<Running>>>);

struct Running {
    profiler: GuestProfiler,
    interval: Duration,
    half_tick: Duration,
    /// When the last sample was taken and the run clock then.
    last: Option<(Instant, u64)>,
    samples: u32,
}

impl Profile {
    /// Starts a profile of `transform` with a sample about every `interval`. If a tick is longer, there is one
    /// sample per tick. `InvalidState` if a profile is in progress. `InvalidArgument` if the interval is more than 10
    /// s.
    pub fn start(&self, transform: &Description, program: &Program, tick: Duration, interval: Duration) -> Result<()> {
        let mut slot = self.0.borrow_mut();
        let Program::Module(LinkedModule { pre, .. }) = program else {
            return Err(transform.error(Status::InvalidState, "a custom engine has no guest to profile"));
        };
        if slot.is_some() {
            let what = "a profile is in progress already: finish that profile first";
            return Err(transform.error(Status::InvalidState, what));
        }
        if interval > LONGEST {
            return Err(Error::invalid(format!(
                "the interval is {} ns: the maximum is {}",
                interval.as_nanos(),
                LONGEST.as_nanos()
            )));
        }
        let (module, name) = (pre.module(), &transform.name);
        let interval = interval.max(tick);
        let profiler = GuestProfiler::new(module.engine(), name, interval, [(name.clone(), module.clone())])
            .map_err(|e| Error::new(Status::Internal, format!("the profile could not be started: {e:#}")))?;
        *slot = Some(Box::new(Running { profiler, interval, half_tick: tick / 2, last: None, samples: 0 }));
        Ok(())
    }

    /// Whether a profile is in progress.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Ends the profile and returns it as JSON. `InvalidState` if no profile is in progress.
    pub fn finish(&self, transform: &Description, program: &Program) -> Result<String> {
        // Wasmtime writes it and does not survive a refusal. Before anything is taken.
        let samples = self.0.borrow().as_ref().map_or(0, |running| running.samples);
        let _lease = reserve::lease(samples as usize * 512 + (1 << 20))?;
        let (Some(running), Program::Module(LinkedModule { pre, code })) = (self.0.borrow_mut().take(), program) else {
            return Err(transform.error(Status::InvalidState, "no profile is in progress"));
        };
        let broken = |e: &dyn core::fmt::Display| {
            Error::new(Status::Internal, format!("the profile could not be written: {e:#}"))
        };
        let mut json = Vec::new();
        running.profiler.finish(&mut json).map_err(|e| broken(&e))?;
        let imports = pre.module().imports().filter(|import| matches!(import.ty(), ExternType::Func(_))).count() as u32;
        let json = String::from_utf8(json).map_err(|e| broken(&e))?;
        let name = |defined| match code.wrappers.origin(imports.saturating_add(defined)) {
            Origin::Own => format!("function {}", imports.saturating_add(defined)),
            Origin::Import(_, name) => name,
            Origin::SuspendHere => "suspended".into(),
            Origin::BulkOperation(name) => name.into(),
        };
        with_names(&json, name).map_err(|e| broken(&e))
    }

    /// Takes a sample of a guest at its epoch check if one is due.
    pub fn sample(&self, store: &StoreContextMut<'_, GuestState>) {
        let mut slot = self.0.borrow_mut();
        let Some(Running { profiler, interval, half_tick, last, samples }) = slot.as_deref_mut() else { return };
        let (now, clock) = (Instant::now(), run_clock());
        // Half a tick early is nearer than half a tick late.
        let due = last.is_none_or(|(last, _)| now.duration_since(last) + *half_tick >= *interval);
        if !due || *samples == MOST_SAMPLES || reserve::check().is_err() {
            return;
        }
        *samples += 1;
        // The time since the last sample or since the guest got the thread, whichever was later.
        let since = last.map_or(0, |(_, clock)| clock).max(store.data().context.run_time.turn_began());
        *last = Some((now, clock));
        profiler.sample(store, Duration::from_nanos(clock.saturating_sub(since)));
    }
}

/// A profile in which all functions have their source names. For a function without a name Wasmtime uses a number
/// that does not count imports. The same number would mean another function everywhere else. `name` gives a better
/// one.
fn with_names(json: &str, name: impl Fn(u32) -> String) -> serde_json::Result<String> {
    // All texts are in one array. Inside of a text these quotes would be escaped.
    let Some((before, rest)) = json.split_once(TEXTS) else { return Ok(json.into()) };
    let mut parser = serde_json::Deserializer::from_str(rest).into_iter::<Vec<String>>();
    let texts = parser.next().transpose()?.unwrap_or_default();
    let after = rest.get(parser.byte_offset()..).unwrap_or_default();
    let named = |text: &String| {
        let nameless = text.strip_prefix("<wasm function ").and_then(|text| text.strip_suffix('>'));
        nameless.and_then(|number| number.parse().ok()).map_or_else(|| demangle(text), &name)
    };
    let texts: Vec<String> = texts.iter().map(named).collect();
    Ok(format!("{before}{TEXTS}{}{after}", serde_json::to_string(&texts)?))
}

/// What texts come behind.
const TEXTS: &str = "\"stringArray\":";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_have_readable_names_and_nothing_else_changes() {
        let name = |defined| format!("n\"{defined}");
        for (before, after) in [
            (r#"["a","<wasm function 12>","b"]"#, r#"["a","n\"12","b"]"#),
            (
                r#"["<wasm function x>","<wasm function 99999999999>"]"#,
                r#"["<wasm function x>","<wasm function 99999999999>"]"#,
            ),
            (
                r#"["_ZN4core3fmt9Formatter3pad17h0123456789abcdefE","_ZN3foo3barEi"]"#,
                r#"["core::fmt::Formatter::pad","foo::bar(int)"]"#,
            ),
            (r#"["\\\"stringArray\\\":[]","ä"]"#, r#"["\\\"stringArray\\\":[]","ä"]"#),
        ] {
            let (before, after) = [before, after]
                .map(|texts| format!(r#"{{"threads":[{{"stringArray":{texts},"tid":0,"x":"<wasm function 1>"}}]}}"#))
                .into();
            assert_eq!(with_names(&before, name).unwrap(), after);
        }
    }
}
