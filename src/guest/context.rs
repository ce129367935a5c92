//! What a guest's host functions share with the engine outside: the current batch, the output and the reason why the
//! guest is suspended.

use super::batches::Rules;
use super::clock::RunTime;
use super::control::Control;
use super::fault::Fault;
use super::last_words::{LastWords, Place};
use super::limits::Limits;
use super::random::Random;
use super::refusal::Refusal;
use super::schema_registry::Lookup;
use super::work::Work;
use crate::base::config::Config;
use crate::base::description::Description;
use crate::base::error::RecordAt;
use crate::base::state::wasm_engine_state as State;
use crate::base::text::{escape, grouped};
use crate::guest::output::OutputBuffer;
use crate::guest::profile::Profile;
use crate::host::call::{Settled, Waiting};
use crate::host::log::{Line, LineBuffer, Piece, Sink, wasm_log_severity, wasm_log_source};
use crate::metrics::clock;
use crate::metrics::log_limit::LogRate;
use crate::metrics::meter::Meter;
use core::cell::{Cell, RefCell};
use core::ffi::c_void;
use std::rc::Rc;
use std::sync::Arc;

/// Why a guest gave up the thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspended {
    /// It waits for a batch.
    ForBatch,
    /// The next batch of the operation must be checked first.
    ForCheck,
    /// Its output must be delivered first.
    ForOutput,
    /// A host function's promise must be settled first.
    ForHost,
    /// Its time slice has ended.
    SliceOver,
}

/// A host function that could not return at once.
#[derive(Default)]
pub enum HostCall {
    /// There is none.
    #[default]
    None,
    /// It waits.
    Waiting(Waiting),
    /// Its promise was settled. The function finishes when the guest continues.
    Settled(Settled),
}

/// A growth that was refused.
#[derive(Clone, Copy, Debug)]
pub struct Growth {
    /// What was to grow.
    pub what: Growing,
    /// Its size then: bytes of a memory or elements of a table.
    pub size: usize,
    /// The size that the guest wanted.
    pub wanted: usize,
}

/// What was to grow and who refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Growing {
    /// The memory, by `memory_limit`.
    Memory,
    /// The memory, by the system.
    MemoryOfSystem,
    /// A table, by `table_limit`. The sizes are those of all tables.
    Table,
}

/// What the guest's side and the engine's side of one engine share. Never used by two threads: the engine checks.
pub struct Context {
    /// Set by the code that suspends the guest. Taken by the engine's poll.
    pub suspended: Cell<Option<Suspended>>,
    /// The host function that the guest waits for.
    pub host_call: Cell<HostCall>,
    /// The schema that the guest asked for last.
    pub schemas: RefCell<Lookup>,
    /// The engine's handle in C.
    pub owner: Cell<*mut c_void>,
    /// What the host attached to the engine.
    pub user_data: Cell<*mut c_void>,
    /// What the guest is working on. `work` and `see` lend it.
    pub(super) work: RefCell<Work>,
    /// How far the guest has come while it is open.
    pub control: Control,
    /// The control has the latest.
    pub(super) open: Cell<bool>,
    /// A time slice has ended and the guest has not gone on since.
    pub(super) between: Cell<bool>,
    /// The guest's code uses the control.
    pub(super) expanded: Cell<bool>,
    /// What batches are checked against.
    pub rules: Rules,
    /// How long the guest has been running.
    pub run_time: RunTime,
    /// What the engine is doing for any of its users.
    pub state: Cell<State>,
    /// The batch was refused in this poll: the operation has failed and the guest is still there. Taken by the seat.
    pub refused: Cell<bool>,
    /// The library panicked while it used the engine. The engine cannot be used any more.
    pub poisoned: Cell<bool>,
    /// The engine's metrics.
    pub meter: Meter,
    /// The guest's wall clock in milliseconds since 1970: the timestamp of the current record.
    pub(super) wall_clock: Cell<i64>,
    /// The guest's profile if there is one.
    pub profile: Profile,
    transform: Arc<Description>,
    /// What `default_topic` returns, without an indirection.
    pub(super) has_topic: bool,
    started: Cell<bool>,
    log_rate: LogRate,
    pub(super) refused_growth: Cell<Option<Growth>>,
    last_words: LastWords,
    /// The last refusal of a host call and where the guest was.
    refusal: RefCell<Option<(Place, Refusal)>>,
    /// There are last words or a refusal.
    has_said: Cell<bool>,
    max_log_line: usize,
    log: RefCell<[LineBuffer; 2]>,
    sink: Arc<dyn Sink>,
}

