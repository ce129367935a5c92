//! The numbers that every export returns.

/// The result of a call.
///
/// The numbers are fixed. New ones may be added, but none is ever changed or reused. They come in ranges. 0 is
/// success. 1–19: the call could not be done and *had no effect*, except that host data and wakers in its arguments are
/// dropped. An operation in progress stays in progress. 20–49: a module was refused. 50–69: a guest failed or was
/// stopped. 70–89: a record batch, or a payload, was refused. 90 and up: a failure of the library itself.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum wasm_status {
    /// Success.
    Ok = 0,

    /// A pointer that must not be NULL was NULL.
    NullArgument = 1,
    /// An argument or a config field has an invalid value. The message says which.
    InvalidArgument = 2,
    /// Text that must be UTF-8 is not.
    InvalidUtf8 = 3,
    /// The `size` at the head of a struct is smaller than the first version of that struct.
    InvalidStructSize = 4,
    /// An engine or its future was used on a thread other than the one that created the engine.
    WrongThread = 5,
    /// The engine was called from one of its own callbacks.
    Busy = 6,
    /// The engine's state does not allow this call (transform before start, start twice, …).
    InvalidState = 7,
    /// The result of this future was taken already or the future has another kind of result.
    NoResult = 8,
    /// The promise was resolved or rejected before.
    PromiseSettled = 9,
    /// The thread has no pool for engines. Call `wasm_thread_prepare` on it.
    ThreadNotPrepared = 10,
    /// A signal by which traps of guests are noticed is blocked on this thread: call `wasm_thread_unblock_signals`.
    SignalsBlocked = 11,
    /// The factory cache has no factory with this key and no module to compile was given.
    NotCached = 12,
    /// `wasm_work_write`: the output must go to the host first. Return `WASM_CALLBACK_RESULT_AGAIN` and write this
    /// record in the next call.
    OutputFull = 13,
    /// `wasm_batch_builder_add`: the batch would exceed a limit of its `wasm_batch_config`. Finish it, reset the
    /// builder and add the record again.
    BatchFull = 14,

    /// The bytes do not begin with Wasm's magic number.
    ModuleNotWasm = 20,
    /// The module is in the text format. Compile it to binary first.
    ModuleTextFormat = 21,
    /// The binary is a component and not a core module.
    ModuleIsComponent = 22,
    /// The module is larger than `max_module_size`.
    ModuleTooLarge = 23,
    /// The binary violates the Wasm specification or needs a proposal that is not enabled.
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
    /// No `redpanda_transform.check_abi_version_*` is imported. The module is not a transform.
    ModuleNoAbi = 30,
    /// The transform ABI version that the module asks for is not 1 or 2.
    ModuleUnknownAbi = 31,
    /// The schema registry ABI version that the module asks for is not 0.
    ModuleUnknownSchemaRegistry = 32,
    /// The module imports something that this host does not have. The message lists the names.
    ModuleUnknownImport = 33,
    /// The module imports a function of this host with another type. The message has both types.
    ModuleImportSignature = 34,
    /// The module is valid but could not be compiled.
    ModuleCompile = 35,
    /// The module has more tables than the runtime allows or its tables start larger or it has too many elements that
    /// must be set up one by one at each start.
    ModuleTableLimit = 36,
    /// The bytes are not an artifact of `wasm_runtime_precompile` or were damaged.
    ModuleArtifactDamaged = 37,
    /// The artifact was made by another version of the library or for another processor or with another
    /// configuration. The message says which. Compile the module again.
    ModuleArtifactIncompatible = 38,
    /// The module may take too long or too much memory to be compiled. The message says what for. See
    /// `compile_limit_factor` of `wasm_runtime_config`.
    ModuleTooComplex = 39,
    /// To compile the module takes more than `compile_time_limit_ns` or `compile_memory_limit`. The message says which.
    ModuleCompileLimit = 40,
    /// The module imports something that the transform has no right to. The message lists the names and what would
    /// give the right: `allowed_imports` and `wasi_rights` of `wasm_factory_config`.
    ModuleImportDenied = 41,

    /// The guest trapped. See `trap` of `wasm_error_info`.
    GuestTrap = 50,
    /// The guest exited by itself: `proc_exit` or a return from `_start`. See `exit_code` of `wasm_error_info`.
    GuestExit = 51,
    /// The start or one record used more than `record_time_limit_ns`.
    GuestTimeout = 52,
    /// The guest failed after it was refused memory during the current record or because its memory was too small
    /// from the beginning.
    GuestMemoryLimit = 53,
    /// The guest's stack overflowed.
    GuestStackOverflow = 54,
    /// The guest passed a pointer outside of its memory to a host function or called one at a wrong time.
    GuestBadCall = 55,
    /// A custom engine failed or rejected its promise or dropped it without a result. The message has its reason.
    CustomEngineFailed = 56,
    /// A host function failed or rejected its promise or dropped it without a result. The message has its reason.
    HostFunctionFailed = 59,
    /// The host's output sink failed or rejected its promise or dropped it without a result.
    OutputRejected = 60,
    /// The engine was stopped or released while the operation was in progress.
    Cancelled = 61,
    /// The policy stopped the engine: a threshold of `wasm_engine_policy` was reached. The message has the counts and
    /// why the guest failed last. The record at which it failed is not lost.
    PolicyThreshold = 62,
    /// A custom engine lost what it runs on, such as its connection to another computer. No record is the cause, so no
    /// policy skips one. The error names the record from which to continue. The message has the reason.
    CustomEngineLost = 63,

    /// The batch ends before its header or its length field says so.
    BatchTruncated = 70,
    /// The batch's magic byte is not 2.
    BatchMagic = 71,
    /// The CRC-32C does not fit the content.
    BatchCrc = 72,
    /// Counts or lengths or varints of the batch contradict each other.
    BatchMalformed = 73,
    /// The compression code is not one of Kafka's.
    BatchCompression = 74,
    /// The compressed part cannot be decompressed.
    BatchDecompress = 75,
    /// The batch is larger than `max_batch_size`, compressed or decompressed.
    BatchTooLarge = 76,
    /// A control batch holds no records for a transform.
    BatchControl = 77,
    /// A record of `wasm_engine_transform_records` is invalid. The message has its index and says what is wrong.
    RecordInvalid = 78,

    /// The library panicked. This is a defect. Please report it. The engine concerned cannot be used any more.
    Panic = 90,
    /// The library panicked earlier while it used this engine. Release the engine.
    Poisoned = 91,
    /// The operating system refused memory or a mapping or a thread.
    System = 92,
    /// Any other failure. The message has the reason.
    Internal = 93,
    /// There is no memory or stack for another engine in the thread's pool, the process's pool or the host's
    /// allocator.
    PoolExhausted = 94,
    /// The directory cannot be used for a code cache. The message says why and what to do.
    CodeCacheUnusable = 95,
    /// The allocator refused memory. Nothing is wrong with the data or the module. A call that returns this had no
    /// effect: try again later. A future that fails with it has undone its operation.
    OutOfMemory = 96,
    /// The compile helper could not be started, has ended without an answer or is of another version. The message says
    /// which. See `compile_helper` of `wasm_runtime_config`.
    CompileHelperFailed = 97,
}

