//! What C holds of an engine: the only gate in front of it. Threads, re-entrancy, panics, states and numbers of
//! operations are checked here and nowhere below.
//!
//! Callbacks of the host run during calls and may call the library again. So the data that they may ask for at any time
//! is in cells. Everything else is behind the gate.

use super::attached::Attached;
use super::circuit::wasm_circuit;
use super::entered::Entered;
use super::replacement::Replacement;
use super::runner::Runner;
use super::shared::SharedUser;
use super::supervisor::Supervisor;
use super::wakers::Wakers;
use super::{Engine, policy::Policy};
use crate::base::error::{Error, Result};
use crate::base::state::{wasm_engine_state as State, wasm_poll};
use crate::base::status::wasm_status as Status;
use crate::base::thread_mark::ThreadMark;
use crate::batch::input::Input;
use crate::compile::factory::Compiled;
use crate::guest::batches::Batches;
use crate::guest::context::Context;
use crate::guest::progress::Progress;
use crate::host::sink::OutputSink;
use crate::host::waker::Waker;
use core::cell::{Cell, RefCell};
use core::ffi::c_void;
use std::rc::Rc;
use std::sync::Arc;

/// Whether the engine has its own guest.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum EngineKind {
    /// This engine has its own guest.
    Own,
    /// The guest is shared with others on the thread.
    Shared,
}

impl EngineKind {
    /// A stopped engine.
    pub(super) fn make(self, compiled: &Arc<Compiled>, attached: &Rc<Attached>) -> Result<Box<dyn Engine>> {
        Ok(match self {
            Self::Own => Box::new(Runner::new(compiled.clone())?),
            Self::Shared => Box::new(SharedUser::new(compiled, attached.clone())?),
        })
    }
}

/// Statistics of an engine since it was made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    /// Starts after the first one. Those that failed count too.
    pub restarts: u64,
    /// Records that were dropped.
    pub skipped: u64,
    /// Records that went to the dead letters.
    pub dead_lettered: u64,
    /// Consecutive failures.
    pub failures: u32,
    /// The state of the policy's circuit breaker.
    pub circuit: wasm_circuit,
    /// How often it opened.
    pub stops: u64,
}

/// What is behind the gate.
pub(super) struct SeatState {
    pub(super) engine: Box<dyn Engine>,
    /// The engine's context without an indirection.
    pub(super) context: Rc<Context>,
    /// Exists since a policy was set.
    pub(super) supervisor: Option<Box<Supervisor>>,
    /// A new version that is to replace the engine.
    pub(super) replacement: Option<Box<Replacement>>,
    /// Destination of the output of the transform in progress.
    pub(super) sink: Option<OutputSink>,
}

/// The gate and what can be asked without passing it.
pub struct Seat {
    thread: ThreadMark,
    pub(super) kind: EngineKind,
    pub(super) state: Cell<State>,
    /// Number of the operation in progress or of the last one.
    number: Cell<u64>,
    pub(super) stats: Cell<Stats>,
    has_started: Cell<bool>,
    /// The host has released it. Only futures still refer to it.
    is_closed: Cell<bool>,
    /// A replacement has started the engine that its host left stopped. A start completes at once.
    pub(super) started_for_host: Cell<bool>,
    pub(super) last_error: RefCell<Option<Error>>,
    pub(super) attached: Rc<Attached>,
    /// The context of the engine and that of the new version that is starting.
    pub(super) context: RefCell<Rc<Context>>,
    pub(super) new_context: RefCell<Option<Rc<Context>>>,
    /// Borrowed as long as a call is inside.
    inside: RefCell<SeatState>,
}

impl Seat {
    /// A stopped engine that belongs to this thread.
    pub fn new(kind: EngineKind, compiled: &Arc<Compiled>) -> Result<Self> {
        let attached = Rc::new(Attached::new());
        let engine = kind.make(compiled, &attached)?;
        let context = engine.context().clone();
        Ok(Self {
            thread: ThreadMark::current(),
            kind,
            state: Cell::new(State::Stopped),
            number: Cell::new(0),
            stats: Cell::default(),
            has_started: Cell::new(false),
            is_closed: Cell::new(false),
            started_for_host: Cell::new(false),
            last_error: RefCell::new(None),
            attached,
            context: RefCell::new(context.clone()),
            new_context: RefCell::new(None),
            inside: RefCell::new(SeatState { context, engine, supervisor: None, replacement: None, sink: None }),
        })
    }

    /// Refuses other threads. Everything else requires this check or `enter`.
    #[inline]
    pub fn check_thread(&self) -> Result<()> {
        self.thread.check()
    }

