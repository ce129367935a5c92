//! What is wrong with a batch.

/// `Result` with this crate's error.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// Kinds of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An argument makes no sense.
    InvalidArgument,
    /// The batch ends before its header or its length field says so.
    Truncated,
    /// The magic byte is not 2.
    Magic,
    /// The CRC-32C does not fit the content.
    Crc,
    /// Counts and lengths and varints contradict each other.
    Malformed,
    /// The compression code is not one of Kafka's.
    Compression,
    /// The compressed part cannot be decompressed.
    Decompress,
    /// The batch is larger than its limit, compressed or decompressed.
    TooLarge,
    /// A control batch. It holds no records.
    Control,
    /// The batch that is being built has no room for the record.
    Full,
    /// One of the records that have no batch cannot be.
    Record,
    /// The allocator refused memory. Nothing is wrong with the batch.
    OutOfMemory,
    /// A defect of this library or of a dependency.
    Internal,
}

/// An error: its kind and a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// The kind.
    pub kind: Kind,
    /// What happened and what to do.
    pub message: String,
}

impl Error {
    /// An error. Cold: the compiler then treats the branches that lead here as unlikely.
    #[cold]
    #[inline(never)]
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// An argument that makes no sense.
    #[cold]
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::InvalidArgument, message)
    }
}
