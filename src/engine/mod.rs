//! An engine: one guest on one thread, started, fed with batches, stopped, started again.

mod body;
pub mod dead_letter;
mod drive;
pub mod policy;
mod profile;
pub mod shared;
pub mod supervisor;

use crate::base::error::{Error, Result};
use crate::base::state::wasm_engine_state as State;
use crate::base::status::wasm_status as Status;
use crate::base::thread_mark::ThreadMark;
use crate::batch::header;
use crate::batch::reader::Records;
use crate::compile::factory::Compiled;
use crate::guest::context::Context;
use crate::guest::custom::Instance;
use crate::guest::program::Program;
use crate::guest::work::Current;
use crate::host::call::Waiting;
use crate::host::sink::OutputSink;
use crate::system::memory::pools::not_prepared;
use crate::system::ticker::Turns;
use body::Body;
use core::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

/// Memory that an engine keeps for the records of its next compressed batch.
const KEPT_SCRATCH: usize = 1 << 20;

impl Compiled {
    /// Refuses what an engine in another state than `wanted` cannot do.
    pub fn expect(&self, state: State, wanted: State, call: &str) -> Result<()> {
        if state == wanted {
            return Ok(());
        }
        let why = match state {
            State::Stopped => "it is stopped",
            State::Starting => "it is still starting",
            State::Idle => "it is started already",
            State::Transforming => "a transform is in progress",
        };
        let name = &self.transform.name;
        Err(Error::new(Status::InvalidState, format!("transform \"{name}\": the engine cannot {call}: {why}")))
    }

    /// The error of a sink that did not take its output.
    pub fn rejected(&self, why: &str) -> Error {
        let name = &self.transform.name;
        Error::new(Status::OutputRejected, format!("transform \"{name}\": its output was not taken: {why}"))
    }
}

/// An operation that is going on; all empty if there is none. It stays where it is, and is not moved.
#[derive(Default)]
struct Operation {
    /// Where output goes; a start has none, as it can have no output.
    sink: Option<OutputSink>,
    /// Output must go to the host before the guest goes on.
    output_due: bool,
    /// A block that the host has not finished with.
    hand_over: Option<Waiting>,
    /// A host function that the guest waits for.
    host_call: Option<Waiting>,
    /// How it will end, once the output is handed over.
    outcome: Option<Result<()>>,
}

/// An engine.
pub struct Engine {
    thread: ThreadMark,
    compiled: Arc<Compiled>,
    context: Rc<Context>,
    body: RefCell<Option<Body>>,
    /// The embedder's engine, if it is one; until this one is released.
    instance: RefCell<Option<Rc<Instance>>>,
    state: Cell<State>,
    operation: RefCell<Operation>,
    /// Number of the operation that is going on, or of the last one.
    number: Cell<u64>,
    /// A call into the engine is further down the stack.
    busy: Cell<bool>,
    poisoned: Cell<bool>,
    /// Records of a compressed batch.
    scratch: RefCell<Vec<u8>>,
}

/// Marks an engine as busy for as long as it lives, and as poisoned if a panic ends that.
pub struct Busy<'a>(&'a Engine);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.busy.set(false);
        if std::thread::panicking() {
            self.0.poisoned.set(true);
            self.0.context.meter.fail(Status::Panic);
        }
    }
}

impl Engine {
    /// A stopped engine that belongs to this thread. Fails only if it is one of the embedder's that does not want to be
    /// made.
    pub fn new(compiled: Arc<Compiled>) -> Result<Self> {
        let instance = match &compiled.program {
            Program::Module(_) => None,
            Program::Custom(callbacks) => Some(Rc::new(Instance::create(callbacks, &compiled.transform.name)?)),
        };
        let shared = &compiled.shared;
        let meter = shared.metrics.join(&compiled.transform.name);
        let context = Context::new(compiled.transform.clone(), &shared.config, shared.log.clone(), meter);
        Ok(Self {
            thread: ThreadMark::current(),
            compiled,
            context: Rc::new(context),
            body: RefCell::new(None),
            instance: RefCell::new(instance),
            state: Cell::new(State::Stopped),
            operation: RefCell::default(),
            number: Cell::new(0),
            busy: Cell::new(false),
            poisoned: Cell::new(false),
            scratch: RefCell::new(Vec::new()),
        })
    }

    /// Refuses other threads. Everything but this needs to have passed it.
    #[inline]
    pub fn check_thread(&self) -> Result<()> {
        self.thread.check()
    }