impl Context {
    /// A context for a guest that is about to start.
    pub fn new(transform: Arc<Description>, config: &Config, sink: Arc<dyn Sink>, meter: Meter) -> Self {
        let lines = |severity| LineBuffer::new(severity, config.max_log_line);
        Self {
            suspended: Cell::new(None),
            host_call: Cell::default(),
            schemas: RefCell::default(),
            owner: Cell::new(core::ptr::null_mut()),
            user_data: Cell::new(core::ptr::null_mut()),
            work: RefCell::new(Work::new(transform.limits.output_buffer)),
            control: Control::new(),
            open: Cell::new(false),
            between: Cell::new(false),
            expanded: Cell::new(false),
            rules: Rules::of(config),
            run_time: RunTime::new(config, transform.limits.record_time),
            state: Cell::new(State::Stopped),
            refused: Cell::new(false),
            poisoned: Cell::new(false),
            meter,
            wall_clock: Cell::new(0),
            profile: Profile::default(),
            has_topic: !transform.output_topics.is_empty(),
            started: Cell::new(false),
            log_rate: LogRate::new(transform.limits.log_lines_per_second, transform.limits.log_burst_lines),
            refused_growth: Cell::new(None),
            last_words: LastWords::default(),
            refusal: RefCell::default(),
            has_said: Cell::new(false),
            max_log_line: config.max_log_line,
            transform,
            log: RefCell::new([lines(wasm_log_severity::Info), lines(wasm_log_severity::Warn)]),
            sink,
        }
    }

    /// The guest's wall clock in milliseconds since 1970: the timestamp of the current record.
    pub fn wall_clock(&self) -> i64 {
        drop(self.see());
        self.wall_clock.get()
    }

    /// Sets the wall clock.
    #[inline]
    pub fn set_wall_clock(&self, now: i64) {
        self.wall_clock.set(now);
    }

    /// The same while `work` is lent.
    #[inline]
    pub fn latest_time(&self) -> i64 {
        self.wall_clock.get()
    }

    /// Fails when the guest has run for too long.
    pub fn check_time(&self) -> Result<(), Fault> {
        drop(self.see());
        self.run_time.check()
    }

    /// Resets everything for the next guest in this engine.
    pub fn reset(&self) {
        self.suspended.set(None);
        drop(self.host_call.take());
        *self.schemas.borrow_mut() = Lookup::default();
        self.work().release();
        self.expanded.set(false);
        self.run_time.restart();
        self.run_time.monotonic.reset();
        self.wall_clock.set(0);
        self.started.set(false);
        self.note_memory_size(0);
        self.refused_growth.set(None);
        self.forget();
    }

    /// Another batch or guest begins: what was said before has no meaning.
    #[inline]
    pub fn forget(&self) {
        if self.has_said.take() {
            self.last_words.forget();
            *self.refusal.borrow_mut() = None;
        }
    }

    /// The guest's transform.
    pub fn transform(&self) -> &Description {
        &self.transform
    }

    /// The current record if there is one.
    pub fn record(&self) -> Option<RecordAt> {
        let work = self.see();
        let batch = &work.batch;
        batch.in_record.then(|| RecordAt { index: batch.taken - 1, offset: batch.latest_offset })
    }

    /// Index of the current batch in the operation if that has several.
    pub fn batch(&self) -> Option<u32> {
        self.see().batch.index()
    }

    /// The topic of a record that names no topic.
    #[inline]
    pub fn default_topic(&self) -> Option<u32> {
        self.has_topic.then_some(0)
    }

    /// Sets the engine that the guest's calls and log lines belong to from now on.
    pub fn attach(&self, owner: *mut c_void, user_data: *mut c_void) {
        self.owner.set(owner);
        self.user_data.set(user_data);
    }

    /// Whether the guest has waited for a batch since its start.
    pub fn has_started(&self) -> bool {
        self.started.get()
    }

    /// The guest waits for its first batch.
    pub fn note_started(&self) {
        self.started.set(true);
    }

    /// Bytes that the guest's memory may have.
    pub fn memory_limit(&self) -> usize {
        self.transform.limits.memory
    }

    /// Elements that the guest's tables may have.
    pub fn table_limit(&self) -> usize {
        self.transform.limits.table
    }

    /// Bytes of the guest's memory.
    pub fn memory_size(&self) -> usize {
        self.meter.memory().get() as usize
    }

    /// The memory has this size or had it before.
    pub fn note_memory_size(&self, size: usize) {
        self.meter.memory().set(size as u64);
    }

    /// The memory or a table was refused to grow.
    pub fn note_refused_growth(&self, growth: Growth) {
        // Records that came before do not end what is noted now.
        drop(self.see());
        self.refused_growth.set(Some(growth));
    }

    /// The last growth that was refused since the current record began.
    pub fn refused_growth(&self) -> Option<Growth> {
        drop(self.see());
        self.refused_growth.get()
    }

    /// A record or the batch is finished: the content of the output buffer belongs to it.
    #[inline]
    pub fn finish_record(&self, output: &mut OutputBuffer) {
        output.mark_finished();
        self.refused_growth.set(None);
    }

    /// The guest wrote to standard output (0) or standard error (1).
    pub fn log(&self, stream: usize, bytes: &[u8]) {
        self.log.borrow_mut()[stream].write(bytes, |piece| self.emit_guest(piece));
    }

    /// Where the guest is, for what belongs to one record.
    fn place(&self) -> Place {
        let batch = &self.see().batch;
        (batch.taken, batch.in_record)
    }

