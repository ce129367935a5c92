//! The numbers that every export returns.

/// What a call came to.
///
/// The numbers are fixed: new ones are added, none is ever changed or given away again. They come in ranges:
/// 0 is success; 1–19 say that the call itself was wrong and that *nothing happened*, so whatever was going on is
/// still going on; 20–49 refuse a module; 50–69 tell how a guest ended; 70–89 refuse a record batch; 90 and up
/// are troubles of the library itself.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum wasm_status {
    /// Success.
    Ok = 0,

    /// A pointer that must not be NULL was NULL.
    NullArgument = 1,
    /// An argument or a config field has a value that makes no sense; the message says which.
    InvalidArgument = 2,
    /// Text that must be UTF-8 is not.
    InvalidUtf8 = 3,
    /// The `size` at the head of a struct is smaller than the first version of that struct.
    InvalidStructSize = 4,
    /// An engine, or a future of an engine, was used on another thread than the one that made the engine.
    WrongThread = 5,
    /// The engine is at work further down this very call stack: a callback called back into its own engine.
    Busy = 6,
    /// The engine is not in a state in which this can be done (transform before start, start twice, …).
    InvalidState = 7,
    /// The result of this future was taken already, or the future has another kind of result.
    NoResult = 8,
    /// The promise was resolved or rejected before.
    PromiseSettled = 9,
    /// The thread has no pool for engines: call `wasm_thread_prepare` on it.
    ThreadNotPrepared = 10,
    /// A signal by which traps of guests are noticed is blocked on this thread: call `wasm_thread_unblock_signals`.
    SignalsBlocked = 11,
    /// The factory cache has nothing with this key, and no module to compile was given.
    NotCached = 12,
    /// `wasm_work_write`: the output must go to the host first; answer `WASM_CALLBACK_RESULT_AGAIN`, and write this record then.
    OutputFull = 13,

    /// The bytes do not begin with Wasm's magic number.
    ModuleNotWasm = 20,
    /// The module is in the text format; compile it to binary first.
    ModuleTextFormat = 21,
    /// The binary is a component, not a core module.
    ModuleIsComponent = 22,
    /// The module is larger than `max_module_size`.
    ModuleTooLarge = 23,
    /// The binary breaks a rule of the Wasm specification, or needs a proposal that is not enabled.
    ModuleInvalid = 24,
    /// No function `_start` is exported.
    ModuleNoStart = 25,
    /// `_start` does not have the type `() -> ()`.
    ModuleStartSignature = 26,
    /// No memory named `memory` is exported.
    ModuleNoMemory = 27,
    /// The memory is addressed with 64 bits.
    ModuleMemory64 = 28,
    /// The memory that the module starts with is larger than the runtime's limit.
    ModuleMemoryLimit = 29,
    /// No `redpanda_transform.check_abi_version_*` is imported, so this is no transform.
    ModuleNoAbi = 30,
    /// The transform ABI version that the module asks for is not 1 or 2.
    ModuleUnknownAbi = 31,
    /// The schema registry ABI version that the module asks for is not 0.
    ModuleUnknownSchemaRegistry = 32,
    /// The module imports something that this host does not have; the message lists the names.
    ModuleUnknownImport = 33,
    /// The module imports a function of this host with another type; the message has both.
    ModuleImportSignature = 34,
    /// The module is valid but could not be compiled.
    ModuleCompile = 35,
    /// The module has more tables, or larger ones at the start, than the runtime allows.
    ModuleTableLimit = 36,
    /// The bytes are no artifact of `wasm_runtime_precompile`, or were damaged since.
    ModuleArtifactDamaged = 37,
    /// The artifact was made by another version of the library, for another processor, or with another configuration; the
    /// message says which. Compile the module again.
    ModuleArtifactIncompatible = 38,

    /// The guest trapped; see `wasm_error_trap`.
    GuestTrap = 50,
    /// The guest ended by itself: `proc_exit`, or a return from `_start`; see `wasm_error_exit_code`.
    GuestExit = 51,
    /// The start, or one record, used more than `record_time_limit_ns`.
    GuestTimeout = 52,
    /// The guest ended after its memory was refused growth at the record at hand, or was too small for it from the beginning.
    GuestMemoryLimit = 53,
    /// The guest used up its stack.
    GuestStackOverflow = 54,
    /// The guest handed a host function a pointer outside of its memory, or called it at a wrong time.
    GuestBadCall = 55,
    /// An engine of the embedder's own failed, rejected its promise, or dropped it unsettled; the message has its reason.
    CustomEngineFailed = 56,
    /// A host function failed, rejected its promise, or dropped it unsettled; the message has its reason.
    HostFunctionFailed = 59,
    /// The host's output sink failed, rejected its promise, or dropped it unresolved.
    OutputRejected = 60,
    /// The engine was stopped or released while the operation was going on.
    Cancelled = 61,

    /// The batch ends before its header or its length field says so.
    BatchTruncated = 70,
    /// The batch's magic byte is not 2.
    BatchMagic = 71,
    /// The CRC-32C does not fit the content.
    BatchCrc = 72,
    /// Counts, lengths or varints of the batch contradict each other.
    BatchMalformed = 73,
    /// The compression code is not one of Kafka's.
    BatchCompression = 74,
    /// The compressed part cannot be decompressed.
    BatchDecompress = 75,
    /// The batch, compressed or decompressed, is larger than `max_batch_size`.
    BatchTooLarge = 76,
    /// A control batch holds no records for a transform.
    BatchControl = 77,

    /// The library panicked: a defect, please report it. The engine concerned is unusable from here on.
    Panic = 90,
    /// The engine was the scene of a panic before; release it.
    Poisoned = 91,
    /// The system refused something: memory, a mapping, a thread.
    System = 92,
    /// Anything else; the message tells.
    Internal = 93,
    /// No memory or stack is left for another engine, in the thread's pool, the process's, or the host's allocator.
    PoolExhausted = 94,
    /// The directory cannot be used for a cache; the message says why, and what to do.
    CodeCacheUnusable = 95,
}

