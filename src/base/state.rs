//! What a poll found, and what an engine is doing.

/// What a poll found.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum wasm_poll {
    /// The operation is over and succeeded.
    Ready = 0,
    /// It waits for something: a host's promise, a compile thread, the other users of a shared engine, the end of what an
    /// engine that is replaced is at. The waker will be called when that has come. Polling before that is allowed.
    Pending = 1,
    /// The guest's time slice is used up, or one step of several is done. Poll again after other tasks had their turn; the waker is not called.
    Yielded = 2,
}

/// What an engine is doing.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum wasm_engine_state {
    /// No guest: never started, stopped, or failed. It can be started.
    Stopped = 0,
    /// A start is going on.
    Starting = 1,
    /// The guest waits for a batch.
    Idle = 2,
    /// A transform is going on.
    Transforming = 3,
}
