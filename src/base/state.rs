//! The result of a poll and the state of an engine.

/// What a poll found.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum wasm_poll {
    /// The operation completed successfully.
    Ready = 0,
    /// The operation waits: for a host's promise, a compile thread, the other users of a shared engine or the end of
    /// the current operation of an engine that is being replaced. The waker is called when that has happened. Polling
    /// earlier is allowed.
    Pending = 1,
    /// The guest's time slice has ended or one step of several has completed. Let other tasks run and poll again. The
    /// waker is not called.
    Yielded = 2,
}

/// What an engine is doing.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum wasm_engine_state {
    /// No guest: never started or stopped or failed. The engine can be started.
    Stopped = 0,
    /// A start is in progress.
    Starting = 1,
    /// The guest waits for a batch.
    Idle = 2,
    /// A transform is in progress.
    Transforming = 3,
}
