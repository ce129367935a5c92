//! An engine as its host knows it: one operation of the host's may be several of the guest's, when a policy says that a
//! record is skipped or a start tried again.
//!
//! Without a policy everything goes straight through.

mod inner;
mod replacement;
mod steps;

pub use inner::Inner;
pub use replacement::Switch;

use crate::base::error::{Error, Result};
use crate::base::state::{wasm_engine_state as State, wasm_poll};
use crate::base::status::wasm_status as Status;
use crate::base::thread_mark::ThreadMark;
use crate::engine::dead_letter::Letter;
use crate::engine::policy::Policy;
use crate::host::call::Waiting;
use crate::host::sink::OutputSink;
use crate::host::waker::Waker;
use core::cell::{Cell, RefCell};
use core::ffi::c_void;
use replacement::Replacement;
use std::time::Duration;

/// What the host began.
struct Operation {
    /// The batch with its sink, of a transform. It is dropped before the step: the sink may still read a letter.
    transform: Option<Transform>,
    step: Step,
}

struct Transform {
    batch: &'static [u8],
    sink: OutputSink,
    /// The first record that is not done with.
    next: u32,
}

/// What is going on for it.
enum Step {
    /// The guest is to start, as soon as the failures before it allow.
    Start,
    /// Time passes until it may.
    Waiting(Waiting),
    /// It is to start at the next poll.
    StartNow,
    /// It starts: this operation of the engine.
    Starting(u64),
    /// It transforms.
    Transforming(u64),
    /// The host has not finished with a dead letter.
    Letter(Waiting, #[allow(dead_code)] Letter),
}

/// How an engine has fared, since it was made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    /// Starts after the first one, also those that failed.
    pub restarts: u64,
    /// Records that were dropped.
    pub skipped: u64,
    /// Records that went to the dead letters.
    pub dead_lettered: u64,
    /// Failures in a row; health ends the row.
    pub failures: u32,
}

/// The engine.
///
/// Callbacks of the host's run while it is at work and may come back to it. So what they may ask for at any time is in
/// cells, and what is in a `RefCell` is only touched by whoever has entered.
pub struct Supervisor {
    operation: RefCell<Option<Operation>>,
    /// Another one only while nothing is going on in it, and nothing else refers to it.
    engine: RefCell<Inner>,
    thread: ThreadMark,
    /// The engine as C knows it, and what the host attached to it.
    owner: Cell<*mut c_void>,
    user_data: Cell<*mut c_void>,
    /// What is to take the engine's place.
    replacement: RefCell<Option<Replacement>>,
    /// It is started, and waits for the end of what is going on.
    replacement_due: Cell<bool>,
    /// A replacement has started the engine, which its host left stopped: a start is over at once.
    started_for_host: Cell<bool>,
    policy: RefCell<Option<Policy>>,
    /// Whether a policy was ever set: from then on operations have this one's numbers, instead of the engine's.
    governs: Cell<bool>,
    /// Number of the operation that is going on, or of the last one.
    number: Cell<u64>,
    /// What the operation that is going on makes of the engine's state.
    doing: Cell<Option<State>>,
    /// A call into it is further down the stack.
    busy: Cell<bool>,
    stats: Cell<Stats>,
    has_started: Cell<bool>,
    last_error: RefCell<Option<Error>>,
}

/// Marks the supervisor as busy for as long as it lives.
struct Busy<'a>(&'a Cell<bool>);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

impl Supervisor {
    /// An engine without a policy.
    pub fn new(engine: Inner) -> Self {
        Self {
            operation: RefCell::new(None),
            engine: RefCell::new(engine),
            thread: ThreadMark::current(),
            owner: Cell::new(core::ptr::null_mut()),
            user_data: Cell::new(core::ptr::null_mut()),
            replacement: RefCell::new(None),
            replacement_due: Cell::new(false),
            started_for_host: Cell::new(false),
            policy: RefCell::new(None),
            governs: Cell::new(false),
            number: Cell::new(0),
            doing: Cell::new(None),
            busy: Cell::new(false),
            stats: Cell::default(),
            has_started: Cell::new(false),
            last_error: RefCell::new(None),
        }
    }

