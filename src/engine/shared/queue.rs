//! What the users of a shared engine share: the runner and the queue in front of it.

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
    /// The thread's shared engines by the address of their factory, which they keep alive.
    static ENGINES: RefCell<HashMap<usize, Weak<SharedEngine>>> = RefCell::default();
}

/// What the users share.
pub struct SharedEngine {
    runner: RefCell<Runner>,
    /// The runner's context.
    pub context: Rc<Context>,
    /// The runner's factory.
    pub compiled: Arc<Compiled>,
    queue: RefCell<VecDeque<Rc<Ticket>>>,
    users: Cell<usize>,
    /// Users that are not stopped.
    pub started: Cell<usize>,
    /// The newest user.
    pub newest: Cell<u64>,
    /// The user that has the turn or had it last.
    pub turn: Cell<u64>,
}

/// A place in the queue.
pub struct Ticket {
    /// The ticket belongs to a start. Any other start makes it superfluous.
    starts: bool,
    /// Another start has completed. The ticket is no longer in the queue.
    pub done: Cell<bool>,
    /// The waker of a poll that found others in front.
    pub waker: Rc<WakerSlot>,
}

impl Ticket {
    /// Not in a queue.
    pub fn new(starts: bool, done: bool) -> Rc<Self> {
        Rc::new(Self { starts, done: Cell::new(done), waker: Rc::default() })
    }

    /// Whether the ticket belongs to a start.
    pub fn is_start(&self) -> bool {
        self.starts
    }
}

impl SharedEngine {
    /// This thread's engine from `compiled` with one more user. Made if there is none.
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
        // The runner may have run the host's code. That may have made the shared engine.
        if let Some(found) = find()? {
            // Before `runner` is dropped, which may run that code again.
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

    /// Removes a user. True if it was the last one.
    pub fn part(&self) -> bool {
        self.users.set(self.users.get() - 1);
        self.users.get() == 0
    }

    /// Removes the engine after its last user.
    pub fn close(self: &Rc<Self>) {
        let key = Arc::as_ptr(&self.compiled).addr();
        let _ = ENGINES.try_with(|engines| {
            let mut engines = engines.borrow_mut();
            // Another engine may have replaced one that panicked.
            if engines.get(&key).is_some_and(|other| Weak::ptr_eq(other, &Rc::downgrade(self))) {
                engines.remove(&key);
            }
        });
        if let Ok(mut runner) = self.runner() {
            runner.leave();
        }
    }

    /// The runner for the user that has the turn. For the host's callbacks it is busy, also if they use another engine
    /// of it.
    pub fn runner(&self) -> Result<RefMut<'_, Runner>> {
        self.runner.try_borrow_mut().map_err(|_| {
            let why = "the shared engine is busy: this call comes from one of its own callbacks; call it when that has returned";
            Error::new(Status::Busy, why)
        })
    }

    /// Whether the guest runs.
    pub fn runs(&self) -> bool {
        matches!(self.context.state.get(), State::Idle | State::Transforming)
    }

    /// Whether the guest runs and nothing is in progress or waits.
    pub fn is_free(&self) -> bool {
        self.queue.borrow().is_empty() && self.context.state.get() == State::Idle
    }

    /// A new ticket at the end of the queue.
    pub fn enqueue(&self, starts: bool) -> Rc<Ticket> {
        let ticket = Ticket::new(starts, false);
        self.queue.borrow_mut().push_back(ticket.clone());
        ticket
    }

    /// Whether this ticket has the turn.
    pub fn is_first(&self, ticket: &Rc<Ticket>) -> bool {
        self.queue.borrow().front().is_some_and(|first| Rc::ptr_eq(first, ticket))
    }

    /// Removes a ticket. If it was the first, the next one has the turn.
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

    /// The guest runs. So it does for all users that want to start it. The first ticket stays.
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
