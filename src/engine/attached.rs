//! The host's data about an engine. Callbacks may change it during calls.

use crate::guest::context::Context;
use crate::guest::progress::Progress;
use core::cell::Cell;
use core::ffi::c_void;

/// What host functions, sinks and log lines get.
pub struct Attached {
    /// The engine's handle in C.
    pub owner: Cell<*mut c_void>,
    /// What the host attached to the engine.
    pub user_data: Cell<*mut c_void>,
    /// How far the last operation has come while it does not run: what a shared engine's context has is of others, and
    /// nothing is there while a policy starts the guest again. None: the context has it.
    pub progress: Cell<Option<Progress>>,
}

impl Attached {
    /// Nothing yet.
    pub fn new() -> Self {
        Self {
            owner: Cell::new(core::ptr::null_mut()),
            user_data: Cell::new(core::ptr::null_mut()),
            progress: Cell::new(Some(Progress::default())),
        }
    }

    /// Attributes the guest's calls and log lines to this engine.
    pub fn take_turn(&self, context: &Context) {
        context.attach(self.owner.get(), self.user_data.get());
    }

    /// Whether the guest's calls are attributed to this engine.
    pub fn has_turn(&self, context: &Context) -> bool {
        context.owner.get() == self.owner.get()
    }
}
