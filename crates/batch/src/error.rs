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
    /// Counts, lengths or varints contradict each other.
    Malformed,
    /// The compression code is not one of Kafka's.
    Compression,
    /// The compressed part cannot be decompressed.
    Decompress,
    /// The batch, compressed or decompressed, is larger than its limit.
    TooLarge,
    /// It is a control batch, which holds no records.
    Control,
    /// A defect of this library, or of one that it uses.
    Internal,
}

/// An error: its kind, and what happened in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// The kind.
    pub kind: Kind,
    /// What happened, and what to do.
    pub message: String,
}

impl Error {
    /// An error. Cold, so that what leads here is compiled as what hardly ever happens.
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
