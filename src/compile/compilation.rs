//! One compilation as its requesters see it. When the last of them has gone, it is given up at once.
//!
//! A queued compilation is then left out. One that runs in a compile helper is stopped. One that runs in this process
//! cannot be stopped inside Cranelift. In each case its place goes to the next job (`threads`).

use crate::compile::helper::process::Process;
use crate::compile::threads::Place;
use crate::promise::oneshot::{Receiver, Wake};
use crate::system::fork;
use parking_lot::Mutex;
use std::sync::Arc;

/// A compilation in progress.
#[derive(Default)]
pub struct Compilation(Mutex<CompilationState>);

#[derive(Default)]
struct CompilationState {
    /// Requests that want the result.
    interested: usize,
    place: Option<Place>,
    /// The helper that is at work.
    process: Option<Arc<Process>>,
    /// Interest in another compilation that makes the result.
    followed: Option<Interest>,
}

/// Somebody wants the result. The compilation is given up when the last of these is dropped. Whoever joins later finds
/// it without a place, and it continues.
pub struct Interest {
    compilation: Arc<Compilation>,
    /// `fork::generation` in which it was asked for. The child of a fork must not free a place of its parent's.
    generation: u64,
}

impl Drop for Interest {
    fn drop(&mut self) {
        if self.generation == fork::generation() {
            self.compilation.leave();
        }
    }
}

/// A result that a compile thread will deliver.
pub struct Pending<T, W: Wake> {
    // In this order: what is given up has nobody who waits.
    receiver: Receiver<T, W>,
    _interest: Interest,
}

impl<T, W: Wake> Pending<T, W> {
    /// From its parts.
    pub fn new(receiver: Receiver<T, W>, interest: Interest) -> Self {
        Self { receiver, _interest: interest }
    }

    /// As `Receiver::poll`.
    pub fn poll(&self, waker: impl FnOnce() -> W) -> Option<T> {
        self.receiver.poll(waker)
    }
}

impl Compilation {
    /// Another request for the result.
    pub fn join(self: &Arc<Self>) -> Interest {
        self.0.lock().interested += 1;
        Interest { compilation: self.clone(), generation: fork::generation() }
    }

    /// It is queued or runs at this place.
    pub fn set_place(&self, place: Place) {
        self.0.lock().place = Some(place);
    }

    /// Waits for the work of a process, which is stopped when the compilation is given up. `None` if nobody wants the
    /// result.
    pub fn stoppable<T>(&self, process: Arc<Process>, work: impl FnOnce() -> T) -> Option<T> {
        {
            let mut state = self.0.lock();
            if state.interested == 0 {
                return None;
            }
            state.process = Some(process);
        }
        let made = work();
        let mut state = self.0.lock();
        state.process = None;
        (state.interested > 0).then_some(made)
    }

    /// Another compilation makes the result. If nobody wants it the other one learns of that at once.
    pub fn follow(&self, other: Interest) {
        let mut state = self.0.lock();
        let unwanted = if state.interested > 0 { state.followed.replace(other) } else { Some(other) };
        drop(state);
        drop(unwanted);
    }

    /// The other one has ended.
    pub fn unfollow(&self) {
        let followed = self.0.lock().followed.take();
        drop(followed);
    }

    /// Whether somebody wants the result.
    pub fn is_wanted(&self) -> bool {
        self.0.lock().interested > 0
    }

    /// Requests that want the result.
    #[cfg(test)]
    pub fn interested(&self) -> usize {
        self.0.lock().interested
    }

    fn leave(&self) {
        let mut state = self.0.lock();
        state.interested -= 1;
        if state.interested > 0 {
            return;
        }
        let (place, process, followed) = (state.place.clone(), state.process.take(), state.followed.take());
        drop(state);
        drop(followed);
        if let Some(process) = process {
            process.stop();
        }
        if let Some(place) = place {
            place.free();
        }
    }
}
