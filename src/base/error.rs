//! The only error type: a status, a message and the guest's position when it failed.

use crate::base::status::wasm_status as Status;
use crate::batch::error as batch;
use std::collections::TryReserveError;
use std::sync::Arc;

/// `Result` with the library's own error.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// What went wrong. Cheap to pass on: the parts that only guest failures have are boxed.
#[derive(Clone, Debug)]
pub struct Error {
    /// The number that crosses the C boundary.
    pub status: Status,
    /// What happened, to which transform, at which record and what to do. No final newline and no NUL.
    pub message: String,
    /// Index of the batch in its operation. 0 if that has one batch or none.
    pub batch: u32,
    /// Present when a guest was running.
    pub guest: Option<Box<GuestDetail>>,
}

/// Where a guest was when it failed.
#[derive(Clone, Debug, Default)]
pub struct GuestDetail {
    /// The trap if there was one.
    pub trap: Option<wasm_trap>,
    /// The guest's exit code if it exited by itself.
    pub exit_code: Option<i32>,
    /// The record that the guest was working on.
    pub record: Option<RecordAt>,
    /// The guest's frames from the innermost outwards.
    pub frames: Vec<Frame>,
    /// Why the guest failed if a policy stopped it and the status says that.
    pub cause: Option<Status>,
    /// What the guest wrote to standard error last at that record or during its start. Empty if nothing.
    pub stderr: String,
    /// Why a host call returned an error code last at that record. Empty if none did.
    pub refusal: String,
    /// Bytes of the guest's memory at its end.
    pub memory_size: u64,
    /// Bytes that the guest's memory was refused to grow to at that record. 0 if it was not.
    pub memory_wanted: u64,
    /// The core dump if it was asked for.
    pub core_dump: Option<CoreDump>,
}

/// A core dump as bytes. Copies share them.
#[derive(Clone)]
pub struct CoreDump(Arc<Vec<u8>>);

impl CoreDump {
    /// Takes the bytes of a dump.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Arc::new(bytes))
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl core::fmt::Debug for CoreDump {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "CoreDump({} bytes)", self.0.len())
    }
}

/// A record of the current batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordAt {
    /// Index in the batch from 0.
    pub index: u32,
    /// The record's Kafka offset.
    pub offset: i64,
}

/// A frame of the guest's call stack.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Demangled name from the module's name section.
    pub function: Option<String>,
    /// Index in the module's function index space.
    pub index: u32,
    /// Where it was in its source if that is known.
    pub location: Option<Location>,
}

/// A place in the source of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The file's name as the compiler was given it.
    pub file: String,
    /// Counted from 1.
    pub line: u32,
    /// Counted from 1. 0 if it is not known.
    pub column: u32,
}

/// Why a guest trapped. The numbers are fixed, as with `wasm_status`.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum wasm_trap {
    /// No trap.
    None = 0,
    /// The instruction `unreachable`. Usually a panic or an abort.
    Unreachable = 1,
    /// The stack overflowed.
    StackOverflow = 2,
    /// A load or store or bulk operation outside of memory.
    MemoryOutOfBounds = 3,
    /// A table index out of bounds.
    TableOutOfBounds = 4,
    /// A call through an empty table slot.
    IndirectCallToNull = 5,
    /// A call through a table slot of another function type.
    BadSignature = 6,
    /// An integer overflow in a signed division.
    IntegerOverflow = 7,
    /// An integer division by zero.
    DivisionByZero = 8,
    /// A float that does not fit the target integer.
    BadConversion = 9,
    /// Ended by the host: the time limit.
    Interrupt = 10,
    /// Raised by a host function. The message has the reason.
    Host = 11,
    /// Any other trap. The message names it.
    Other = 12,
}

impl Error {
    /// An error without a guest's part in it. Cold: the compiler then treats the branches that lead here as unlikely.
    #[cold]
    #[inline(never)]
    pub fn new(status: Status, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), batch: 0, guest: None }
    }

    /// The same error of a batch of an operation that has several.
    #[cold]
    pub fn in_batch(mut self, index: Option<u32>) -> Self {
        self.batch = index.unwrap_or(0);
        self
    }

    /// The allocator refused memory.
    #[cold]
    pub fn out_of_memory() -> Self {
        Self::new(
            Status::OutOfMemory,
            "the allocator refused memory: nothing is wrong with the data or the module; try again later",
        )
    }

    /// A misuse of the C ABI or of a config field.
    #[cold]
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Status::InvalidArgument, message)
    }
}

impl From<TryReserveError> for Error {
    #[cold]
    fn from(_: TryReserveError) -> Self {
        Self::out_of_memory()
    }
}

impl From<batch::Error> for Error {
    #[cold]
    fn from(error: batch::Error) -> Self {
        let status = match error.kind {
            batch::Kind::InvalidArgument => Status::InvalidArgument,
            batch::Kind::Truncated => Status::BatchTruncated,
            batch::Kind::Magic => Status::BatchMagic,
            batch::Kind::Crc => Status::BatchCrc,
            batch::Kind::Malformed => Status::BatchMalformed,
            batch::Kind::Compression => Status::BatchCompression,
            batch::Kind::Decompress => Status::BatchDecompress,
            batch::Kind::TooLarge => Status::BatchTooLarge,
            batch::Kind::Control => Status::BatchControl,
            batch::Kind::Full => Status::BatchFull,
            batch::Kind::Record => Status::RecordInvalid,
            batch::Kind::OutOfMemory => Status::OutOfMemory,
            batch::Kind::Internal => Status::Internal,
        };
        Self::new(status, error.message)
    }
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.message)
    }
}

impl core::error::Error for Error {}