/// Each status once, with the name that metrics and messages use.
macro_rules! names {
    ($($status:ident => $name:literal,)*) => {
        impl wasm_status {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$status),*];

            /// The constant's name in words, for messages and metrics.
            #[must_use]
            pub fn name(self) -> &'static core::ffi::CStr {
                match self {
                    $(Self::$status => $name,)*
                }
            }

            /// Whether it says that a call was wrong and nothing happened.
            #[must_use]
            pub fn is_misuse(self) -> bool {
                (1..20).contains(&(self as u32))
            }

            /// Whether it says that a guest ended by its own doing: not because of its host, nor of one that stopped it.
            #[must_use]
            pub fn is_guests(self) -> bool {
                (50..59).contains(&(self as u32))
            }

            /// The status of a number from C.
            #[must_use]
            pub fn from_number(number: u32) -> Option<Self> {
                Self::ALL.iter().copied().find(|&status| status as u32 == number)
            }
        }
    };
}

names! {
    Ok => c"ok",
    NullArgument => c"null-argument",
    InvalidArgument => c"invalid-argument",
    InvalidUtf8 => c"invalid-utf8",
    InvalidStructSize => c"invalid-struct-size",
    WrongThread => c"wrong-thread",
    Busy => c"busy",
    InvalidState => c"invalid-state",
    NoResult => c"no-result",
    PromiseSettled => c"promise-settled",
    ThreadNotPrepared => c"thread-not-prepared",
    SignalsBlocked => c"signals-blocked",
    NotCached => c"not-cached",
    OutputFull => c"output-full",
    ModuleNotWasm => c"module-not-wasm",
    ModuleTextFormat => c"module-text-format",
    ModuleIsComponent => c"module-is-component",
    ModuleTooLarge => c"module-too-large",
    ModuleInvalid => c"module-invalid",
    ModuleNoStart => c"module-no-start",
    ModuleStartSignature => c"module-start-signature",
    ModuleNoMemory => c"module-no-memory",
    ModuleMemory64 => c"module-memory64",
    ModuleMemoryLimit => c"module-memory-limit",
    ModuleNoAbi => c"module-no-abi",
    ModuleUnknownAbi => c"module-unknown-abi",
    ModuleUnknownSchemaRegistry => c"module-unknown-schema-registry",
    ModuleUnknownImport => c"module-unknown-import",
    ModuleImportSignature => c"module-import-signature",
    ModuleCompile => c"module-compile",
    ModuleTableLimit => c"module-table-limit",
    ModuleArtifactDamaged => c"module-artifact-damaged",
    ModuleArtifactIncompatible => c"module-artifact-incompatible",
    GuestTrap => c"guest-trap",
    GuestExit => c"guest-exit",
    GuestTimeout => c"guest-timeout",
    GuestMemoryLimit => c"guest-memory-limit",
    GuestStackOverflow => c"guest-stack-overflow",
    GuestBadCall => c"guest-bad-call",
    CustomEngineFailed => c"custom-engine-failed",
    HostFunctionFailed => c"host-function-failed",
    OutputRejected => c"output-rejected",
    Cancelled => c"cancelled",
    BatchTruncated => c"batch-truncated",
    BatchMagic => c"batch-magic",
    BatchCrc => c"batch-crc",
    BatchMalformed => c"batch-malformed",
    BatchCompression => c"batch-compression",
    BatchDecompress => c"batch-decompress",
    BatchTooLarge => c"batch-too-large",
    BatchControl => c"batch-control",
    Panic => c"panic",
    Poisoned => c"poisoned",
    System => c"system",
    Internal => c"internal",
    PoolExhausted => c"pool-exhausted",
    CodeCacheUnusable => c"code-cache-unusable",
}
