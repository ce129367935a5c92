//! Wakers that are called when a seat is left.

use crate::host::waker::Waker;
use crate::promise::oneshot::Wake as _;
use core::cell::Cell;
use std::rc::Rc;

/// Holds a waker of the host that is not in a promise.
#[derive(Default)]
pub struct WakerSlot(Cell<Option<Waker>>);

impl WakerSlot {
    /// Keeps a waker. Drops the previous one.
    pub fn set(&self, waker: Waker) {
        drop(self.0.replace(Some(waker)));
    }

    /// Drops the waker if there is one.
    pub fn clear(&self) {
        drop(self.0.take());
    }
}

/// Wakers that are called when this is dropped. Until then they stay in their slots: callbacks before that may poll or
/// release what would be woken.
#[derive(Default)]
#[allow(clippy::box_collection)] // one word because each call has one of these and few fill it
pub struct Wakers(Option<Box<Vec<Rc<WakerSlot>>>>);

impl Wakers {
    /// Adds the waker that is in `slot` at that time if there is one.
    #[cold]
    pub fn add(&mut self, slot: &Rc<WakerSlot>) {
        self.0.get_or_insert_default().push(slot.clone());
    }

    /// Adds a waker.
    #[cold]
    pub fn add_waker(&mut self, waker: Waker) {
        self.0.get_or_insert_default().push(Rc::new(WakerSlot(Cell::new(Some(waker)))));
    }
}

impl Drop for Wakers {
    #[inline]
    fn drop(&mut self) {
        if let Some(slots) = self.0.take() {
            wake(*slots);
        }
    }
}

#[cold]
#[inline(never)]
fn wake(slots: Vec<Rc<WakerSlot>>) {
    for slot in slots {
        if let Some(waker) = slot.0.take() {
            waker.wake();
        }
    }
}