    /// Marks the engine as busy; refuses other threads, callbacks of this very engine, and an engine that panicked.
    #[inline]
    pub fn enter(&self) -> Result<Busy<'_>> {
        self.check_thread()?;
        if self.busy.replace(true) {
            return Err(Error::new(Status::Busy, "the engine is at work further up this call stack; call it later"));
        }
        if self.poisoned.get() {
            self.busy.set(false);
            return Err(Error::new(Status::Poisoned, "the engine is unusable after a panic; release it"));
        }
        Ok(Busy(self))
    }

    /// What its guest is made from.
    pub fn compiled(&self) -> &Arc<Compiled> {
        &self.compiled
    }

    /// Number of the operation that is going on, or of the last one.
    pub fn number(&self) -> u64 {
        self.number.get()
    }

    /// What the engine is doing.
    pub fn state(&self) -> State {
        self.state.get()
    }

    /// Where the host's data about this engine is kept.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Bytes of the guest's memory.
    pub fn memory_size(&self) -> usize {
        self.context.memory_size()
    }

    fn expect(&self, wanted: State, call: &str) -> Result<()> {
        self.compiled.expect(self.state.get(), wanted, call)
    }

    /// Whether nothing can be done with it any more.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned.get()
    }

    /// Refuses callbacks of this very engine.
    pub fn check_not_busy(&self) -> Result<()> {
        self.enter_to_stop().map(drop)
    }

    /// Refuses callbacks of this very engine, and one that panicked.
    pub fn check_free(&self) -> Result<()> {
        self.enter().map(drop)
    }

    /// Goes on with the numbers of another engine, whose operations are not to be taken for this one's. Nothing must be
    /// going on.
    pub fn continue_from(&self, number: u64) {
        self.number.set(self.number.get().max(number));
    }

    fn begin(&self, state: State, sink: Option<OutputSink>) -> u64 {
        self.state.set(state);
        self.operation.borrow_mut().sink = sink;
        self.number.set(self.number.get() + 1);
        self.number.get()
    }

    /// Whether `start` would begin.
    pub fn check_start(&self) -> Result<()> {
        let _busy = self.enter()?;
        self.may_start()
    }

    fn may_start(&self) -> Result<()> {
        self.expect(State::Stopped, "start")?;
        self.check_place()
    }

    /// Refuses a thread on which it cannot start.
    pub fn check_place(&self) -> Result<()> {
        if Turns::thread_is_ending() {
            // Random numbers, for one, come from something thread-local: wasmtime-wasi's seed for a guest.
            let why = "the thread is ending, or the program: no guest can start any more";
            return Err(Error::new(Status::InvalidState, why));
        }
        self.check_pool()
    }

    fn is_guest(&self) -> bool {
        matches!(self.compiled.program, Program::Module(_))
    }

    /// Refuses a thread that has no pool for a guest, if there must be one.
    fn check_pool(&self) -> Result<()> {
        if let Some(pools) = &self.compiled.shared.pools
            && self.is_guest()
        {
            pools.mine().ok_or_else(not_prepared)?;
        }
        Ok(())
    }

    /// Begins a start; gives the operation's number.
    pub fn start(&self) -> Result<u64> {
        let _busy = self.enter()?;
        self.may_start()?;
        self.context.reset();
        self.context.meter.begin_start();
        Ok(self.begin(State::Starting, None))
    }

    /// Begins to transform a batch from record `first` on; gives the operation's number.
    ///
    /// The records keep pointing into `batch`, whatever lifetime it claims to have: the caller answers for it until the
    /// operation is over or cancelled.
    pub fn transform(&self, batch: &'static [u8], first: u32, sink: OutputSink) -> Result<u64> {
        let _busy = self.enter()?;
        self.expect(State::Idle, "transform")?;
        let meter = &self.context.meter;
        meter.begin_transform(batch.len());
        let mut scratch = self.scratch.borrow_mut();
        let mut work = self.context.work.borrow_mut();
        let at_hand = &mut work.batch;
        let decompressed = self.check(&mut at_hand.records, batch, first, &mut scratch).inspect_err(|e| {
            if !e.status.is_misuse() {
                meter.end_check();
                meter.fail(e.status);
            }
        })?;
        let records = &mut at_hand.records;
        records.begin(if decompressed { scratch_records(&scratch) } else { &batch[header::SIZE..] });
        let mut before = Current::before(&records.header);
        if first > 0 {
            records.skip(first);
            // What the guest is told is how many it will get.
            records.header.record_count -= first as i32;
            // What it writes before the first of them is not attributed to a record that others are done with.
            if let Some(record) = records.peek() {
                before = Current { offset: record.offset, timestamp: record.timestamp };
            }
        }
        at_hand.give(batch, first, before);
        drop(work);
        meter.end_check();
        Ok(self.begin(State::Transforming, Some(sink)))
    }

    fn check(&self, records: &mut Records<'_>, batch: &[u8], first: u32, scratch: &mut Vec<u8>) -> Result<bool> {
        let config = &self.compiled.shared.config;
        let named = |e: crate::batch::error::Error| {
            let e = Error::from(e);
            let name = &self.compiled.transform.name;
            Error::new(e.status, format!("transform \"{name}\": {}", e.message))
        };
        let decompressed = records.check(batch, config.max_batch_size, config.check_crc, scratch).map_err(named)?;
        let count = records.header.record_count;
        if first > 0 && first >= count as u32 {
            return Err(Error::invalid(format!("first_record is {first}; the batch has {count} records")));
        }
        Ok(decompressed)
    }

    /// Whether `transform` would take a batch, whatever is going on.
    pub fn check_batch(&self, batch: &[u8], first: u32) -> Result<()> {
        // The engine's own scratch may have a batch in it.
        self.check(&mut Records::to_check(), batch, first, &mut Vec::new()).map(drop).inspect_err(|e| {
            if !e.status.is_misuse() {
                self.context.meter.series().errors.count(e.status);
            }
        })
    }

    /// Stops: drops the guest, and cancels what is going on.
    ///
    /// `lender` has what the operation that is going on was lent: it is dropped where that is, after the guest and before
    /// the output that its sink may still read.
    pub fn stop<T>(&self, lender: T) -> Result<()> {
        let _busy = self.enter_to_stop()?;
        self.count_cancelled();
        self.drop_guest(lender);
        Ok(())
    }

    /// The engine's metrics go, and the embedder's engine; it is stopped for good.
    pub fn leave(&self) {
        self.context.leave();
        let instance = self.instance.borrow_mut().take();
        drop(instance);
    }

    /// An operation that is going on is about to be cancelled. After a panic it has been counted already.
    fn count_cancelled(&self) {
        if self.is_going_on(self.number.get()) && !self.poisoned.get() {
            self.context.meter.fail(Status::Cancelled);
        }
    }

    /// As `enter`, but lets a poisoned engine pass.
    fn enter_to_stop(&self) -> Result<Busy<'_>> {
        self.check_thread()?;
        if self.busy.replace(true) {
            return Err(Error::new(Status::Busy, "the engine is at work further up this call stack; stop it later"));
        }
        Ok(Busy(self))
    }

    /// Cancels operation `number`, if it is still going on. Its guest has seen part of a batch that goes away, so the
    /// guest goes too.
    pub fn cancel(&self, number: u64) -> Result<()> {
        let _busy = self.enter_to_stop()?;
        if self.is_going_on(number) {
            self.count_cancelled();
            self.drop_guest(());
        }
        Ok(())
    }

    /// Whether operation `number` is not over.
    pub fn is_going_on(&self, number: u64) -> bool {
        self.number.get() == number && matches!(self.state.get(), State::Starting | State::Transforming)
    }

    fn drop_guest<T>(&self, lender: T) {
        self.state.set(State::Stopped);
        // The guest first: its stack may still hold records of the batch.
        let body = self.body.borrow_mut().take();
        drop(body);
        self.context.note_memory_size(0);
        self.context.flush_log();
        drop(self.context.host_call.take());
        // Its sink comes before the output: the host may read a pending block until the sink's drop returns.
        let operation = core::mem::take(&mut *self.operation.borrow_mut());
        drop(operation);
        drop(lender);
        self.context.work.borrow_mut().release();
        self.trim();
    }

    /// Frees what one large batch made large.
    fn trim(&self) {
        let mut scratch = self.scratch.borrow_mut();
        if scratch.capacity() > KEPT_SCRATCH {
            *scratch = Vec::new();
        }
        self.context.work.borrow_mut().output.trim();
    }

    /// A start for which there was no memory or stack.
    fn refused(&self, why: Error) -> Error {
        let name = &self.compiled.transform.name;
        Error::new(why.status, format!("transform \"{name}\" could not start: {}", why.message))
    }

    fn rejected(&self, why: &str) -> Error {
        self.compiled.rejected(why)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.count_cancelled();
        self.drop_guest(());
        self.leave();
    }
}

/// The decompressed records, for as long as the engine keeps them.
#[allow(unsafe_code)]
fn scratch_records(scratch: &[u8]) -> &'static [u8] {
    // SAFETY: the slice goes into `Context::work`, where it is taken out again before `scratch` is next written: a new
    // batch is only accepted in state Idle, in which the guest waits in `read_batch_header`, which drops the batch before
    // it; and `drop_guest` drops it before the engine frees `scratch`. Nothing hands it out: host functions copy from it.
    unsafe { core::slice::from_raw_parts(scratch.as_ptr(), scratch.len()) }
}
