//! One engine of a factory for all of its users on a thread.
//!
//! Each user has the contract of an engine of its own. What they have to do with the engine stands in one queue: starts, as
//! long as it does not run, and transforms. Whoever is at the front drives the engine with its own polls.

use crate::base::error::{Error, Result};
use crate::base::state::{wasm_engine_state as State, wasm_poll};
use crate::base::status::wasm_status as Status;
use crate::compile::factory::Compiled;
use crate::guest::context::Context;
use crate::host::sink::OutputSink;
use crate::host::waker::Waker;
use core::cell::{Cell, RefCell};
use core::ffi::c_void;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

mod queue;

use queue::{Place, SharedEngine, Wakers};

/// A user's operation that is going on.
struct Operation {
    place: Rc<Place>,
    /// The batch of a transform that has not begun.
    waiting: Option<(&'static [u8], u32, OutputSink)>,
    /// What the engine does for it, when it is at the front: a start or the transform.
    inner: Option<u64>,
}

/// A user of a thread's shared engine. All methods are as `Engine`'s.
pub struct User {
    shared: Rc<SharedEngine>,
    id: u64,
    state: Cell<State>,
    operation: RefCell<Option<Operation>>,
    number: Cell<u64>,
    busy: Cell<bool>,
    owner: Cell<*mut c_void>,
    user_data: Cell<*mut c_void>,
    left: Cell<bool>,
}

/// Marks a user as busy for as long as it lives.
struct Busy<'a>(&'a Cell<bool>);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

impl User {
    /// A stopped user of this thread's engine from `compiled`.
    pub fn new(compiled: &Arc<Compiled>) -> Result<Self> {
        let shared = SharedEngine::of_thread(compiled)?;
        let id = shared.newest.get() + 1;
        shared.newest.set(id);
        Ok(Self {
            shared,
            id,
            state: Cell::new(State::Stopped),
            operation: RefCell::new(None),
            number: Cell::new(0),
            busy: Cell::new(false),
            owner: Cell::new(core::ptr::null_mut()),
            user_data: Cell::new(core::ptr::null_mut()),
            left: Cell::new(false),
        })
    }