    /// Passes the gate. Refuses other threads, the engine's own callbacks and an engine that panicked.
    #[inline(always)]
    pub(super) fn enter(&self) -> Result<Entered<'_>> {
        let entered = self.enter_to_stop()?;
        if entered.inside.context.poisoned.get() {
            return Err(Error::new(Status::Poisoned, "the engine is unusable after a panic; release it"));
        }
        Ok(entered)
    }

    /// As `enter` but lets an engine pass that panicked.
    #[inline(always)]
    pub(super) fn enter_to_stop(&self) -> Result<Entered<'_>> {
        self.check_thread()?;
        let inside = self.inside.try_borrow_mut().map_err(|_| busy())?;
        let poisons = !std::thread::panicking();
        Ok(Entered { seat: self, inside, poisons, wakers: Wakers::default() })
    }

    /// Sets the engine's handle in C.
    pub fn set_owner(&self, owner: *mut c_void) {
        self.attached.owner.set(owner);
        self.attach(&self.context.borrow());
    }

    /// Attaches the host's pointer.
    pub fn set_user_data(&self, user_data: *mut c_void) {
        self.attached.user_data.set(user_data);
        self.attach(&self.context.borrow());
        // Also for a version that is being started.
        if let Some(context) = &*self.new_context.borrow() {
            self.attach(context);
        }
    }

    /// The guest of a shared engine belongs to others unless this one has the turn.
    pub(super) fn attach(&self, context: &Context) {
        if self.kind == EngineKind::Own || self.attached.has_turn(context) {
            self.attached.take_turn(context);
        }
    }

    /// The host says from which offset the engine continues, unless it has progressed, and where its input ends. None:
    /// it does not say any more.
    pub fn tell_offsets(&self, offsets: Option<(u64, u64)>) -> Result<()> {
        if self.kind == EngineKind::Shared {
            let why = "the users of a shared engine read several inputs: there is no lag of one";
            return Err(Error::new(Status::InvalidState, why));
        }
        let meter = &self.context.borrow().meter;
        match offsets {
            Some((next, end)) => meter.tell_offsets(next, end),
            None => meter.forget_offsets(),
        }
        Ok(())
    }

    /// Bytes of the guest's memory.
    pub fn memory_size(&self) -> usize {
        self.context.borrow().memory_size()
    }

    /// What the engine is doing.
    pub fn state(&self) -> State {
        self.state.get()
    }

    /// The engine's statistics.
    pub fn stats(&self) -> Stats {
        self.stats.get()
    }

    /// How far the last transform has come.
    pub fn progress(&self) -> Result<Progress> {
        match self.attached.progress.get() {
            Some(progress) => Ok(progress),
            None => self.context.borrow().progress().ok_or_else(busy),
        }
    }

    /// Keeps the progress: the context is about to lose it.
    pub(super) fn keep_progress(&self) {
        if let Ok(progress) = self.progress() {
            self.attached.progress.set(Some(progress));
        }
    }

    /// The operation runs: the context has its progress. A user of a shared engine notes it when its turn begins.
    #[inline]
    pub(super) fn note_running(&self) {
        if self.kind == EngineKind::Own {
            self.attached.progress.set(None);
        }
    }

    /// Why a start or a transform last failed under a policy. Also if its host was not told because the policy
    /// continued.
    pub fn last_error(&self) -> Option<Error> {
        self.last_error.borrow().clone()
    }

    /// Whether operation `number` is in progress.
    #[inline]
    pub fn is_in_progress(&self, number: u64) -> bool {
        self.number.get() == number && self.is_working()
    }

    /// Whether any operation is in progress.
    #[inline]
    pub(super) fn is_working(&self) -> bool {
        matches!(self.state.get(), State::Starting | State::Transforming)
    }

    /// Sets what happens from now on when the guest fails. The engine must be stopped.
    pub fn set_policy(&self, policy: Policy) -> Result<()> {
        let mut entered = self.enter()?;
        self.check_open()?;
        if self.state.get() != State::Stopped {
            return Err(Error::new(Status::InvalidState, "a policy can only be set while the engine is stopped"));
        }
        self.count(|stats| {
            stats.failures = 0;
            stats.circuit = wasm_circuit::Closed;
        });
        drop(entered.inside.supervisor.replace(Box::new(Supervisor::new(policy))));
        Ok(())
    }

    /// Begins a start. Returns the operation's number. None if a replacement has started the engine already.
    pub fn start(&self) -> Result<Option<u64>> {
        let mut entered = self.enter()?;
        self.check_open()?;
        if self.state.get() == State::Idle && self.started_for_host.take() {
            return Ok(None);
        }
        self.expect(&entered, State::Stopped, "start")?;
        let SeatState { engine, supervisor, .. } = &mut *entered.inside;
        match supervisor {
            None => {
                engine.start()?;
                self.count_start();
            }
            Some(supervisor) => {
                // An engine that cannot start on this thread is refused at once.
                engine.check_start()?;
                supervisor.start();
            }
        }
        self.started_for_host.set(false);
        Ok(Some(self.begin(State::Starting)))
    }

    /// Refuses an engine that its host has released, but whose wakers are called or whose futures are still there.
    pub(super) fn check_open(&self) -> Result<()> {
        if self.is_closed.get() {
            return Err(Error::new(Status::InvalidState, "the engine was released"));
        }
        Ok(())
    }

    /// Begins to transform a batch from record `first` on. If there are several, `batches` has all of them. Returns the
    /// operation's number.
    #[inline]
    pub fn transform(
        &self,
        input: Input<'static>,
        first: u32,
        batches: Option<Box<Batches>>,
        sink: OutputSink,
    ) -> Result<u64> {
        let mut entered = self.enter()?;
        self.expect(&entered, State::Idle, "transform")?;
        let inside = &mut *entered.inside;
        inside.engine.transform(input, first, batches)?;
        self.note_running();
        self.started_for_host.set(false);
        if let Some(supervisor) = &mut inside.supervisor {
            supervisor.transform();
        }
        inside.sink = Some(sink);
        Ok(self.begin(State::Transforming))
    }

    #[inline]
    fn begin(&self, state: State) -> u64 {
        self.state.set(state);
        self.number.set(self.number.get() + 1);
        self.number.get()
    }

    #[inline]
    fn expect(&self, entered: &Entered<'_>, wanted: State, call: &str) -> Result<()> {
        if self.state.get() == wanted { Ok(()) } else { Err(self.unexpected(entered, call)) }
    }

    #[cold]
    fn unexpected(&self, entered: &Entered<'_>, call: &str) -> Error {
        let why = match self.state.get() {
            State::Stopped => "it is stopped",
            State::Starting => "it is still starting",
            State::Idle => "it is started already",
            State::Transforming => "a transform is in progress",
        };
        let transform = &entered.inside.engine.compiled().transform;
        transform.error(Status::InvalidState, format_args!("the engine cannot {call}: {why}"))
    }

    /// Drives operation `number`. After an error the operation has completed and the engine is stopped, unless the call
    /// had no effect or the batch was refused.
    #[inline]
    pub fn poll(&self, number: u64, mut waker: Waker) -> Result<wasm_poll> {
        let mut entered = self.enter()?;
        if !self.is_in_progress(number) {
            return Err(Error::new(
                Status::Cancelled,
                "the engine was stopped or released before this operation had completed",
            ));
        }
        let polled = entered.drive(&mut waker);
        // Its drop is the host's code. The engine counts as busy.
        drop(waker);
        match &polled {
            Ok(wasm_poll::Ready) => entered.end(State::Idle),
            Ok(_) => {}
            Err(e) if e.status.had_no_effect() => {}
            Err(_) if entered.inside.context.refused.take() => entered.end(State::Idle),
            Err(e) => entered.fail(e),
        }
        entered.replace_if_due();
        polled
    }

    /// Cancels operation `number` if it is in progress. Its guest has seen part of a batch that is no longer valid. So
    /// the guest is dropped too.
    pub fn cancel(&self, number: u64) -> Result<()> {
        let mut entered = self.enter_to_stop()?;
        if self.is_in_progress(number) {
            entered.stop();
        }
        entered.replace_if_due();
        Ok(())
    }

    /// Stops in any state.
    pub fn stop(&self) -> Result<()> {
        let mut entered = self.enter_to_stop()?;
        entered.stop();
        entered.drop_replacement(None);
        Ok(())
    }

    /// Stops for good. Also drops the timer.
    pub fn close(&self) -> Result<()> {
        let mut entered = self.enter_to_stop()?;
        self.is_closed.set(true);
        entered.stop();
        entered.drop_replacement(None);
        entered.inside.engine.leave();
        drop(entered.inside.supervisor.take());
        Ok(())
    }

    pub(super) fn count_start(&self) {
        if self.has_started.replace(true) {
            self.count(|stats| stats.restarts += 1);
        }
    }

    /// A start from here on is not the first one.
    pub(super) fn note_started(&self) {
        self.has_started.set(true);
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Stats)) {
        let mut stats = self.stats.get();
        change(&mut stats);
        self.stats.set(stats);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // It was closed when its host released it unless that panicked.
        let _ = self.close();
    }
}

#[cold]
fn busy() -> Error {
    Error::new(
        Status::Busy,
        "the engine is busy: this call comes from one of the engine's own callbacks; call it when that has returned",
    )
}
