//! What the users of a shared engine share: the runner, and the queue in front of it.

use crate::base::error::{Error, Result};
use crate::base::state::wasm_engine_state as State;
use crate::base::status::wasm_status as Status;
use crate::compile::factory::Compiled;
use crate::engine::Engine as _;
use crate::engine::runner::Runner;
use crate::engine::wakers::{WakerSlot, Wakers};
use crate::guest::context::Context;
use core::cell::{Cell, RefCell, RefMut};
use std::collections::{HashMap, VecDeque};
use std::rc::{Rc, Weak};
use std::sync::Arc;

thread_local! {
    /// The thread's shared engines, by the address of what they are made from, which they keep alive.
    static ENGINES: RefCell<HashMap<usize, Weak<SharedEngine>>> = RefCell::default();
}

/// What the users share.
pub struct SharedEngine {
    runner: RefCell<Runner>,
    /// The runner's.
    pub context: Rc<Context>,
    /// The runner's.
    pub compiled: Arc<Compiled>,
    queue: RefCell<VecDeque<Rc<Ticket>>>,
    users: Cell<usize>,
    /// Users that are not stopped.
    pub started: Cell<usize>,
    /// The newest user.
    pub newest: Cell<u64>,
    /// The user whose turn it is, or was last.
    pub turn: Cell<u64>,
}

/// A place in the queue.
pub struct Ticket {
    /// It is a start's, which any other start makes superfluous.
    starts: bool,
    /// That has happened, and it is no longer in the queue.
    pub done: Cell<bool>,
    /// Of a poll that found others in front.
    pub waker: Rc<WakerSlot>,
}

impl Ticket {
    /// Not in a queue.
    pub fn new(starts: bool, done: bool) -> Rc<Self> {
        Rc::new(Self { starts, done: Cell::new(done), waker: Rc::default() })
    }

    /// Whether it is a start's.
    pub fn is_start(&self) -> bool {
        self.starts
    }
}

impl SharedEngine {
    /// This thread's engine from `compiled`, with one user more; made, if there is none.
    pub fn of_thread(compiled: &Arc<Compiled>) -> Result<Rc<Self>> {
        let key = Arc::as_ptr(compiled).addr();
        let find = || {
            let found = ENGINES.try_with(|engines| engines.borrow().get(&key).and_then(Weak::upgrade));
            found.map(|found| found.filter(|found| found.users.get() > 0 && !found.context.poisoned.get())).map_err(
                |_| Error::new(Status::InvalidState, "the thread is ending: it can have no shared engine any more"),
            )
        };
        if let Some(found) = find()? {
            return Ok(found.join());
        }
        let runner = Runner::new(compiled.clone())?;
        // Making it may have run the embedder's code, which may have come by here.
        if let Some(found) = find()? {
            // Before `runner` goes, which may run that code again.
            return Ok(found.join());
        }
        let made = Rc::new(Self {
            context: runner.context().clone(),
            compiled: compiled.clone(),
            runner: RefCell::new(runner),
            queue: RefCell::default(),
            users: Cell::new(1),
            started: Cell::new(0),
            newest: Cell::new(0),
            turn: Cell::new(0),
        });
        let _ = ENGINES.try_with(|engines| engines.borrow_mut().insert(key, Rc::downgrade(&made)));
        Ok(made)
    }

    fn join(self: Rc<Self>) -> Rc<Self> {
        self.users.set(self.users.get() + 1);
        self
    }

    /// A user is gone; true if it was the last one.
    pub fn part(&self) -> bool {
        self.users.set(self.users.get() - 1);
        self.users.get() == 0
    }

    /// The last user is gone.
    pub fn close(self: &Rc<Self>) {
        let key = Arc::as_ptr(&self.compiled).addr();
        let _ = ENGINES.try_with(|engines| {
            let mut engines = engines.borrow_mut();
            // Another one may have taken the place of one that panicked.
            if engines.get(&key).is_some_and(|other| Weak::ptr_eq(other, &Rc::downgrade(self))) {
                engines.remove(&key);
            }
        });
        if let Ok(mut runner) = self.runner() {
            runner.leave();
        }
    }

    /// The runner, for the user whose turn it is. A callback of the embedder's that comes by other ways than its own engine
    /// is told that the engine is busy.
    pub fn runner(&self) -> Result<RefMut<'_, Runner>> {
        self.runner.try_borrow_mut().map_err(|_| {
            let why = "the shared engine is busy: this is a callback of its; call it when that has returned";
            Error::new(Status::Busy, why)
        })
    }

    /// Whether the guest runs.
    pub fn runs(&self) -> bool {
        matches!(self.context.state.get(), State::Idle | State::Transforming)
    }

    /// Whether nothing is in progress or waits, and the guest runs.
    pub fn is_free(&self) -> bool {
        self.queue.borrow().is_empty() && self.context.state.get() == State::Idle
    }

    /// A new last place.
    pub fn enqueue(&self, starts: bool) -> Rc<Ticket> {
        let ticket = Ticket::new(starts, false);
        self.queue.borrow_mut().push_back(ticket.clone());
        ticket
    }

    /// Whether it is this one's turn.
    pub fn is_first(&self, ticket: &Rc<Ticket>) -> bool {
        self.queue.borrow().front().is_some_and(|first| Rc::ptr_eq(first, ticket))
    }

    /// Gives a place up; if it was the first, it is the next one's turn.
    pub fn dequeue(&self, ticket: &Rc<Ticket>, wakers: &mut Wakers) {
        let mut queue = self.queue.borrow_mut();
        let Some(at) = queue.iter().position(|other| Rc::ptr_eq(other, ticket)) else { return };
        queue.remove(at);
        if at == 0
            && let Some(first) = queue.front()
        {
            wakers.add(&first.waker);
        }
    }

    /// The guest runs: so it does for all users who want to start it. The first place stays.
    pub fn note_started(&self, wakers: &mut Wakers) {
        let mut first = true;
        self.queue.borrow_mut().retain(|ticket| {
            if core::mem::take(&mut first) || !ticket.starts {
                return true;
            }
            ticket.done.set(true);
            wakers.add(&ticket.waker);
            false
        });
    }
}