    fn enter(&self) -> Result<Busy<'_>> {
        let busy = self.enter_to_stop()?;
        if self.shared.engine.is_poisoned() {
            return Err(Error::new(Status::Poisoned, "the shared engine is unusable after a panic; release its users"));
        }
        Ok(busy)
    }

    fn enter_to_stop(&self) -> Result<Busy<'_>> {
        self.shared.engine.check_thread()?;
        if self.busy.replace(true) {
            return Err(Error::new(Status::Busy, "the engine is at work further up this call stack; call it later"));
        }
        Ok(Busy(&self.busy))
    }

    /// Refuses callbacks of this very user.
    pub fn check_not_busy(&self) -> Result<()> {
        self.enter_to_stop().map(drop)
    }

    /// Refuses callbacks of this very user, and an engine that panicked.
    pub fn check_free(&self) -> Result<()> {
        self.enter().map(drop)
    }

    /// What the guest is made from.
    pub fn compiled(&self) -> &Arc<Compiled> {
        self.shared.engine.compiled()
    }

    /// Number of the operation that is going on, or of the last one.
    pub fn number(&self) -> u64 {
        self.number.get()
    }

    /// As `Engine::continue_from`.
    pub fn continue_from(&self, number: u64) {
        self.number.set(self.number.get().max(number));
    }

    /// What the engine is doing for this user.
    pub fn state(&self) -> State {
        self.state.get()
    }

    /// Bytes of the memory that the users share.
    pub fn memory_size(&self) -> usize {
        self.shared.engine.memory_size()
    }

    /// Says what the user is called in C, and what its host attached to it.
    pub fn attach(&self, owner: *mut c_void, user_data: *mut c_void) {
        let its_turn = self.had_last_turn();
        self.owner.set(owner);
        self.user_data.set(user_data);
        if its_turn {
            self.take_turn();
        }
    }

    fn had_last_turn(&self) -> bool {
        self.shared.turn.get() == self.id
    }

    /// What the guest calls, and writes to the log, is this user's from here on.
    fn take_turn(&self) {
        self.shared.turn.set(self.id);
        let context = self.shared.engine.context();
        context.owner.set(self.owner.get());
        context.user_data.set(self.user_data.get());
    }

    /// Of the engine that the users share.
    pub fn context(&self) -> &Context {
        self.shared.engine.context()
    }

    /// As `Engine::start_profile`: of what the users share.
    pub fn start_profile(&self, interval: Duration) -> Result<()> {
        self.shared.engine.start_profile(interval)
    }

    /// As `Engine::finish_profile`.
    pub fn finish_profile(&self) -> Result<String> {
        self.shared.engine.finish_profile()
    }

    /// Whether `start` would begin.
    pub fn check_start(&self) -> Result<()> {
        let _busy = self.enter()?;
        self.may_start()
    }

    fn may_start(&self) -> Result<()> {
        self.compiled().expect(self.state.get(), State::Stopped, "start")?;
        self.shared.engine.check_place()
    }

    /// Begins a start; gives the operation's number.
    pub fn start(&self) -> Result<u64> {
        let _busy = self.enter()?;
        self.may_start()?;
        let place = if self.shared.runs() {
            Rc::new(Place { starts: true, done: Cell::new(true), waker: Cell::new(None) })
        } else {
            self.shared.enqueue(true)
        };
        self.shared.started.set(self.shared.started.get() + 1);
        Ok(self.begin(State::Starting, Operation { place, waiting: None, inner: None }))
    }

    /// Begins to transform a batch, or to wait until it can.
    pub fn transform(&self, batch: &'static [u8], first: u32, sink: OutputSink) -> Result<u64> {
        let _busy = self.enter()?;
        self.compiled().expect(self.state.get(), State::Idle, "transform")?;
        let engine = &self.shared.engine;
        let free = self.shared.queue.borrow().is_empty() && engine.state() == State::Idle;
        let (waiting, inner) = if free {
            self.take_turn();
            (None, Some(engine.transform(batch, first, sink)?))
        } else {
            engine.check_batch(batch, first)?;
            engine.context().meter.queued(1);
            (Some((batch, first, sink)), None)
        };
        let place = self.shared.enqueue(false);
        Ok(self.begin(State::Transforming, Operation { place, waiting, inner }))
    }

    fn begin(&self, state: State, operation: Operation) -> u64 {
        self.state.set(state);
        *self.operation.borrow_mut() = Some(operation);
        self.number.set(self.number.get() + 1);
        self.number.get()
    }

    /// Whether operation `number` is not over.
    pub fn is_going_on(&self, number: u64) -> bool {
        self.number.get() == number && matches!(self.state.get(), State::Starting | State::Transforming)
    }

    /// Drives operation `number`, if it is its turn.
    pub fn poll(&self, number: u64, waker: Waker) -> Result<wasm_poll> {
        let mut wakers = Wakers::default();
        let busy = self.enter()?;
        if !self.is_going_on(number) {
            return Err(Error::new(Status::Cancelled, "the engine was stopped or released before this was done"));
        }
        let polled = self.drive(waker, &mut wakers);
        match &polled {
            Ok(wasm_poll::Ready) => self.finish(State::Idle, &mut wakers),
            Err(e) if !e.status.is_misuse() => self.finish(State::Stopped, &mut wakers),
            _ => {}
        }
        drop(busy);
        wakers.wake();
        polled
    }

    fn drive(&self, waker: Waker, wakers: &mut Wakers) -> Result<wasm_poll> {
        let mut slot = self.operation.borrow_mut();
        let Some(operation) = slot.as_mut() else {
            return Err(Error::new(Status::Internal, "an operation is going on, but there is none"));
        };
        let place = &operation.place;
        drop(place.waker.take());
        if place.done.get() || place.starts && operation.inner.is_none() && self.shared.runs() {
            return Ok(wasm_poll::Ready);
        }
        if !self.shared.is_first(&operation.place) {
            operation.place.waker.set(Some(waker));
            return Ok(wasm_poll::Pending);
        }
        let engine = &self.shared.engine;
        let inner = match operation.inner {
            Some(inner) => inner,
            None => {
                engine.check_free()?;
                self.take_turn();
                let inner = self.begin_turn(operation)?;
                operation.inner = Some(inner);
                inner
            }
        };
        let starts = engine.state() == State::Starting;
        let polled = engine.poll(inner, waker)?;
        if polled == wasm_poll::Ready && starts {
            self.shared.note_started(wakers);
            if operation.waiting.is_some() {
                // The batch comes next. The waker is used up, so that takes another poll.
                operation.inner = None;
                return Ok(wasm_poll::Yielded);
            }
        }
        Ok(polled)
    }

    /// The place is the first one: what is to be done first.
    fn begin_turn(&self, operation: &mut Operation) -> Result<u64> {
        let engine = &self.shared.engine;
        if engine.state() == State::Stopped {
            return engine.start();
        }
        let Some((batch, first, sink)) = operation.waiting.take() else {
            return Err(Error::new(Status::Internal, "the shared engine runs, but a start was not told"));
        };
        engine.context().meter.queued(-1);
        // It was looked at before: if it is refused now, the host has changed it, and the operation is over.
        engine
            .transform(batch, first, sink)
            .map_err(|e| if e.status.is_misuse() { Error::new(Status::Internal, e.message) } else { e })
    }

    /// The operation is over.
    fn finish(&self, state: State, wakers: &mut Wakers) {
        let operation = self.operation.borrow_mut().take();
        let before = self.state.replace(state);
        if let Some(operation) = operation {
            self.shared.dequeue(&operation.place, wakers);
            drop(operation.place.waker.take());
            if operation.waiting.is_some() {
                self.context().meter.queued(-1);
            }
            // The sink of a batch that never began.
            drop(operation);
        }
        if state == State::Stopped && before != State::Stopped {
            let started = self.shared.started.get() - 1;
            self.shared.started.set(started);
            if started == 0 {
                self.take_turn();
                // Nothing can be going on in it: that would be a user's who is not stopped.
                let _ = self.shared.engine.stop(());
            }
        }
    }

    /// Stops this user, whatever it is doing; with the last one, the engine.
    pub fn stop<T>(&self, lender: T) -> Result<()> {
        let mut wakers = Wakers::default();
        let busy = self.enter_to_stop()?;
        let works = self.operation.borrow().as_ref().is_some_and(|operation| operation.inner.is_some());
        if works {
            // The guest has seen part of a batch that goes away, so it goes too.
            self.shared.engine.stop(lender)?;
            self.finish(State::Stopped, &mut wakers);
        } else {
            self.finish(State::Stopped, &mut wakers);
            drop(lender);
        }
        drop(busy);
        wakers.wake();
        Ok(())
    }

    /// Cancels operation `number`, if it is still going on.
    pub fn cancel(&self, number: u64) -> Result<()> {
        if self.is_going_on(number) { self.stop(()) } else { self.enter_to_stop().map(drop) }
    }

    /// The user goes, stopped; the last one takes the engine along.
    pub fn leave(&self) {
        if self.left.replace(true) {
            return;
        }
        let users = self.shared.users.get() - 1;
        self.shared.users.set(users);
        if users == 0 {
            self.take_turn();
            self.shared.close();
        }
        if self.had_last_turn() {
            // Its host may free what this points to.
            let context = self.shared.engine.context();
            context.owner.set(core::ptr::null_mut());
            context.user_data.set(core::ptr::null_mut());
        }
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = self.stop(());
        self.leave();
    }
}
