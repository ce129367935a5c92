//! The host's data about an engine. Callbacks may change it while the engine works.

use crate::guest::context::Context;
use core::cell::Cell;
use core::ffi::c_void;

/// What host functions, sinks and log lines are told.
pub struct Attached {
    /// The engine as C knows it.
    pub owner: Cell<*mut c_void>,
    /// What the host attached to it.
    pub user_data: Cell<*mut c_void>,
}

impl Attached {
    /// Nothing yet.
    pub fn new() -> Self {
        Self { owner: Cell::new(core::ptr::null_mut()), user_data: Cell::new(core::ptr::null_mut()) }
    }

    /// Makes what the guest calls, and writes to the log, this engine's.
    pub fn take_turn(&self, context: &Context) {
        context.attach(self.owner.get(), self.user_data.get());
    }

    /// Whether what the guest calls is this engine's.
    pub fn has_turn(&self, context: &Context) -> bool {
        context.owner.get() == self.owner.get()
    }
}
