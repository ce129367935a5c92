//! What the users of a shared engine share: the engine, and the queue in front of it.

use crate::base::error::{Error, Result};
use crate::base::state::wasm_engine_state as State;
use crate::base::status::wasm_status as Status;
use crate::compile::factory::Compiled;
use crate::engine::Engine;
use crate::host::waker::Waker;
use crate::promise::oneshot::Wake as _;
use core::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::{Rc, Weak};
use std::sync::Arc;

thread_local! {
    /// The thread's shared engines, by the address of what they are made from, which they keep alive.
    static ENGINES: RefCell<HashMap<usize, Weak<SharedEngine>>> = RefCell::default();
}

/// What the users share.
pub(super) struct SharedEngine {
    pub(super) engine: Engine,
    pub(super) queue: RefCell<VecDeque<Rc<Place>>>,
    pub(super) users: Cell<usize>,
    /// Users that are not stopped.
    pub(super) started: Cell<usize>,
    /// The number of the newest user.
    pub(super) newest: Cell<u64>,
    /// Of the user whose turn it is, or was last.
    pub(super) turn: Cell<u64>,
}

/// A place in the queue.
pub(super) struct Place {
    /// It is a start's, which any other start makes superfluous.
    pub(super) starts: bool,
    /// That has happened, and it is no longer in the queue.
    pub(super) done: Cell<bool>,
    /// Of a poll that found others in front.
    pub(super) waker: Cell<Option<Waker>>,
}

/// Places whose wakers are called when everything else is done. The wakers stay where they are until then: callbacks that
/// come first may poll or release what would be woken.
#[derive(Default)]
pub(super) struct Wakers(Vec<Rc<Place>>);

impl Wakers {
    pub(super) fn wake(self) {
        for place in self.0 {
            if let Some(waker) = place.waker.take() {
                waker.wake();
            }
        }
    }
}

impl SharedEngine {
    /// This thread's engine from `compiled`, with one user more; made, if there is none.
    pub(super) fn of_thread(compiled: &Arc<Compiled>) -> Result<Rc<Self>> {
        let key = Arc::as_ptr(compiled).addr();
        let find = || {
            let found = ENGINES.try_with(|engines| engines.borrow().get(&key).and_then(Weak::upgrade));
            found.map(|found| found.filter(|found| found.users.get() > 0 && !found.engine.is_poisoned())).map_err(
                |_| Error::new(Status::InvalidState, "the thread is ending: it can have no shared engine any more"),
            )
        };
        if let Some(found) = find()? {
            return Ok(found.join());
        }
        let engine = Engine::new(compiled.clone())?;
        // Making it may have run the embedder's code, which may have come by here.
        if let Some(found) = find()? {
            // Before `engine` goes, which may run that code again.
            return Ok(found.join());
        }
        let made = Rc::new(Self {
            engine,
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

    /// The last user is gone.
    pub(super) fn close(self: &Rc<Self>) {
        let key = Arc::as_ptr(self.engine.compiled()).addr();
        let _ = ENGINES.try_with(|engines| {
            let mut engines = engines.borrow_mut();
            // Another one may have taken the place of one that panicked.
            if engines.get(&key).is_some_and(|other| Weak::ptr_eq(other, &Rc::downgrade(self))) {
                engines.remove(&key);
            }
        });
        self.engine.leave();
    }

    pub(super) fn runs(&self) -> bool {
        matches!(self.engine.state(), State::Idle | State::Transforming)
    }

    pub(super) fn enqueue(&self, starts: bool) -> Rc<Place> {
        let place = Rc::new(Place { starts, done: Cell::new(false), waker: Cell::new(None) });
        self.queue.borrow_mut().push_back(place.clone());
        place
    }

    pub(super) fn is_first(&self, place: &Rc<Place>) -> bool {
        self.queue.borrow().front().is_some_and(|first| Rc::ptr_eq(first, place))
    }

    /// Gives a place up; if it was the first, it is somebody else's turn.
    pub(super) fn dequeue(&self, place: &Rc<Place>, wakers: &mut Wakers) {
        let mut queue = self.queue.borrow_mut();
        let Some(at) = queue.iter().position(|other| Rc::ptr_eq(other, place)) else { return };
        queue.remove(at);
        if at == 0
            && let Some(first) = queue.front()
        {
            wakers.0.push(first.clone());
        }
    }

    /// The engine runs: so it does for everybody who wants to start it. The first place stays.
    pub(super) fn note_started(&self, wakers: &mut Wakers) {
        let mut first = true;
        self.queue.borrow_mut().retain(|place| {
            if core::mem::take(&mut first) || !place.starts {
                return true;
            }
            place.done.set(true);
            wakers.0.push(place.clone());
            false
        });
    }
}