/// Each status once with its name for metrics and messages.
macro_rules! names {
    ($($status:ident => $name:literal,)*) => {
        impl wasm_status {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$status),*];

            /// The constant's name for messages and metrics.
            #[must_use]
            pub fn name(self) -> &'static core::ffi::CStr {
                match self {
                    $(Self::$status => $name,)*
                }
            }

            /// Whether the call was wrong and had no effect. `OutputFull` is one of these: nothing was written.
            #[must_use]
            pub fn had_no_effect(self) -> bool {
                (1..20).contains(&(self as u32))
            }

            /// Whether the guest itself is the cause of its failure. Excludes failures of the host and operations
            /// that the host stopped.
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
    BatchFull => c"batch-full",
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
    ModuleTooComplex => c"module-too-complex",
    ModuleCompileLimit => c"module-compile-limit",
    ModuleImportDenied => c"module-import-denied",
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
    PolicyThreshold => c"policy-threshold",
    CustomEngineLost => c"custom-engine-lost",
    BatchTruncated => c"batch-truncated",
    BatchMagic => c"batch-magic",
    BatchCrc => c"batch-crc",
    BatchMalformed => c"batch-malformed",
    BatchCompression => c"batch-compression",
    BatchDecompress => c"batch-decompress",
    BatchTooLarge => c"batch-too-large",
    BatchControl => c"batch-control",
    RecordInvalid => c"record-invalid",
    Panic => c"panic",
    Poisoned => c"poisoned",
    System => c"system",
    Internal => c"internal",
    PoolExhausted => c"pool-exhausted",
    CodeCacheUnusable => c"code-cache-unusable",
    OutOfMemory => c"out-of-memory",
    CompileHelperFailed => c"compile-helper-failed",
}