    /// Refuses other threads. Everything but this needs to have passed it.
    #[inline]
    pub fn check_thread(&self) -> Result<()> {
        self.thread.check()
    }

    /// Says what the engine is called in C.
    pub fn set_owner(&self, owner: *mut c_void) {
        self.owner.set(owner);
        self.attach(&self.engine.borrow());
    }

    /// Attaches the host's pointer.
    pub fn set_user_data(&self, user_data: *mut c_void) {
        self.user_data.set(user_data);
        self.attach(&self.engine.borrow());
        // One that is being started, too.
        if let Ok(slot) = self.replacement.try_borrow()
            && let Some(replacement) = &*slot
        {
            self.attach(&replacement.new);
        }
    }

    fn attach(&self, engine: &Inner) {
        engine.attach(self.owner.get(), self.user_data.get());
    }

    /// Bytes of the guest's memory.
    pub fn memory_size(&self) -> usize {
        self.engine.borrow().memory_size()
    }

    fn enter(&self) -> Result<Busy<'_>> {
        self.check_thread()?;
        if self.busy.replace(true) {
            return Err(Error::new(Status::Busy, "the engine is at work further up this call stack; call it later"));
        }
        Ok(Busy(&self.busy))
    }

    /// Says what happens from now on when the guest fails. The engine must be stopped.
    pub fn set_policy(&self, policy: Policy) -> Result<()> {
        let _busy = self.enter()?;
        // Without a policy only the engine itself knows that it is at work.
        self.engine.borrow().check_free()?;
        if self.state() != State::Stopped {
            return Err(Error::new(Status::InvalidState, "a policy can only be set while the engine is stopped"));
        }
        if !self.governs.replace(true) {
            // Futures from before must not pass for later ones.
            self.number.set(self.engine.borrow().number());
        }
        self.count(|stats| stats.failures = 0);
        let before = self.policy.borrow_mut().replace(policy);
        drop(before);
        Ok(())
    }

    /// How it has fared.
    pub fn stats(&self) -> Stats {
        self.stats.get()
    }

    /// Why a start or a transform failed last, also when its host was not told because it goes on.
    pub fn last_error(&self) -> Option<Error> {
        self.last_error.borrow().clone()
    }

    /// What the engine is doing, as its host sees it.
    pub fn state(&self) -> State {
        self.doing.get().unwrap_or_else(|| self.engine.borrow().state())
    }

    fn begin(&self, doing: State, operation: Operation) -> u64 {
        *self.operation.borrow_mut() = Some(operation);
        self.doing.set(Some(doing));
        self.number.set(self.number.get() + 1);
        self.number.get()
    }

    /// Begins a start; gives the operation's number, or none if it is over already.
    pub fn start(&self) -> Result<Option<u64>> {
        let _busy = self.enter()?;
        self.switch_if_due();
        if self.started_for_host.take() && self.state() == State::Idle {
            return Ok(None);
        }
        if !self.governs.get() {
            let number = self.engine.borrow().start()?;
            self.count_start();
            return Ok(Some(number));
        }
        self.check_free("start")?;
        // Whoever may not start at all is told so at once.
        self.engine.borrow().check_start()?;
        Ok(Some(self.begin(State::Starting, Operation { transform: None, step: Step::Start })))
    }

    /// Begins to transform a batch from record `first` on; gives the operation's number. As `Engine::transform`.
    pub fn transform(&self, batch: &'static [u8], first: u32, sink: OutputSink) -> Result<u64> {
        let _busy = self.enter()?;
        self.switch_if_due();
        self.started_for_host.set(false);
        if !self.governs.get() {
            return self.engine.borrow().transform(batch, first, sink);
        }
        self.check_free("transform")?;
        #[allow(unsafe_code)]
        // SAFETY: the engine's operation ends before this one, which owns the sink.
        let lent = unsafe { sink.lent() };
        let inner = self.engine.borrow().transform(batch, first, lent)?;
        let transform = Some(Transform { batch, sink, next: first });
        Ok(self.begin(State::Transforming, Operation { transform, step: Step::Transforming(inner) }))
    }

    fn check_free(&self, call: &str) -> Result<()> {
        match self.doing.get() {
            None => Ok(()),
            Some(doing) => self.engine.borrow().compiled().expect(doing, State::Idle, call),
        }
    }

    /// Stops, whatever is going on.
    pub fn stop(&self) -> Result<()> {
        let _busy = self.enter()?;
        self.stop_now()?;
        self.drop_replacement(None);
        Ok(())
    }

    fn stop_now(&self) -> Result<()> {
        let operation = self.operation.borrow_mut().take();
        self.doing.set(None);
        self.engine.borrow().stop(operation)
    }

    /// Stops for good: gives the timer back, too.
    pub fn close(&self) -> Result<()> {
        let _busy = self.enter()?;
        self.stop_now()?;
        self.drop_replacement(None);
        self.engine.borrow().leave();
        let policy = self.policy.borrow_mut().take();
        drop(policy);
        Ok(())
    }

    /// Cancels operation `number`, if it is going on.
    pub fn cancel(&self, number: u64) -> Result<()> {
        let cancel = || self.engine.borrow().cancel(number);
        if !self.governs.get() && !self.replacement_due.get() {
            return cancel();
        }
        let _busy = self.enter()?;
        if !self.governs.get() {
            cancel()?;
        } else if self.is_going_on(number) {
            self.stop_now()?;
        }
        self.switch_if_due();
        Ok(())
    }

    /// Whether operation `number` is not over.
    pub fn is_going_on(&self, number: u64) -> bool {
        if !self.governs.get() {
            return self.engine.borrow().is_going_on(number);
        }
        self.number.get() == number && self.doing.get().is_some()
    }

    /// Drives operation `number`, as `Engine::poll`.
    #[inline]
    pub fn poll(&self, number: u64, waker: Waker) -> Result<wasm_poll> {
        if !self.governs.get() {
            let polled = self.engine.borrow().poll(number, waker);
            if self.replacement_due.get()
                && let Ok(_busy) = self.enter()
            {
                self.switch_if_due();
            }
            return polled;
        }
        self.poll_by_policy(number, waker)
    }

    fn poll_by_policy(&self, number: u64, waker: Waker) -> Result<wasm_poll> {
        let _busy = self.enter()?;
        if !self.is_going_on(number) {
            return Err(Error::new(Status::Cancelled, "the engine was stopped or released before this was done"));
        }
        let mut slot = self.operation.borrow_mut();
        let Some(operation) = slot.as_mut() else {
            return Err(Error::new(Status::Internal, "an operation is going on, but there is none"));
        };
        let polled = self.drive(operation, waker);
        match &polled {
            Ok(wasm_poll::Ready) => {
                let finished = slot.take();
                drop(slot);
                self.doing.set(None);
                drop(finished);
            }
            Err(e) if !e.status.is_misuse() => {
                self.last_error.replace(Some(e.clone()));
                drop(slot);
                self.stop_now()?;
            }
            _ => {}
        }
        self.switch_if_due();
        polled
    }

    /// Begins to profile the guest.
    pub fn start_profile(&self, interval: Duration) -> Result<()> {
        self.engine.borrow().start_profile(interval)
    }

    /// Ends the profile, and gives it as JSON.
    pub fn finish_profile(&self) -> Result<String> {
        self.engine.borrow().finish_profile()
    }

    fn count_start(&self) {
        if self.has_started.replace(true) {
            self.count(|stats| stats.restarts += 1);
        }
    }

    fn note_skip(&self) {
        self.count(|stats| stats.skipped += 1);
        self.engine.borrow().meter().skip();
    }

    fn note_dead_letter(&self) {
        self.count(|stats| stats.dead_lettered += 1);
        self.engine.borrow().meter().dead_letter();
    }

    fn count(&self, change: impl FnOnce(&mut Stats)) {
        let mut stats = self.stats.get();
        change(&mut stats);
        self.stats.set(stats);
    }
}
