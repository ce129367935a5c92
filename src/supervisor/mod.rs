//! An engine as its host knows it: one operation of the host's may be several of the guest's, when a policy says that a
//! record is skipped or a start tried again.
//!
//! Without a policy everything goes straight through.

mod steps;

use crate::call::Waiting;
use crate::dead_letter::Letter;
use crate::engine::{Engine, wasm_engine_state as State, wasm_poll};
use crate::error::{Error, Result};
use crate::policy::Policy;
use crate::sink::OutputSink;
use crate::status::wasm_status as Status;
use crate::waker::Waker;
use core::cell::{Cell, RefCell};

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
pub struct Tally {
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
    engine: Engine,
    policy: RefCell<Option<Policy>>,
    /// Whether a policy was ever set: from then on operations have this one's numbers, instead of the engine's.
    governs: Cell<bool>,
    /// Number of the operation that is going on, or of the last one.
    number: Cell<u64>,
    /// What the operation that is going on makes of the engine's state.
    doing: Cell<Option<State>>,
    /// A call into it is further down the stack.
    busy: Cell<bool>,
    tally: Cell<Tally>,
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
    pub fn new(engine: Engine) -> Self {
        Self {
            operation: RefCell::new(None),
            engine,
            policy: RefCell::new(None),
            governs: Cell::new(false),
            number: Cell::new(0),
            doing: Cell::new(None),
            busy: Cell::new(false),
            tally: Cell::default(),
            has_started: Cell::new(false),
            last_error: RefCell::new(None),
        }
    }

    /// The guest's engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    fn enter(&self) -> Result<Busy<'_>> {
        self.engine.check_thread()?;
        if self.busy.replace(true) {
            return Err(Error::new(Status::Busy, "the engine is at work further up this call stack; call it later"));
        }
        Ok(Busy(&self.busy))
    }

    /// Says what happens from now on when the guest fails. The engine must be stopped.
    pub fn set_policy(&self, policy: Policy) -> Result<()> {
        let _busy = self.enter()?;
        // Without a policy only the engine itself knows that it is at work.
        let _engine_busy = self.engine.enter()?;
        if self.state() != State::Stopped {
            return Err(Error::new(Status::InvalidState, "a policy can only be set while the engine is stopped"));
        }
        if !self.governs.replace(true) {
            // Futures from before must not pass for later ones.
            self.number.set(self.engine.number());
        }
        self.count(|tally| tally.failures = 0);
        let before = self.policy.borrow_mut().replace(policy);
        drop(before);
        Ok(())
    }

    /// How it has fared.
    pub fn tally(&self) -> Tally {
        self.tally.get()
    }

    /// Why a start or a transform failed last, also when its host was not told because it goes on.
    pub fn last_error(&self) -> Option<Error> {
        self.last_error.borrow().clone()
    }

    /// What the engine is doing, as its host sees it.
    pub fn state(&self) -> State {
        self.doing.get().unwrap_or_else(|| self.engine.state())
    }

    fn begin(&self, doing: State, operation: Operation) -> u64 {
        *self.operation.borrow_mut() = Some(operation);
        self.doing.set(Some(doing));
        self.number.set(self.number.get() + 1);
        self.number.get()
    }

    /// Begins a start; gives the operation's number.
    pub fn start(&self) -> Result<u64> {
        let _busy = self.enter()?;
        if !self.governs.get() {
            let number = self.engine.start()?;
            self.count_start();
            return Ok(number);
        }
        self.check_free("start")?;
        // Whoever may not start at all is told so at once.
        self.engine.check_start()?;
        Ok(self.begin(State::Starting, Operation { transform: None, step: Step::Start }))
    }

    /// Begins to transform a batch from record `first` on; gives the operation's number. As `Engine::transform`.
    pub fn transform(&self, batch: &'static [u8], first: u32, sink: OutputSink) -> Result<u64> {
        let _busy = self.enter()?;
        if !self.governs.get() {
            return self.engine.transform(batch, first, sink);
        }
        self.check_free("transform")?;
        let inner = self.engine.transform(batch, first, sink.lent())?;
        let transform = Some(Transform { batch, sink, next: first });
        Ok(self.begin(State::Transforming, Operation { transform, step: Step::Transforming(inner) }))
    }

    fn check_free(&self, call: &str) -> Result<()> {
        let why = match self.doing.get() {
            None => return Ok(()),
            Some(State::Transforming) => "a transform is going on",
            Some(_) => "it is still starting",
        };
        let name = &self.engine.compiled().transform.name;
        Err(Error::new(Status::InvalidState, format!("transform \"{name}\": the engine cannot {call}: {why}")))
    }

    /// Stops, whatever is going on.
    pub fn stop(&self) -> Result<()> {
        let _busy = self.enter()?;
        self.stop_now()
    }

    fn stop_now(&self) -> Result<()> {
        let operation = self.operation.borrow_mut().take();
        self.doing.set(None);
        self.engine.stop(operation)
    }

    /// Stops for good: gives the timer back, too.
    pub fn close(&self) -> Result<()> {
        let _busy = self.enter()?;
        self.stop_now()?;
        self.engine.leave();
        let policy = self.policy.borrow_mut().take();
        drop(policy);
        Ok(())
    }

    /// Cancels operation `number`, if it is going on.
    pub fn cancel(&self, number: u64) -> Result<()> {
        if !self.governs.get() {
            return self.engine.cancel(number);
        }
        let _busy = self.enter()?;
        if self.is_going_on(number) { self.stop_now() } else { Ok(()) }
    }

    /// Whether operation `number` is not over.
    pub fn is_going_on(&self, number: u64) -> bool {
        if !self.governs.get() {
            return self.engine.is_going_on(number);
        }
        self.number.get() == number && self.doing.get().is_some()
    }

    /// Drives operation `number`, as `Engine::poll`.
    #[inline]
    pub fn poll(&self, number: u64, waker: Waker) -> Result<wasm_poll> {
        if !self.governs.get() {
            return self.engine.poll(number, waker);
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
                drop(slot);
                self.stop_now()?;
            }
            _ => {}
        }
        polled
    }

    fn count_start(&self) {
        if self.has_started.replace(true) {
            self.count(|tally| tally.restarts += 1);
        }
    }

    fn note_skip(&self) {
        self.count(|tally| tally.skipped += 1);
        self.engine.meter().skip();
    }

    fn note_dead_letter(&self) {
        self.count(|tally| tally.dead_lettered += 1);
        self.engine.meter().dead_letter();
    }

    fn count(&self, change: impl FnOnce(&mut Tally)) {
        let mut tally = self.tally.get();
        change(&mut tally);
        self.tally.set(tally);
    }
}