    /// What the guest wrote to standard error last at the current record or outside of one.
    pub fn last_words(&self) -> Option<String> {
        self.last_words.at(self.place())
    }

    /// The last refusal of a host call at the current record or outside of one.
    pub fn refusal(&self) -> Option<String> {
        let refusal = self.refusal.borrow();
        let (place, refusal) = refusal.as_ref()?;
        (*place == self.place()).then(|| refusal.text(&self.transform))
    }

    /// A host call returned an error code to the guest. Logged at most once a second for a transform and shard: a guest
    /// may go on.
    #[cold]
    pub fn refuse(&self, refusal: Refusal) {
        if let Some(more) = self.meter.series().refusals.admit(clock::nanoseconds(clock::ticks())) {
            let mut line = refusal.text(&self.transform);
            if let Some(record) = self.record() {
                line.insert_str(0, &format!("record {} of the batch (offset {}): ", record.index, record.offset));
            }
            if let Some(batch) = self.batch() {
                line.insert_str(0, &format!("batch {batch} of the call, "));
            }
            if more > 0 {
                line.push_str(&format!(" ({} more were refused since the last line)", grouped(more)));
            }
            self.warn(&line);
        }
        *self.refusal.borrow_mut() = Some((self.place(), refusal));
        self.has_said.set(true);
    }

    /// Logs a line of the library about this guest.
    pub fn warn(&self, line: &str) {
        // It may quote the guest. So it is cut, split and limited like the guest's own lines.
        let mut buffer = LineBuffer::new(wasm_log_severity::Warn, self.max_log_line);
        buffer.write(line.as_bytes(), |piece| self.emit(wasm_log_source::Library, piece));
        buffer.flush(|piece| self.emit(wasm_log_source::Library, piece));
    }

    /// The guest has ended: logs lines without a newline.
    pub fn flush_log(&self) {
        for buffer in &mut *self.log.borrow_mut() {
            buffer.flush(|piece| self.emit_guest(piece));
        }
    }

    /// The engine is released: stops counting and reports suppressed lines.
    pub fn leave(&self) {
        if self.meter.leave() {
            self.tell_suppressed(self.meter.series().log.take_untold());
        }
    }

    fn emit_guest(&self, piece: Piece<'_>) {
        if piece.severity == wasm_log_severity::Warn {
            // Before the limit: what is not logged can still be told with an error.
            self.last_words.note(piece.bytes, piece.continues, self.place());
            self.has_said.set(true);
        }
        self.emit(wasm_log_source::Guest, piece);
    }

    fn emit(&self, source: wasm_log_source, piece: Piece<'_>) {
        let now = clock::nanoseconds(clock::ticks());
        let limit = &self.meter.series().log;
        if limit.admit(now, &self.log_rate) {
            self.tell_suppressed(limit.take_untold_at(now));
            self.hand_out(source, piece.severity, &escape(piece.bytes), piece.continues);
        }
    }

    /// Reports the number of suppressed lines in one line.
    fn tell_suppressed(&self, lines: u64) {
        if lines > 0 {
            let (number, verb) = (grouped(lines), if lines == 1 { "line … was" } else { "lines … were" });
            let rate = self.transform.limits.log_lines_per_second;
            let text = verb.replace('…', &format!("of {}", self.transform));
            let text = format!("{number} {text} suppressed: it writes more than log_lines_per_second ({rate}) allows");
            self.hand_out(wasm_log_source::Library, wasm_log_severity::Warn, &text, false);
        }
    }

    fn hand_out(&self, source: wasm_log_source, severity: wasm_log_severity, text: &str, continues: bool) {
        self.sink.line(&Line {
            severity,
            source,
            continues,
            shard: self.meter.series().shard,
            transform: &self.transform.name,
            text,
            engine: self.owner.get(),
            user_data: self.user_data.get(),
        });
    }
}

/// A context as a store holds it.
#[derive(Clone)]
pub struct Local(Rc<Context>);

#[allow(unsafe_code)]
// SAFETY: Wasmtime wants what a store holds to be `Send`, because it cannot know that a store stays on its thread. Ours
// do: a store is made, polled and dropped by its engine only, which is an `Rc` itself and refuses, with a status, every
// call on another thread than the one that made it. The one store without an engine does not leave the function that
// makes it (`list_functions` in `compile/link.rs`). So no `Local` is ever touched from a second thread.
unsafe impl Send for Local {}

impl Local {
    /// Another reference to `context`.
    pub fn new(context: &Rc<Context>) -> Self {
        Self(context.clone())
    }
}

impl core::ops::Deref for Local {
    type Target = Context;
    #[inline]
    fn deref(&self) -> &Context {
        &self.0
    }
}

/// The data of a guest's store.
pub struct GuestState {
    /// The shared context.
    pub context: Local,
    /// Memory and table limits.
    pub limits: Limits,
    /// The guest's random numbers.
    pub random: Random,
    /// wasmtime-wasi's own state.
    pub wasi: wasmtime_wasi::p1::WasiP1Ctx,
}
