// SPDX-License-Identifier: Apache-2.0
//
// WebAssembly data transforms inside the threads of an event-loop host. Generated from the Rust sources: `make header`
// writes this file and a test fails when it is out of date. Linux. C11 and C++17 or later.
//
// First steps
//
//   1. Once per process: wasm_runtime_create. Then add host functions, a schema registry and a code cache, if any.
//   2. Once per transform: wasm_factory_create. Poll its future, then wasm_future_take_factory.
//   3. On each thread with engines: wasm_thread_prepare, wasm_engine_create, wasm_engine_set_policy (if any),
//      wasm_engine_start. Poll the future.
//   4. Per batch: wasm_engine_transform. Poll the future until it is ready. The sink receives the output meanwhile.
//      wasm_payload_read takes records apart. wasm_engine_transform_records is for hosts that have no batches.
//   5. At the end, on the engine's thread: wasm_engine_release. Then release factory and runtime on any thread.
//
//   A host polls futures with wakers of its own (section Future) or lends its event loop (section Task). Either is
//   complete. wasm_error_get_info has the details of a failure.
//
// The nouns
//
//   wasm_runtime   configuration and compiler. Shared: several threads may use it at once.
//   wasm_factory   a compiled transform. Shared: several threads may use it at once.
//   wasm_engine    one running guest. Owned. Only for the thread that made it.
//   wasm_future    an operation in progress. Owned. An engine's future is only for the engine's thread.
//   wasm_promise   the result that a callback gives later. Owned. Any thread, one at a time.
//   wasm_error     the details of a failure. Owned. Any thread.
//
// The contract
//
//   Ownership  Each handle that a function writes to an out-parameter or returns from `_clone` is the host's, which
//              must call its `_release`. Releasing NULL does nothing. A handle must not be used after its release. The
//              order of releases does not matter except for memory that is lent, such as a batch. Slices and structs in
//              arguments are borrowed for the call unless a function says otherwise.
//   Status     Every function that can fail returns a `wasm_status`. If the status is not OK and there is an `error`
//              that is not NULL, the caller gets an owned `wasm_error` there. With OK `error` is not written:
//              initialize it to NULL. There is no last-error state. Out-parameters are written on success only.
//   Futures    No function waits. What takes time returns a future. The host polls it: ready, pending (a waker will be
//              called) or yielded (poll again after other tasks). A future is released in every case, also after it has
//              failed.
//   Threads    An engine and its futures belong to the thread that made the engine. Other threads get a status.
//   Host data  `{data, drop}`: `drop` is called exactly once on every path including errors. The only exception: a
//              struct whose `size` is refused is not read at all. `drop` may be called on any thread, also on one of
//              the library's, unless the field says otherwise.
//   Memory     If the allocator refuses memory, the process goes on. Calls that begin or make something return
//              WASM_STATUS_OUT_OF_MEMORY and have no effect: try again later. Operations in progress go on with a small
//              reserve of the library. Polls, stops and releases are never refused.
//   Callbacks  Must not throw or unwind. They may call the library. From one of the engine's own callbacks,
//              functions that start, feed, stop, replace, poll or release it return WASM_STATUS_BUSY. Those that only
//              read, and wasm_engine_set_user_data, do not.
//   Structs    A struct that begins with `size` may grow. Set `size` to sizeof and zero the rest. Zero means the
//              default. Other structs never grow.
//   Signals    Traps of guests are noticed by SIGSEGV, SIGILL and SIGFPE: see wasm_thread_prepare. The handlers pass on
//              signals that no guest caused. One limit: if such a signal is sent (kill, raise) while its previous
//              disposition was the default, the handler is removed. A second one kills the process. Wasmtime relies on
//              a real fault to happen again.
//   Fork       The child of a fork may continue to use everything on the thread that forked. The library restarts its
//              threads when they are needed. At the moment of the fork no other thread may be inside the library, no
//              module may be compiling and no callback may be running. A child that only calls exec or _exit is always
//              allowed.
//   Panics     Panics of the library become WASM_STATUS_PANIC. They never cross this boundary.

#ifndef WASM_ENGINE_H
#define WASM_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// The version of this header. `wasm_library_version` returns the version of the loaded library.
#define WASM_ENGINE_VERSION "0.1.0"
#define WASM_ENGINE_VERSION_MAJOR 0
#define WASM_ENGINE_VERSION_MINOR 1
#define WASM_ENGINE_VERSION_PATCH 0
// Major, minor and patch with a byte each. A later version has a larger number.
#define WASM_ENGINE_VERSION_NUMBER 0x000100

// Enums have 32 bits: never compile with -fshort-enums. A later library may return values that are not in this header.
// Only C++ must be told.
#ifdef __cplusplus
#define WASM_ENGINE_ENUM_TYPE : uint32_t
extern "C" {
#else
#define WASM_ENGINE_ENUM_TYPE
#endif

// ---------------------------------------------------------------------------------------------------------------------
// Handles
//
// The opaque types. A host gets pointers to them from the functions below and gives each back to the function that its
// comment or section names. `wasm_call` and `wasm_work` are only lent: until the callback returns that received them.
// ---------------------------------------------------------------------------------------------------------------------

// Bytes that the library made: text or an artifact. Owned by the host. Any thread may use it. It never changes.
typedef struct wasm_bytes wasm_bytes;

// An error. Owned by the host that received it. Any thread may use it. It never changes.
typedef struct wasm_error wasm_error;

// A runtime. Shared: several threads may use it at once.
typedef struct wasm_runtime wasm_runtime;

// A factory. Shared: several threads may use it at once.
typedef struct wasm_factory wasm_factory;

// An operation in progress. Owned by the host. Used by one thread at a time. A future of an engine is used only on the
// engine's thread.
typedef struct wasm_future wasm_future;

// An engine. Owned by the host that made it. Used and released only on the thread that made it.
typedef struct wasm_engine wasm_engine;

// A future that an executor polls. Owned by the executor between `schedule` and `wasm_task_run`.
typedef struct wasm_task wasm_task;

// The promise of a callback that returned pending. Any thread may use it but only one at a time. It may outlive the
// engine.
typedef struct wasm_promise wasm_promise;

// A cache of factories. Owned by the host. Several threads may use it at once.
typedef struct wasm_factory_cache wasm_factory_cache;

// A snapshot of all metrics of a runtime. Owned by the host. Used by one thread at a time. It keeps no engine alive,
// but the runtime's host functions, pools and ticker.
typedef struct wasm_metrics wasm_metrics;

// The call that a callback belongs to. Valid until the callback returns and only on its thread.
typedef struct wasm_call wasm_call;

// Packs records into batches. Owned by the host. Used by one thread at a time.
typedef struct wasm_batch_builder wasm_batch_builder;

// A reference to a task by which it can be aborted. Owned by the host.
typedef struct wasm_task_handle wasm_task_handle;

// The batch that a custom engine works on. Valid until its `transform` returns. Used on its thread only.
typedef struct wasm_work wasm_work;

// ---------------------------------------------------------------------------------------------------------------------
// Library
//
// The version of the loaded library. A host that was compiled against another header compares the two at its start.
// ---------------------------------------------------------------------------------------------------------------------

// The version of the library that the program has loaded. For example `0.1.0`. Static. Any thread.
const char *wasm_library_version(void);

// The same as a number. It is at least the header's `WASM_ENGINE_VERSION_NUMBER` if the library has everything that is
// in the header.
uint32_t wasm_library_version_number(void);

// ---------------------------------------------------------------------------------------------------------------------
// Bytes
//
// How bytes and text pass the boundary. A `wasm_slice` borrows them. A `wasm_bytes` is owned by the host, which
// releases it.
// ---------------------------------------------------------------------------------------------------------------------

// Borrowed bytes. `(NULL, 0)` is empty. Text is UTF-8 without a final NUL.
typedef struct wasm_slice {
  // The first byte. May be NULL when `size` is 0.
  const uint8_t *data;
  // Number of bytes.
  size_t size;
} wasm_slice;

// A view of the bytes. Text is UTF-8 without a final NUL. The view lives as long as `bytes`. Empty for NULL.
wasm_slice wasm_bytes_view(const wasm_bytes *bytes);

// Frees the bytes. Any thread. NULL does nothing.
void wasm_bytes_release(wasm_bytes *bytes);

// ---------------------------------------------------------------------------------------------------------------------
// Error
//
// The details behind a status. Almost every function can write a `wasm_error`: log its message and release it.
// ---------------------------------------------------------------------------------------------------------------------

// The result of a call.
//
// The numbers are fixed. New ones may be added, but none is ever changed or reused. They come in ranges. 0 is
// success. 1–19: the call could not be done and *had no effect*, except that host data and wakers in its arguments are
// dropped. An operation in progress stays in progress. 20–49: a module was refused. 50–69: a guest failed or was
// stopped. 70–89: a record batch, or a payload, was refused. 90 and up: a failure of the library itself.
typedef enum wasm_status WASM_ENGINE_ENUM_TYPE {
  // Success.
  WASM_STATUS_OK = 0,
  // A pointer that must not be NULL was NULL.
  WASM_STATUS_NULL_ARGUMENT = 1,
  // An argument or a config field has an invalid value. The message says which.
  WASM_STATUS_INVALID_ARGUMENT = 2,
  // Text that must be UTF-8 is not.
  WASM_STATUS_INVALID_UTF8 = 3,
  // The `size` at the head of a struct is smaller than the first version of that struct.
  WASM_STATUS_INVALID_STRUCT_SIZE = 4,
  // An engine or its future was used on a thread other than the one that created the engine.
  WASM_STATUS_WRONG_THREAD = 5,
  // The engine was called from one of its own callbacks.
  WASM_STATUS_BUSY = 6,
  // The engine's state does not allow this call (transform before start, start twice, …).
  WASM_STATUS_INVALID_STATE = 7,
  // The result of this future was taken already or the future has another kind of result.
  WASM_STATUS_NO_RESULT = 8,
  // The promise was resolved or rejected before.
  WASM_STATUS_PROMISE_SETTLED = 9,
  // The thread has no pool for engines. Call `wasm_thread_prepare` on it.
  WASM_STATUS_THREAD_NOT_PREPARED = 10,
  // A signal by which traps of guests are noticed is blocked on this thread: call `wasm_thread_unblock_signals`.
  WASM_STATUS_SIGNALS_BLOCKED = 11,
  // The factory cache has no factory with this key and no module to compile was given.
  WASM_STATUS_NOT_CACHED = 12,
  // `wasm_work_write`: the output must go to the host first. Return `WASM_CALLBACK_RESULT_AGAIN` and write this
  // record in the next call.
  WASM_STATUS_OUTPUT_FULL = 13,
  // `wasm_batch_builder_add`: the batch would exceed a limit of its `wasm_batch_config`. Finish it, reset the
  // builder and add the record again.
  WASM_STATUS_BATCH_FULL = 14,
  // The bytes do not begin with Wasm's magic number.
  WASM_STATUS_MODULE_NOT_WASM = 20,
  // The module is in the text format. Compile it to binary first.
  WASM_STATUS_MODULE_TEXT_FORMAT = 21,
  // The binary is a component and not a core module.
  WASM_STATUS_MODULE_IS_COMPONENT = 22,
  // The module is larger than `max_module_size`.
  WASM_STATUS_MODULE_TOO_LARGE = 23,
  // The binary violates the Wasm specification or needs a proposal that is not enabled.
  WASM_STATUS_MODULE_INVALID = 24,
  // No function `_start` is exported.
  WASM_STATUS_MODULE_NO_START = 25,
  // `_start` does not have the type `() -> ()`.
  WASM_STATUS_MODULE_START_SIGNATURE = 26,
  // No memory named `memory` is exported.
  WASM_STATUS_MODULE_NO_MEMORY = 27,
  // The memory is addressed with 64 bits.
  WASM_STATUS_MODULE_MEMORY64 = 28,
  // The memory that the module starts with is larger than the runtime's limit.
  WASM_STATUS_MODULE_MEMORY_LIMIT = 29,
  // No `redpanda_transform.check_abi_version_*` is imported. The module is not a transform.
  WASM_STATUS_MODULE_NO_ABI = 30,
  // The transform ABI version that the module asks for is not 1 or 2.
  WASM_STATUS_MODULE_UNKNOWN_ABI = 31,
  // The schema registry ABI version that the module asks for is not 0.
  WASM_STATUS_MODULE_UNKNOWN_SCHEMA_REGISTRY = 32,
  // The module imports something that this host does not have. The message lists the names.
  WASM_STATUS_MODULE_UNKNOWN_IMPORT = 33,
  // The module imports a function of this host with another type. The message has both types.
  WASM_STATUS_MODULE_IMPORT_SIGNATURE = 34,
  // The module is valid but could not be compiled.
  WASM_STATUS_MODULE_COMPILE = 35,
  // The module has more tables than the runtime allows or its tables start larger or it has too many elements that
  // must be set up one by one at each start.
  WASM_STATUS_MODULE_TABLE_LIMIT = 36,
  // The bytes are not an artifact of `wasm_runtime_precompile` or were damaged.
  WASM_STATUS_MODULE_ARTIFACT_DAMAGED = 37,
  // The artifact was made by another version of the library or for another processor or with another
  // configuration. The message says which. Compile the module again.
  WASM_STATUS_MODULE_ARTIFACT_INCOMPATIBLE = 38,
  // The module may take too long or too much memory to be compiled. The message says what for. See
  // `compile_limit_factor` of `wasm_runtime_config`.
  WASM_STATUS_MODULE_TOO_COMPLEX = 39,
  // To compile the module takes more than `compile_time_limit_ns` or `compile_memory_limit`. The message says which.
  WASM_STATUS_MODULE_COMPILE_LIMIT = 40,
  // The module imports something that the transform has no right to. The message lists the names and what would
  // give the right: `allowed_imports` and `wasi_rights` of `wasm_factory_config`.
  WASM_STATUS_MODULE_IMPORT_DENIED = 41,
  // The guest trapped. See `trap` of `wasm_error_info`.
  WASM_STATUS_GUEST_TRAP = 50,
  // The guest exited by itself: `proc_exit` or a return from `_start`. See `exit_code` of `wasm_error_info`.
  WASM_STATUS_GUEST_EXIT = 51,
  // The start or one record used more than `record_time_limit_ns`.
  WASM_STATUS_GUEST_TIMEOUT = 52,
  // The guest failed after it was refused memory during the current record or because its memory was too small
  // from the beginning.
  WASM_STATUS_GUEST_MEMORY_LIMIT = 53,
  // The guest's stack overflowed.
  WASM_STATUS_GUEST_STACK_OVERFLOW = 54,
  // The guest passed a pointer outside of its memory to a host function or called one at a wrong time.
  WASM_STATUS_GUEST_BAD_CALL = 55,
  // A custom engine failed or rejected its promise or dropped it without a result. The message has its reason.
  WASM_STATUS_CUSTOM_ENGINE_FAILED = 56,
  // A host function failed or rejected its promise or dropped it without a result. The message has its reason.
  WASM_STATUS_HOST_FUNCTION_FAILED = 59,
  // The host's output sink failed or rejected its promise or dropped it without a result.
  WASM_STATUS_OUTPUT_REJECTED = 60,
  // The engine was stopped or released while the operation was in progress.
  WASM_STATUS_CANCELLED = 61,
  // The policy stopped the engine: a threshold of `wasm_engine_policy` was reached. The message has the counts and
  // why the guest failed last. The record at which it failed is not lost.
  WASM_STATUS_POLICY_THRESHOLD = 62,
  // A custom engine lost what it runs on, such as its connection to another computer. No record is the cause, so no
  // policy skips one. The error names the record from which to continue. The message has the reason.
  WASM_STATUS_CUSTOM_ENGINE_LOST = 63,
  // The batch ends before its header or its length field says so.
  WASM_STATUS_BATCH_TRUNCATED = 70,
  // The batch's magic byte is not 2.
  WASM_STATUS_BATCH_MAGIC = 71,
  // The CRC-32C does not fit the content.
  WASM_STATUS_BATCH_CRC = 72,
  // Counts or lengths or varints of the batch contradict each other.
  WASM_STATUS_BATCH_MALFORMED = 73,
  // The compression code is not one of Kafka's.
  WASM_STATUS_BATCH_COMPRESSION = 74,
  // The compressed part cannot be decompressed.
  WASM_STATUS_BATCH_DECOMPRESS = 75,
  // The batch is larger than `max_batch_size`, compressed or decompressed.
  WASM_STATUS_BATCH_TOO_LARGE = 76,
  // A control batch holds no records for a transform.
  WASM_STATUS_BATCH_CONTROL = 77,
  // A record of `wasm_engine_transform_records` is invalid. The message has its index and says what is wrong.
  WASM_STATUS_RECORD_INVALID = 78,
  // The library panicked. This is a defect. Please report it. The engine concerned cannot be used any more.
  WASM_STATUS_PANIC = 90,
  // The library panicked earlier while it used this engine. Release the engine.
  WASM_STATUS_POISONED = 91,
  // The operating system refused memory or a mapping or a thread.
  WASM_STATUS_SYSTEM = 92,
  // Any other failure. The message has the reason.
  WASM_STATUS_INTERNAL = 93,
  // There is no memory or stack for another engine in the thread's pool, the process's pool or the host's
  // allocator.
  WASM_STATUS_POOL_EXHAUSTED = 94,
  // The directory cannot be used for a code cache. The message says why and what to do.
  WASM_STATUS_CODE_CACHE_UNUSABLE = 95,
  // The allocator refused memory. Nothing is wrong with the data or the module. A call that returns this had no
  // effect: try again later. A future that fails with it has undone its operation.
  WASM_STATUS_OUT_OF_MEMORY = 96,
  // The compile helper could not be started, has ended without an answer or is of another version. The message says
  // which. See `compile_helper` of `wasm_runtime_config`.
  WASM_STATUS_COMPILE_HELPER_FAILED = 97,
} wasm_status;

// Why a guest trapped. The numbers are fixed, as with `wasm_status`.
typedef enum wasm_trap WASM_ENGINE_ENUM_TYPE {
  // No trap.
  WASM_TRAP_NONE = 0,
  // The instruction `unreachable`. Usually a panic or an abort.
  WASM_TRAP_UNREACHABLE = 1,
  // The stack overflowed.
  WASM_TRAP_STACK_OVERFLOW = 2,
  // A load or store or bulk operation outside of memory.
  WASM_TRAP_MEMORY_OUT_OF_BOUNDS = 3,
  // A table index out of bounds.
  WASM_TRAP_TABLE_OUT_OF_BOUNDS = 4,
  // A call through an empty table slot.
  WASM_TRAP_INDIRECT_CALL_TO_NULL = 5,
  // A call through a table slot of another function type.
  WASM_TRAP_BAD_SIGNATURE = 6,
  // An integer overflow in a signed division.
  WASM_TRAP_INTEGER_OVERFLOW = 7,
  // An integer division by zero.
  WASM_TRAP_DIVISION_BY_ZERO = 8,
  // A float that does not fit the target integer.
  WASM_TRAP_BAD_CONVERSION = 9,
  // Ended by the host: the time limit.
  WASM_TRAP_INTERRUPT = 10,
  // Raised by a host function. The message has the reason.
  WASM_TRAP_HOST = 11,
  // Any other trap. The message names it.
  WASM_TRAP_OTHER = 12,
} wasm_trap;

// What is known about an error.
typedef struct wasm_error_info {
  // `sizeof(wasm_error_info)`, set by the caller.
  size_t size;
  // The status of the call that reported the error.
  wasm_status status;
  // The trap that ended the guest. `WASM_TRAP_NONE` if none did.
  wasm_trap trap;
  // The text of `wasm_error_message`.
  wasm_slice message;
  // Whether the guest ended by itself. `exit_code` is valid then.
  bool has_exit_code;
  // Whether the guest was working on a record. `record_index` and `record_offset` are valid then.
  bool has_record;
  // The guest's exit code.
  int32_t exit_code;
  // The record's index in the batch. Counted from 0.
  uint32_t record_index;
  // The record's Kafka offset.
  int64_t record_offset;
  // Frames of the guest's call stack at its end. `wasm_error_frame` reads them.
  size_t frame_count;
  // The guest's core dump. Empty if there is none.
  //
  // A guest has a core dump if it trapped or was ended or exited with a code other than 0. `core_dumps` must be set
  // for its runtime and its memory must have no more than 1 GiB. There must be memory for the dump. The dump is a
  // WebAssembly module in the core dump format of WebAssembly's tool conventions. It has the memory and the globals
  // and the stack with the indices of functions. Of the stack it has the innermost 1,000 frames. Positions within
  // functions and values of variables are not known. **The dump contains what the memory contains, secrets
  // included.**
  wasm_slice core_dump;
  // What the guest wrote to standard error last while it worked on the record, or outside of one. Usually the
  // reason of its end. UTF-8 of at most 1,024 bytes without control characters but newlines and tabs. Empty if the
  // guest wrote nothing. Kept also if the log's limit left the lines out.
  //
  // A line that begins with `panic: ` or `fatal error: ` (Go) or that is `thread … panicked at …` (Rust) is here
  // with the lines behind it up to an empty line or a note about backtraces. Otherwise this is the last line that is
  // not indented, or the first one if all are. Empty lines and such notes do not count.
  wasm_slice guest_stderr;
  // Why a host call returned an error code to the guest last while it worked on the record, or outside of one.
  // UTF-8. For example `write_record returned -3: the record has 70000 bytes and output_buffer_limit is 65536`.
  // Empty if none did. The guest may have ended for another reason.
  wasm_slice refusal;
  // Bytes of the guest's memory at its end. 0 if no guest ended.
  uint64_t memory_size;
  // Bytes that the guest's memory was last refused to grow to while it worked on the record. 0 if it was not.
  uint64_t memory_wanted;
  // Index of the batch in its `wasm_engine_transform_many`. Counted from 0. The batches before it have completed.
  // The number of batches if all have and the guest could not be started again. 0 if there was one batch or none
  // and with `WASM_STATUS_CANCELLED` and `WASM_STATUS_PANIC`.
  uint64_t batch_index;
  // With `WASM_STATUS_POLICY_THRESHOLD`: the status with which the guest failed last. Otherwise `WASM_STATUS_OK`.
  wasm_status cause;
} wasm_error_info;

// A frame of a guest's call stack.
typedef struct wasm_frame {
  // Demangled name of the function. Empty if the module has no names. Lives as long as the error.
  wasm_slice function;
  // Index of the function in the module's function index space.
  uint32_t function_index;
} wasm_frame;

// A place in the source of a guest.
typedef struct wasm_location {
  // `sizeof(wasm_location)`, set by the caller.
  size_t size;
  // The file's name as the compiler was given it. Empty if the place is not known. Lives as long as the error.
  wasm_slice file;
  // The line. Counted from 1. 0 if the place is not known.
  uint32_t line;
  // The column. Counted from 1. 0 if it is not known.
  uint32_t column;
} wasm_location;

// The status of the call that reported the error. `WASM_STATUS_NULL_ARGUMENT` for NULL.
wasm_status wasm_error_status(const wasm_error *error);

// What happened, to which transform, at which record and what to do. UTF-8 with a final NUL. Several lines if there is
// a backtrace. Lives as long as the error. An empty string for NULL.
const char *wasm_error_message(const wasm_error *error);

// Fills `info` with everything that is known. The caller has set `info->size`. The slices in `info` live as long as
// the error.
wasm_status wasm_error_get_info(const wasm_error *error, wasm_error_info *info);

// Writes frame `index` to `frame`. Frame 0 is the innermost. `WASM_STATUS_INVALID_ARGUMENT` if there is no such frame.
wasm_status wasm_error_frame(const wasm_error *error, size_t index, wasm_frame *frame);

// Writes where the guest was in its source in frame `index` to `location`. The caller has set `location->size`. The
// place is known if `debug_info` is set for the runtime and the module has debug information (DWARF) for that
// function. In a frame with inlined functions this is the place in the innermost of them. Where the compiler says that
// an instruction has no line, this is the line before. `WASM_STATUS_INVALID_ARGUMENT` if there is no such frame.
wasm_status wasm_error_location(const wasm_error *error, size_t index, wasm_location *location);

// Frees the error. Any thread. NULL does nothing.
void wasm_error_release(wasm_error *error);

// The name of a status. For example `guest-trap`. Names are fixed and fit for metrics labels. `unknown` for a number
// that is no status. Static.
const char *wasm_status_name(wasm_status status);

// ---------------------------------------------------------------------------------------------------------------------
// Runtime
//
// A runtime holds the configuration and the compiler. A host makes one at its start, adds its host functions and keeps
// it until its end.
// ---------------------------------------------------------------------------------------------------------------------

// How urgent a line is.
typedef enum wasm_log_severity WASM_ENGINE_ENUM_TYPE {
  // Details that help to find a fault.
  WASM_LOG_SEVERITY_DEBUG = 0,
  // A guest's standard output. From the library: information.
  WASM_LOG_SEVERITY_INFO = 1,
  // A guest's standard error. From the library: a problem that needs attention.
  WASM_LOG_SEVERITY_WARN = 2,
  // A failure that the host will also see as a status.
  WASM_LOG_SEVERITY_ERROR = 3,
} wasm_log_severity;

// The source of a line.
typedef enum wasm_log_source WASM_ENGINE_ENUM_TYPE {
  // The guest.
  WASM_LOG_SOURCE_GUEST = 0,
  // The library itself. The line is about the guest or its transform.
  WASM_LOG_SOURCE_LIBRARY = 1,
} wasm_log_source;

// A line for the host's log. Lives until the callback returns.
typedef struct wasm_log_line {
  // `sizeof(wasm_log_line)`. Set by the library. Fields beyond it do not exist in the library's version.
  size_t size;
  // How urgent the line is.
  wasm_log_severity severity;
  // Whether the line is the guest's or the library's own.
  wasm_log_source source;
  // The number that the host gave the engine's thread: `shard` of `wasm_thread_config`. Else 0.
  uint32_t shard;
  // The line was longer than `max_log_line`. The next line of this severity and transform continues it.
  bool continues;
  // The transform's name. Empty if the line is about no transform.
  wasm_slice transform;
  // The text. Valid UTF-8 without a newline. Bytes that were not UTF-8 are written as `\xNN`.
  wasm_slice text;
  // The engine that the line comes from. NULL if there is none. To tell several engines apart: the engine is busy or
  // being stopped and must not be called.
  const wasm_engine *engine;
  // What `wasm_engine_set_user_data` attached to that engine.
  void *user_data;
} wasm_log_line;

// Where guests' standard output and error go.
typedef struct wasm_log_sink {
  // The host's own.
  void *data;
  // Frees `data`. Called once: when the runtime and everything made from it are gone or when `wasm_runtime_create`
  // fails. May be NULL.
  void (*drop)(void *data);
  // Takes a line, which lives until the callback returns. NULL: lines are dropped.
  //
  // Called on the threads of engines while their guests run and on the guests' stacks. So `host_stack_size` bytes of
  // stack are left. Several threads may call it at once. With a code cache it is also called on compile threads and
  // by `wasm_runtime_set_code_cache` for faults of the cache. Must not throw and must not block.
  void (*line)(void *data, const wasm_log_line *line);
} wasm_log_sink;

// Where linear memories and guests' stacks come from.
//
// `docs/memory-and-signals.md` has measurements of each mode and says which one to choose.
typedef enum wasm_memory_mode WASM_ENGINE_ENUM_TYPE {
  // Each start of an engine maps memory and stack, each stop unmaps them. Guests run fastest and starts are
  // slowest. Each engine takes 4 GiB of address space and four to six of the process's 65,530 mappings. This is
  // the default: nothing needs to be sized.
  WASM_MEMORY_MODE_ON_DEMAND = 0,
  // From a pool that each thread reserves with `wasm_thread_prepare`. The pool's memory comes from the system or
  // from `memory_allocator` and `stack_allocator`. Nothing is mapped afterwards. Memories lie side by side without
  // guard pages, so guests check each access in code. Stacks have guards. Before Linux 6.13 a guard takes two
  // mappings per stack.
  WASM_MEMORY_MODE_THREAD_POOL = 1,
  // From `memory_allocator` and `stack_allocator` for each engine.
  WASM_MEMORY_MODE_HOST = 2,
  // From Wasmtime's pool for the whole process, sized for `pool_engines` engines. Memories begin as copy-on-write
  // images of the module's data. Takes four to six of the process's 65,530 mappings for each engine. A module can
  // have one table of up to 20,000 elements.
  WASM_MEMORY_MODE_PROCESS_POOL = 3,
} wasm_memory_mode;

// How compiled code detects what a guest must not do.
typedef enum wasm_trap_mode WASM_ENGINE_ENUM_TYPE {
  // By SIGSEGV, SIGILL and SIGFPE where a signal is cheaper than a check. The default.
  WASM_TRAP_MODE_SIGNALS = 0,
  // By checks in code only. No signal handler is installed or needed.
  WASM_TRAP_MODE_CHECKS = 1,
} wasm_trap_mode;

// When the library checks whether a signal that it needs is blocked on the thread.
typedef enum wasm_signal_check WASM_ENGINE_ENUM_TYPE {
  // At the first poll of a thread and at each start. After that at one poll per thread in half a time slice. The
  // default. The cost is too small to measure.
  WASM_SIGNAL_CHECK_SAMPLED = 0,
  // At each poll. This costs a system call. For hosts whose signal mask may change at any time and for tests.
  WASM_SIGNAL_CHECK_EACH_POLL = 1,
} wasm_signal_check;

// The host's allocator for linear memories or for guests' stacks.
typedef struct wasm_allocator {
  // `sizeof(wasm_allocator)`.
  size_t size;
  // The host's own.
  void *data;
  // Frees `data`. Called once for each config field that names the table: when the runtime and everything made
  // from it are gone or when `wasm_runtime_create` fails. Called on any thread including the library's. May be
  // NULL.
  void (*drop)(void *data);
  // Returns `bytes` readable and writable bytes or NULL if there are none. They begin at a multiple of
  // `alignment`, a power of two. A block for linear memory must read as zero. A block for stacks need not. Called
  // on the thread that prepares itself or that starts an engine. Must not throw.
  void *(*allocate)(void *data, size_t bytes, size_t alignment);
  // Takes back a block from `allocate`. Only the first `used` bytes of a block for linear memory may differ from
  // zero. Called on the thread that the block was allocated on: when the engine stops, in `wasm_thread_release` or
  // as the thread ends. Blocks that are left when a runtime goes are released on the thread that drops the last
  // reference. This may be a compile thread. Must not throw.
  void (*release)(void *data, void *memory, size_t bytes, size_t used);
} wasm_allocator;

// Settings of a runtime. Zero in any field but `size` means the default.
typedef struct wasm_runtime_config {
  // `sizeof(wasm_runtime_config)`.
  size_t size;
  // Bytes of linear memory that one guest may have. Growth beyond that fails inside the guest. Whole pages of 64 KiB
  // count. At least 64 KiB and at most 4 GiB. Default 64 MiB.
  uint64_t memory_limit;
  // Elements that all tables of one guest may have together. Default 1,048,576.
  uint64_t table_limit;
  // Bytes of stack for a guest's own frames. Default 512 KiB.
  uint64_t guest_stack_size;
  // Bytes of stack beyond that for the host functions that a guest calls. Default 256 KiB.
  uint64_t host_stack_size;
  // Nanoseconds that a guest may run before its host gets the thread back. Default 500,000.
  //
  // The precision depends on how soon the thread `wasm-ticker` gets a processor. If the process may use real-time
  // scheduling (CAP_SYS_NICE or RLIMIT_RTPRIO of 1 or more), that thread takes SCHED_FIFO with priority 1. Not so if
  // `avoid_real_time` is set or slices are shorter than 100,000. Otherwise it asks Linux for short slices of its
  // own. See `processors` for where it runs.
  uint64_t time_slice_ns;
  // Nanoseconds of processor time that a guest may use for one record or for its start. Time of the host functions
  // that it calls is included. Time in which the thread was preempted or blocked does not count, nor does time in
  // which the guest was suspended: because its slice had ended, or because it waited for a promise or for its output
  // to be taken. A guest is never ended earlier. It may use a sixteenth of the limit and three slices more. If it
  // calls the host all the time, it may use twice the limit. Default 3,000,000,000.
  uint64_t record_time_limit_ns;
  // Bytes of output that one engine holds at most. No output record can be larger. It is held in blocks of 64 KiB. A
  // larger record is held in one piece. Default 1 MiB.
  uint64_t output_buffer_limit;
  // Bytes that a module may have. Default 64 MiB.
  uint64_t max_module_size;
  // Bytes that a batch may have before and after decompression. Default 128 MiB.
  uint64_t max_batch_size;
  // Bytes of a log line as the guest wrote it. Longer ones are cut into several. Bytes that are not UTF-8 take four
  // bytes each in the log. Default 8 KiB.
  uint64_t max_log_line;
  // Modules that are compiled at once. The threads that compile start with the first module: so many for a module
  // that is compiled alone, and one more for each further one. A compilation that is given up no longer counts. Its
  // threads end when it does. Up to eight of these run at a time. Further ones keep their place. Default 1.
  uint32_t compile_threads;
  // 1: the CRCs of batches are not checked. Default 0.
  uint32_t skip_crc_check;
  // Where guests' output goes. Default: the output is dropped.
  wasm_log_sink log;
  // Where linear memories and stacks come from.
  wasm_memory_mode memory_mode;
  // How traps of guests are noticed.
  wasm_trap_mode trap_mode;
  // When polls look for blocked signals.
  wasm_signal_check signal_check;
  // For tests. 1: stacks have no more than `host_stack_size` bytes and guests get up to a quarter of that for their
  // own frames. So no host function ever has more stack than it was promised and some have a quarter less. One that
  // needs more dies in the test. Default 0.
  uint32_t tight_stacks;
  // Engines that run at the same time in memory mode `WASM_MEMORY_MODE_PROCESS_POOL`. Default 1,000.
  uint64_t pool_engines;
  // For the modes with pools: bytes at the start of a memory that are zeroed in place when its engine stops. The
  // pages beyond are given back to the system unless they are the host's. Default 4 MiB in pools of threads, where
  // unused pages are not touched. Default 64 KiB in the pool of the process.
  uint64_t keep_resident;
  // The host's memory for linear memories. In mode `WASM_MEMORY_MODE_THREAD_POOL` one block per thread. In mode
  // `WASM_MEMORY_MODE_HOST` one block per engine of the transform's `memory_limit` or of the maximum that the module
  // declares.
  // NULL: the system's. The table is copied.
  const wasm_allocator *memory_allocator;
  // The host's memory for stacks in the same modes. It must be ordinary pages that can be protected. NULL: the
  // system's. The lowest 16 KiB of each stack become a guard. Their protection is undone before the block is
  // released. The table is copied.
  const wasm_allocator *stack_allocator;
  // Lines per second that the guests of one transform may write to the log on each shard. A part of a line that was
  // cut counts as a line. Further lines are dropped and counted. One line of the library reports their number as
  // soon as lines pass again and at the latest when the last engine is released. Default 1,000. `UINT32_MAX` for
  // all.
  uint32_t log_lines_per_second;
  // Lines that they may write at once after a time with fewer lines. Default 5,000.
  uint32_t log_burst_lines;
  // 1: the error of a guest that failed has a core dump: see `core_dump` of `wasm_error_info`. The polls
  // of the operation make it in time slices. That takes some 1 ms per MiB of the guest's memory. The error keeps the
  // bytes that are not zero. Default 0.
  uint32_t core_dumps;
  // 1: guests' functions are appended to `/tmp/perf-PID.map` when their modules are compiled or loaded. `perf
  // report` finds their names there. The file stays. Its lines are wrong as soon as a factory is freed and another
  // takes its place. Default 0.
  uint32_t perf_map;
  // 1: the thread `wasm-ticker` is an ordinary thread as long as this runtime exists. See `time_slice_ns`. Default
  // 0.
  uint32_t avoid_real_time;
  // A seed for guests that are replayed: any number but 0. What such a guest sees depends on its input and this seed
  // alone and is the same in each engine and at each start. `random_get` gives the numbers of the seed. The guest's
  // monotonic clock advances by 1,000 ns at each look, by 1,000 ns for each record when a batch is taken and by what
  // the guest sleeps. Default 0: random numbers have a seed from the system and differ between any two guests. The
  // monotonic clock is the time that the engine has run, plus what the guest has slept. In both cases sleeping
  // returns at once and the wall clock is the timestamp of the current record.
  uint64_t replay_seed;
  // What multiplies the limits of what is compiled. A module that would take too long or too much memory to compile
  // is refused with `WASM_STATUS_MODULE_TOO_COMPLEX`. By default the worst accepted module takes some 30 seconds of
  // processor time and 1 GiB. Most modules that compilers make take a small part of that. Large interpreters and
  // databases come near to it or exceed it: docs/compile-limits.md has examples. `UINT32_MAX`: there are no such
  // limits, for hosts that compile only modules of their own. Default 1.
  uint32_t compile_limit_factor;
  // 1: the frames of errors have file and line if the module has debug information (DWARF): see
  // `wasm_error_location`. The code of such a module then takes a quarter more memory, also in the code cache and in
  // artifacts. All other modules are compiled as without. Default 0.
  uint32_t debug_info;
  // The path of a program in whose processes modules are compiled, for hosts that take modules of strangers. The
  // library ships one: `wasm-compile-helper`. Absolute. It must be of the library's version and is trusted as the
  // library itself. Copied. Default empty: modules are compiled in this process.
  //
  // Each compilation has a process of its own. It has one socket and no environment but LD_LIBRARY_PATH. It ends
  // with its compilation and at once if the compilation's future is released. `WASM_STATUS_MODULE_COMPILE_LIMIT` if
  // it exceeds one of the two limits below. `WASM_STATUS_COMPILE_HELPER_FAILED` if it cannot do its work. It is a
  // child of this process, which gets SIGCHLD for it. The library waits for it.
  wasm_slice compile_helper;
  // Nanoseconds of processor time that the helper may use for one module on all its threads. At least 10,000,000.
  // Default 60,000,000,000.
  uint64_t compile_time_limit_ns;
  // Bytes of memory that the helper may have for one module beside what it has before: code, threads and the module
  // itself. 64 MiB are enough for a module of 2 MB on one thread. At least 64 MiB. Default 2 GiB.
  uint64_t compile_memory_limit;
  // The processors on which the library's own threads run, as a list such as `0-3,8`. For the compile threads, the
  // helper and the thread `wasm-ticker`, which all runtimes share: the first runtime decides. Copied. Default empty:
  // all processors on which any thread of the process may run when the library's thread starts.
  wasm_slice processors;
  // 1: each record that a guest reads or writes is a call of this library. Default 0: the code for usual records is
  // compiled into the guest where it calls for one. A small record then takes two thirds of the time. Guests see no
  // difference. Memory mode PROCESS_POOL and processors other than x86-64 always have the calls. docs/security.md
  // has what such code can access.
  uint32_t host_record_calls;
} wasm_runtime_config;

// Makes a runtime. `config` may be NULL for the defaults. Its content is copied. Any thread. Any number of runtimes.
//
// Host functions, a schema registry and a code cache are added next: before the runtime sees its first module. Release
// the runtime with `wasm_runtime_release`.
//
// A host with its own handlers for SIGSEGV, SIGILL or SIGFPE should install them before it makes the first runtime.
// Wasmtime's handlers pass signals that are not theirs on to the handlers that they found.
//
// `WASM_STATUS_INVALID_ARGUMENT` if a field is invalid. The message names it. `WASM_STATUS_SYSTEM` if a thread cannot
// be started.
wasm_status wasm_runtime_create(const wasm_runtime_config *config, wasm_runtime **runtime, wasm_error **error);

// The compile helper as a whole program: for a host that has its own instead of `wasm-compile-helper`. The program's
// `main` does nothing else and returns what this returns. Does not return if the library has started the program.
// Otherwise returns 2.
int wasm_runtime_compile_helper_main(void);

// Validates a module without compiling it. Returns `WASM_STATUS_OK` or the `WASM_STATUS_MODULE_…` that a compilation
// would report. The message has the details. Takes some 15 ms per megabyte on the calling thread. Any thread.
// `wasm_factory_validate` also knows limits, rights and host functions of a factory.
wasm_status wasm_runtime_validate(const wasm_runtime *runtime, wasm_slice module, wasm_error **error);

// Describes a module as a JSON document. Also a module that is refused. Members: `size`, `abi_version`,
// `schema_registry_abi_version`, `language`, `producers`, `functions`, `code_size`, `data_segments`, `has_names`,
// `memories`, `imports`, `exports` and `refused`. The last one is null or has `status` and `message`. Any thread.
//
// Also describes an artifact. Its document has a member `artifact` that says how the artifact was made: `library`,
// `wasmtime`, `rewriting`, `target`, `settings`, `module` (SHA-256 of the module) and `module_size`. The settings are
// text, as `memory_mode ON_DEMAND, host_record_calls 0 and trap_mode SIGNALS`. Damaged bytes are
// `WASM_STATUS_MODULE_ARTIFACT_DAMAGED`.
//
// `json` gets text. Release it with `wasm_bytes_release`.
wasm_status wasm_runtime_inspect(const wasm_runtime *runtime, wasm_slice module, wasm_bytes **json, wasm_error **error);

// Releases the runtime. Factories and engines made from it stay valid. The compile threads end after their current
// work. The ticker thread ends when the last factory, engine, factory cache and `wasm_metrics` of the process are
// gone. This call does not wait for those threads. They may run for some milliseconds more. Any thread. NULL does
// nothing.
void wasm_runtime_release(wasm_runtime *runtime);

// ---------------------------------------------------------------------------------------------------------------------
// Thread
//
// Preparation of each thread that polls engines. Call `wasm_thread_prepare` once on each of them before its first
// engine.
// ---------------------------------------------------------------------------------------------------------------------

// How a thread is prepared.
typedef struct wasm_thread_config {
  // `sizeof(wasm_thread_config)`.
  size_t size;
  // Engines of the runtime that this thread will have started at the same time. As many memories of `memory_limit`
  // bytes and stacks are reserved. For memory mode `WASM_MEMORY_MODE_THREAD_POOL`. 0 in the others. At most 2^20.
  uint64_t engines;
  // A label for the thread. Engines that it makes from now on count under this label in the metrics of every
  // runtime. 0 leaves the label as it was. It is 0 at first.
  uint32_t shard;
} wasm_thread_config;

// The state of a thread's pool.
typedef struct wasm_thread_pool {
  // `sizeof(wasm_thread_pool)`, set by the caller.
  size_t size;
  // Engines that the pool is for.
  uint64_t engines;
  // Bytes of each memory.
  uint64_t memory_bytes;
  // Memories that can be taken.
  uint64_t memories_free;
  // Memories of stopped engines that must be reclaimed first.
  uint64_t memories_dirty;
  // Memories of engines.
  uint64_t memories_in_use;
  // Bytes that are still to be reclaimed.
  uint64_t dirty_bytes;
  // Stacks that can be taken.
  uint64_t stacks_free;
} wasm_thread_pool;

// Prepares the calling thread for polling engines of `runtime`. Unblocks exactly the signals that the runtime uses
// (see `wasm_thread_unblock_signals`). Sets up what Wasmtime keeps for each thread, including an alternate signal
// stack of 256 KiB unless the thread has one that large. That stack goes with the thread, which then has none: a
// smaller one of the host's does not come back. Reserves a pool.
//
// To be called once on each such thread before its first poll because all this may take hundreds of microseconds that
// the first poll would take otherwise. A thread that polls only futures of factories does not need it. The call is
// required in memory mode `WASM_MEMORY_MODE_THREAD_POOL` and on a thread whose signals are blocked. A second call
// with the same numbers changes nothing but the signals. `config` may be NULL: no pool.
//
// The pool lives until `wasm_thread_release` or the end of the thread or the end of the runtime with all of its
// factories and engines.
//
// `WASM_STATUS_SYSTEM` if there is no memory for the pool or the call comes from a signal's handler.
// `WASM_STATUS_OUT_OF_MEMORY` if there is none for the signal stack. `WASM_STATUS_INVALID_STATE` if the thread has a
// pool of another size or is ending. `WASM_STATUS_INVALID_ARGUMENT` if engines are given in another memory mode.
wasm_status wasm_thread_prepare(wasm_runtime *runtime, const wasm_thread_config *config, wasm_error **error);

// Releases the calling thread's pool and the buffers that the thread keeps for batches and their output (up to 6 MiB).
// `WASM_STATUS_INVALID_STATE` while engines use the pool. A thread without a pool is no error.
wasm_status wasm_thread_release(wasm_runtime *runtime, wasm_error **error);

// Unblocks the signals by which `runtime` notices traps of guests on the calling thread. These are SIGSEGV and SIGILL
// and on x86-64 also SIGFPE. None with `WASM_TRAP_MODE_CHECKS`. Other signals and all handlers stay as they are.
//
// `wasm_thread_prepare` does this too. A host whose mask may change afterwards calls this before it polls again. For
// example `swapcontext` restores a mask and Seastar blocks most signals on its threads when it starts. A trap while
// its signal is blocked kills the process even with a handler in place. So polls look for blocked signals as
// `wasm_signal_check` says. They return `WASM_STATUS_SIGNALS_BLOCKED` then and change nothing.
wasm_status wasm_thread_unblock_signals(const wasm_runtime *runtime, wasm_error **error);

// Cleans memories of stopped engines in the calling thread's pool so that they can be taken again. For idle moments of
// an event loop. Cleans at most `bytes` bytes in steps of 64 KiB that take some 5 to 10 µs each. Of the bytes that are
// given back to the system 1 MiB counts as one step. A stop cleans 256 KiB by itself. A start that finds no clean
// memory cleans as much at each poll and yields in between.
//
// `more` tells whether some are left. It may be NULL. `WASM_STATUS_THREAD_NOT_PREPARED` if there is no pool.
wasm_status wasm_thread_reclaim(wasm_runtime *runtime, size_t bytes, bool *more, wasm_error **error);

// Writes the state of the calling thread's pool. The caller has set `pool->size`. `WASM_STATUS_THREAD_NOT_PREPARED` if
// there is no pool.
wasm_status wasm_thread_get_pool(const wasm_runtime *runtime, wasm_thread_pool *pool, wasm_error **error);

// ---------------------------------------------------------------------------------------------------------------------
// Factory
//
// A factory is a compiled transform. All threads make their engines from one factory.
// ---------------------------------------------------------------------------------------------------------------------

// An environment variable.
typedef struct wasm_env {
  // The name. Not empty and without `=` and NUL.
  wasm_slice name;
  // The value. Without NUL.
  wasm_slice value;
} wasm_env;

// Functions that a transform may import.
typedef struct wasm_allowed_import {
  // The host module. Not `wasi_snapshot_preview1`, for which there is `wasi_rights`.
  wasm_slice module;
  // The function. Empty: all functions of the module.
  wasm_slice function;
} wasm_allowed_import;

// The type of a value.
typedef enum wasm_value_type WASM_ENGINE_ENUM_TYPE {
  // A 32-bit integer. The guest's pointers and lengths have this type.
  WASM_VALUE_TYPE_I32 = 0,
  // A 64-bit integer.
  WASM_VALUE_TYPE_I64 = 1,
  // A 32-bit float.
  WASM_VALUE_TYPE_F32 = 2,
  // A 64-bit float.
  WASM_VALUE_TYPE_F64 = 3,
} wasm_value_type;

// What a callback returns.
typedef enum wasm_callback_result WASM_ENGINE_ENUM_TYPE {
  // The call has completed.
  WASM_CALLBACK_RESULT_DONE = 0,
  // The call completes when the promise that the callback took from its `wasm_call` is settled.
  WASM_CALLBACK_RESULT_PENDING = 1,
  // The call failed. `wasm_call_fail` has given the reason.
  WASM_CALLBACK_RESULT_FAILED = 2,
  // Call again. Only for `transform` and `start` of a `wasm_custom_engine`. If `wasm_work_write` reported that the
  // output is full, the host's sink gets the output first. Otherwise other tasks run first.
  WASM_CALLBACK_RESULT_AGAIN = 3,
} wasm_callback_result;

// A value. The function's signature says which member is valid.
typedef union wasm_value {
  // With `WASM_VALUE_TYPE_I32`.
  int32_t i32;
  // With `WASM_VALUE_TYPE_I64`.
  int64_t i64;
  // With `WASM_VALUE_TYPE_F32`.
  float f32;
  // With `WASM_VALUE_TYPE_F64`.
  double f64;
} wasm_value;

// A function of the host.
typedef struct wasm_host_function {
  // `sizeof(wasm_host_function)`.
  size_t size;
  // The module that guests import the function from. Not `redpanda_transform`, `redpanda_schema_registry` or
  // `wasi_snapshot_preview1`.
  wasm_slice module;
  // The function's name in that module.
  wasm_slice name;
  // Types of the parameters. At most 32.
  const wasm_value_type *params;
  // Number of `params`.
  size_t param_count;
  // Types of the results. At most 16.
  const wasm_value_type *results;
  // Number of `results`.
  size_t result_count;
  // 1: `call` may return pending, which costs a little with each call. Otherwise 0.
  uint32_t may_wait;
  // The host's own.
  void *data;
  // Frees `data`. Called once: when the runtime or factory that has the function and everything made from it are
  // gone or when the call fails that was given the function. May be NULL.
  void (*drop)(void *data);
  // The function. Reads `args`, writes `results` and returns a `wasm_callback_result`. Arguments and results are as
  // in the signature. Failed ends the guest with `WASM_STATUS_HOST_FUNCTION_FAILED` and the text of
  // `wasm_call_fail`.
  //
  // Called on the threads of engines and on the guests' stacks with `host_stack_size` bytes left. Several threads
  // may call it at once. Its time counts as the guest's. It must not throw and must not block. Calls on its own
  // engine return `WASM_STATUS_BUSY`.
  wasm_callback_result (*call)(void *data, wasm_call *call, const wasm_value *args, wasm_value *results);
} wasm_host_function;

// A transform: its module, what the guest may know and what it may do. Zero in any field but `size`, `module`, `name`
// and topics means the default.
typedef struct wasm_factory_config {
  // `sizeof(wasm_factory_config)`.
  size_t size;
  // The module in Wasm's binary format.
  wasm_slice module;
  // The transform's name. It is `argv[0]` in the guest and stands in every log line and error. Not empty.
  wasm_slice name;
  // `REDPANDA_INPUT_TOPIC` in the guest.
  wasm_slice input_topic;
  // `REDPANDA_OUTPUT_TOPIC_0`, … in the guest. Records that name no topic go to the first. Without any topic every
  // write of the guest fails.
  const wasm_slice *output_topics;
  // Number of `output_topics`.
  size_t output_topic_count;
  // The guest's environment in addition to these.
  const wasm_env *env;
  // Number of `env`.
  size_t env_count;
  // Limits of this transform within those of the runtime, which are the defaults: see `wasm_runtime_config` for what
  // they mean. `WASM_STATUS_INVALID_ARGUMENT` for one above the runtime's. They are not in the compiled code:
  // transforms that differ in them share it. Bytes of linear memory that one guest may have.
  uint64_t memory_limit;
  // Elements that all tables of one guest may have together.
  uint64_t table_limit;
  // Nanoseconds of processor time that a guest may use for one record or for its start.
  uint64_t record_time_limit_ns;
  // Bytes of output that one engine holds at most.
  uint64_t output_buffer_limit;
  // Lines per second that the guests of the transform may write to the log on each shard. If factories of one name
  // differ in it, each line takes its own factory's share of the time.
  uint32_t log_lines_per_second;
  // Lines that they may write at once after a time with fewer lines.
  uint32_t log_burst_lines;
  // What the module may import of host modules and of `redpanda_schema_registry`. If there is a list, all else is
  // denied: a module that imports it is refused with `WASM_STATUS_MODULE_IMPORT_DENIED`. `redpanda_transform` is
  // always allowed. So a list of it alone denies all other host modules. NULL: everything is allowed.
  const wasm_allowed_import *allowed_imports;
  // Number of `allowed_imports`.
  size_t allowed_import_count;
  // What the module may import of WASI: bits of `wasm_wasi_right`. 0: everything.
  uint32_t wasi_rights;
  // Host functions of this factory in addition to those of its runtime: pointers to `function_count` of them. Their
  // `data` is taken over in any case, also by calls that fail and for factories that a cache has already. It is
  // dropped when the factory and everything made from it are gone. Names that the runtime has, modules of the
  // library and names that are listed twice are `WASM_STATUS_INVALID_ARGUMENT`.
  const wasm_host_function *const *functions;
  // Number of `functions`.
  size_t function_count;
} wasm_factory_config;

// What holds for a factory.
typedef struct wasm_factory_info {
  // `sizeof(wasm_factory_info)`, set by the caller.
  size_t size;
  // The transform's name. Valid as long as the factory.
  wasm_slice name;
  // Bytes of linear memory that one guest may have. The limits here are those that hold: the factory's own or the
  // runtime's. 0 for what does not apply to custom engines.
  uint64_t memory_limit;
  // Elements that all tables of one guest may have together.
  uint64_t table_limit;
  // Nanoseconds of processor time that a guest may use for one record or for its start.
  uint64_t record_time_limit_ns;
  // Bytes of output that one engine holds at most.
  uint64_t output_buffer_limit;
  // Bytes of stack for a guest's own frames. Always the runtime's.
  uint64_t guest_stack_size;
  // Lines per second that the guests may write to the log on each shard.
  uint32_t log_lines_per_second;
  // Lines that they may write at once.
  uint32_t log_burst_lines;
  // Bits of `wasm_wasi_right`. 0: all.
  uint32_t wasi_rights;
  // 1: there is a list of `allowed_imports`. Otherwise 0.
  uint32_t has_allowed_imports;
  // 1: a factory of custom engines, which has no module and no code. Otherwise 0.
  uint32_t is_custom;
  // SHA-256 of the module.
  uint8_t module_hash[32];
  // Bytes of the module.
  uint64_t module_size;
  // Bytes of its machine code.
  uint64_t code_size;
  // Factories that have this code now, with this one. 1: it is not shared.
  uint64_t code_factories;
} wasm_factory_info;

// What a guest may use of WASI: bits of `wasi_rights` in `wasm_factory_config`.
//
// A guest without a right is refused if it imports one of the functions. Nothing of WASI reaches the system here:
// there are no files and no sockets, standard output and error are the host's log and sleeping returns at once. So
// most hosts leave all rights. What guests of the published SDKs import, measured: C and C++ OUTPUT, and ENVIRONMENT
// if they call `getenv`. Rust OUTPUT and ENVIRONMENT, with hash maps RANDOM, with `Instant` and `sleep` CLOCKS and
// SLEEP. Go always ARGUMENTS, ENVIRONMENT, CLOCKS, RANDOM, OUTPUT and SLEEP.
typedef enum wasm_wasi_right WASM_ENGINE_ENUM_TYPE {
  // What every guest may: `proc_exit`, `proc_raise`, `sched_yield` and asking about its standard streams. Alone: no
  // other right.
  WASM_WASI_RIGHT_BASE = 1,
  // The transform's name: `args_get`, `args_sizes_get`.
  WASM_WASI_RIGHT_ARGUMENTS = 2,
  // `env` and the topics: `environ_get`, `environ_sizes_get`.
  WASM_WASI_RIGHT_ENVIRONMENT = 4,
  // The record's timestamp and how long the guest has run: `clock_time_get`, `clock_res_get`.
  WASM_WASI_RIGHT_CLOCKS = 8,
  // Random numbers: `random_get`.
  WASM_WASI_RIGHT_RANDOM = 16,
  // Lines for the host's log: `fd_write`.
  WASM_WASI_RIGHT_OUTPUT = 32,
  // Sleeping: `poll_oneoff`.
  WASM_WASI_RIGHT_SLEEP = 64,
  // Functions for files and directories. All of them fail inside the guest.
  WASM_WASI_RIGHT_FILES = 128,
  // Functions for sockets. All of them fail inside the guest.
  WASM_WASI_RIGHT_SOCKETS = 256,
} wasm_wasi_right;

// Compiles a transform. The content of `config` is copied. The module is validated and compiled on a compile thread of
// the runtime or found in its code cache. Factories of a runtime whose modules are the same share the code, whatever
// else differs in `config`: a module that is in memory is not compiled again and one that is being compiled is waited
// for. Any thread.
//
// `future` becomes ready with a factory, which `wasm_future_take_factory` returns. Or it fails with a
// `WASM_STATUS_MODULE_…`. Any thread may poll it but only one at a time. It may be released early. A compilation that
// has not begun is then left out. One that has begun continues and its result is dropped or kept by the factory cache
// that was asked.
//
// Errors of the call itself: `WASM_STATUS_INVALID_ARGUMENT` and `WASM_STATUS_INVALID_UTF8` for names, topics and
// environment.
wasm_status wasm_factory_create(const wasm_runtime *runtime,
                                const wasm_factory_config *config,
                                wasm_future **future,
                                wasm_error **error);

// Validates a module without compiling it for the factory that `wasm_factory_create` would make of `config`: against
// its limits, its rights and its host functions too. Otherwise as `wasm_runtime_validate`. Of `functions` names and
// types are read. Their `data` stays the host's. Any thread.
//
// `WASM_STATUS_MODULE_IMPORT_DENIED` if the transform has no right to an import. The message names the imports and the
// rights. `WASM_STATUS_MODULE_MEMORY_LIMIT` and `WASM_STATUS_MODULE_TABLE_LIMIT` if the module starts larger than the
// transform's limits. `WASM_STATUS_INVALID_ARGUMENT` and `WASM_STATUS_INVALID_UTF8` as of `wasm_factory_create`.
wasm_status wasm_factory_validate(const wasm_runtime *runtime, const wasm_factory_config *config, wasm_error **error);

// Writes what holds for a factory. The caller has set `info->size`. Any thread.
wasm_status wasm_factory_get_info(const wasm_factory *factory, wasm_factory_info *info, wasm_error **error);

// Another reference to the factory for another owner. Each reference is released. Any thread. NULL for NULL.
wasm_factory *wasm_factory_clone(const wasm_factory *factory);

// Releases one reference. Engines made from the factory stay valid. Any thread. NULL does nothing.
void wasm_factory_release(wasm_factory *factory);

// ---------------------------------------------------------------------------------------------------------------------
// Future
//
// A future is an operation in progress. The host polls it until it is ready or has failed. `wasm_future_spawn` below
// does that for a host with an event loop.
// ---------------------------------------------------------------------------------------------------------------------

// Tells the host that a pending future is worth polling again.
//
// Each waker that is passed to a poll is consumed: exactly one of `wake` and `drop` is called with its `data`,
// exactly once. `wake` is called if the poll returned pending and the awaited event has happened. It is called on
// any thread and outside of every lock. On another thread this may be before the poll has returned. `wake` may call
// the library but must not poll or release the future itself. It should schedule that. In all other cases `drop` is
// called. If the poll did not return pending, this happens before the poll returns. Otherwise it happens when the
// future is polled again or released or when its engine is stopped or released. `drop` may be NULL for data that
// need not be freed.
//
// The library does not wait for a `wake` that runs on another thread: it may still run when the future is polled again
// or released. So what `data` points to must live until `wake` or `drop` returns. Let each waker own a reference.
//
// This struct has no `size` because it is read with every poll. It will not grow.
typedef struct wasm_waker {
  // The host's own.
  void *data;
  // Schedules a poll. NULL for a host that polls anyway: then `drop` is called instead.
  void (*wake)(void *data);
  // Frees `data` without waking.
  void (*drop)(void *data);
} wasm_waker;

// What a poll found.
typedef enum wasm_poll WASM_ENGINE_ENUM_TYPE {
  // The operation completed successfully.
  WASM_POLL_READY = 0,
  // The operation waits: for a host's promise, a compile thread, the other users of a shared engine or the end of
  // the current operation of an engine that is being replaced. The waker is called when that has happened. Polling
  // earlier is allowed.
  WASM_POLL_PENDING = 1,
  // The guest's time slice has ended or one step of several has completed. Let other tasks run and poll again. The
  // waker is not called.
  WASM_POLL_YIELDED = 2,
} wasm_poll;

// Polls the operation: lets the guest run or asks for the result of a job.
//
// With `WASM_STATUS_OK` the call writes `state`. `WASM_POLL_READY`: the operation completed successfully. `…_PENDING`:
// the operation waits and its waker will be called. `…_YIELDED`: the guest used its time slice or there is another
// step (`wasm_poll`). With a status from 1 to 19 the call was wrong and the operation stays in progress as if the call
// had not been made. That includes `WASM_STATUS_SIGNALS_BLOCKED` and `WASM_STATUS_THREAD_NOT_PREPARED` on a thread
// that cannot run guests. Prepare the thread and poll again. With any other status the operation has failed and
// `error` has the details. An engine whose batch was refused is idle: its guest has seen nothing of it. Otherwise an
// engine is stopped and can be started again. `wasm_engine_get_state` tells which.
//
// The future must be released in every case, at once or later: a ready transform leaves its engine idle. A poll after
// it was ready or has failed returns `WASM_STATUS_INVALID_STATE`.
//
// `waker` may be NULL for a host that polls anyway. It is consumed in every case: see `wasm_waker`. The sink of a
// transform is called during this call. A future of an engine must be polled on the engine's thread.
wasm_status wasm_future_poll(wasm_future *future, const wasm_waker *waker, wasm_poll *state, wasm_error **error);

// Takes the factory from a future that is ready. The host releases both: the factory with `wasm_factory_release` and
// the future with `wasm_future_release`. `WASM_STATUS_NO_RESULT` if the factory was taken before or the future is of
// another kind. `WASM_STATUS_INVALID_STATE` if the future is not ready.
wasm_status wasm_future_take_factory(wasm_future *future, wasm_factory **factory, wasm_error **error);

// Takes the artifact from a ready future of `wasm_runtime_precompile`. Release the artifact with `wasm_bytes_release`.
// Errors are those of `wasm_future_take_factory`.
wasm_status wasm_future_take_artifact(wasm_future *future, wasm_bytes **artifact, wasm_error **error);

// Frees the future. Allowed in every state of its operation. NULL does nothing.
//
// An operation in progress is cancelled. A start or a transform ends with a stopped engine because its guest has seen
// part of a batch that is no longer valid. The engine can be started again. The same holds for a user of a shared
// engine, also before its turn. A replacement is dropped and the engine stays as it was. A compilation that has not
// begun is left out. One that has begun continues and its result is dropped or kept by the factory cache that was
// asked. It no longer counts as one of `compile_threads`: the next compilation begins at once on another thread,
// unless eight such compilations run already. With `compile_helper` it ends at once.
//
// `WASM_STATUS_WRONG_THREAD` if a future of an engine is released on another thread. `WASM_STATUS_BUSY` from one of
// the engine's own callbacks. Nothing is freed then.
wasm_status wasm_future_release(wasm_future *future, wasm_error **error);

// ---------------------------------------------------------------------------------------------------------------------
// Engine
//
// An engine is one running guest on one thread. A host makes it, starts it and gives it one batch after another.
// ---------------------------------------------------------------------------------------------------------------------

// Settings of an engine.
typedef struct wasm_engine_config {
  // `sizeof(wasm_engine_config)`.
  size_t size;
  // 1: a user of the one engine that the calling thread shares for this factory. The first user makes that engine
  // and the last one frees it. To its host each user is an engine of its own, stopped at first. The users share the
  // guest and its memory. Default 0.
  //
  // Starting a user starts the guest if no user has it running. Otherwise the start completes at once or with the
  // start in progress. Transforms queue in the order of their calls. The user at the front drives the guest with its
  // own polls. The futures of the others are pending until their turn. So a user holds the others up if it does not
  // poll its future or if its sink does not settle its promise. Releasing the future or the user lets the others
  // continue.
  //
  // A failure belongs to the user whose batch it was. So does a cancelled transform. That user is stopped. The next
  // user in the queue starts the guest again before its batch, as part of its own operation. If that start fails, so
  // does that operation. Stopping a user leaves the guest to the others. When the last started user stops, the guest
  // ends and its memory is freed.
  //
  // Each user has its own policy and statistics. Host functions and log lines see the engine and the user data of
  // the user that has the turn or had it last. `wasm_engine_get_memory_size` reports the guest's memory. The metrics
  // know one engine whose restarts and errors count once.
  uint32_t shared;
} wasm_engine_config;

// One output record.
typedef struct wasm_output_record {
  // Key, value and headers in the encoding of a Kafka record. `wasm_payload_read` parses them.
  const uint8_t *payload;
  // Bytes of the payload.
  uint32_t payload_size;
  // Index of the topic in the factory's `output_topics`.
  uint32_t topic;
  // Offset of the input record that the guest was working on when it wrote this record.
  int64_t input_offset;
  // Timestamp of that input record in milliseconds since 1970.
  int64_t input_timestamp;
  // Index of that input record in its batch, from 0. `UINT32_MAX` for what a guest writes before it takes a record:
  // such output belongs to no record, and a guest that is started again within the batch may write it again. What a
  // guest writes behind the last record belongs to that one.
  uint32_t input_index;
  // 0, 1, 2 … among the output records of that input record, also if they come in several blocks. So batch, index
  // and ordinal identify an output record. A dead letter comes behind what the sink has of its record.
  uint32_t ordinal;
} wasm_output_record;

// A key or a value: bytes or null.
typedef struct wasm_field {
  // The first byte. May be NULL when `size` is not positive.
  const uint8_t *data;
  // Number of bytes. −1 for null.
  int64_t size;
} wasm_field;

// A header of a record.
typedef struct wasm_header {
  // The header's key. Must not be null.
  wasm_field key;
  // The header's value.
  wasm_field value;
} wasm_header;

// A record's key, value and headers.
typedef struct wasm_payload {
  // The record's key.
  wasm_field key;
  // The record's value.
  wasm_field value;
  // The headers.
  const wasm_header *headers;
  // Number of headers.
  size_t header_count;
} wasm_payload;

// One output record taken apart.
typedef struct wasm_parsed_record {
  // Key, value and headers. They point into the payload of `record`.
  wasm_payload payload;
  // The record as the callback `records` would get it.
  wasm_output_record record;
} wasm_parsed_record;

// Receives the output of one `wasm_engine_transform`, `wasm_engine_transform_many` or `wasm_engine_transform_records`.
typedef struct wasm_output_sink {
  // `sizeof(wasm_output_sink)`.
  size_t size;
  // The host's own.
  void *data;
  // Frees `data`. Called exactly once for every sink that was passed to a transform, even if that call failed. On
  // the engine's thread. May be NULL.
  void (*drop)(void *data);
  // Takes a block of `count` records in the order in which the guest wrote them. `count` is at least 1. Returns a
  // `wasm_callback_result`. Of several batches it says with `wasm_call_output_batches` which record is whose.
  //
  // Called by `wasm_future_poll` on the engine's thread and on the host's own stack. The records and their
  // payloads are valid until the callback returns. If the callback takes the promise of `call` with
  // `wasm_call_promise` and returns pending, they stay valid until the
  // promise is settled or the operation ends early. The guest does not run during that time. An operation ends
  // early when its future is released or its engine is stopped or released. `drop` reports that end. A thread that
  // reads the records must have finished when `drop` returns.
  //
  // The callback must not throw. Functions that would change the state of the same engine return
  // `WASM_STATUS_BUSY`. So do polling and releasing a future of the engine.
  wasm_callback_result (*records)(void *data, const wasm_output_record *records, size_t count, wasm_call *call);
  // As `records` with each record taken apart. Default NULL. If there is this callback, it gets all output and
  // `records`, which then may be NULL, gets none. The array and the headers live as long as the payloads. They are
  // in memory that the library takes for the block: some 90 bytes for a record and 32 for a header. The thread keeps
  // up to 0.5 MiB of it for the next block. Many headers are taken apart in steps between which the poll may yield.
  // If the allocator refuses that memory, the operation fails with `WASM_STATUS_OUT_OF_MEMORY` as it does without
  // memory for the guest's output.
  wasm_callback_result (*parsed)(void *data, const wasm_parsed_record *records, size_t count, wasm_call *call);
} wasm_output_sink;

// A batch for the guest and the destination of its output.
typedef struct wasm_transform_args {
  // `sizeof(wasm_transform_args)`.
  size_t size;
  // A Kafka record batch with magic 2 as it is on the wire, compressed or not, and nothing after it. It is borrowed
  // and not copied. It must stay unchanged until the operation has completed: its future is ready, has failed or is
  // released, or the engine is stopped or released.
  wasm_slice batch;
  // Receives the guest's output in the order of its writes while the operation is polled. The struct is copied. The
  // sink is dropped when the operation completes or when the call fails.
  const wasm_output_sink *sink;
  // The index of the first record that the guest gets. Default 0. After a failure a host continues behind the failed
  // record with it or tries that record again. The engine must be started again before. The guest is told how many
  // records are left. Indices in errors still count from the batch's first record. Behind the batch's last record
  // there is nothing to continue with: that is `WASM_STATUS_INVALID_ARGUMENT`.
  uint32_t first_record;
} wasm_transform_args;

// What an engine is doing.
typedef enum wasm_engine_state WASM_ENGINE_ENUM_TYPE {
  // No guest: never started or stopped or failed. The engine can be started.
  WASM_ENGINE_STATE_STOPPED = 0,
  // A start is in progress.
  WASM_ENGINE_STATE_STARTING = 1,
  // The guest waits for a batch.
  WASM_ENGINE_STATE_IDLE = 2,
  // A transform is in progress.
  WASM_ENGINE_STATE_TRANSFORMING = 3,
} wasm_engine_state;

// Makes an engine that belongs to the calling thread. It is stopped. Cheap because nothing is instantiated yet.
// `config` may be NULL for the defaults. The engine keeps what it needs of the factory. Release it with
// `wasm_engine_release` on this thread.
//
// `WASM_STATUS_INVALID_STATE` for a shared engine if the thread is at its very end.
wasm_status wasm_engine_create(const wasm_factory *factory,
                               const wasm_engine_config *config,
                               wasm_engine **engine,
                               wasm_error **error);

// Hot swap: replaces the engine by one of another factory without a stop.
//
// Polls of `future` start the guest of `factory`. The old guest continues to take batches in the meantime. The engine
// switches as soon as the new guest has started and no operation is in progress: at once or at the end of the current
// operation. Then the old guest is stopped and freed and `future` is ready. If the new guest fails to start, `future`
// fails with the reason and the old guest stays. An engine that was stopped is started by the switch and its next
// `wasm_engine_start` completes at once. A start that waits under a policy completes with the start of the new guest.
// Its waker is called whatever the timer does.
//
// Releasing `future` early drops the new guest. So do stopping and releasing the engine. Then `future` fails with
// `WASM_STATUS_CANCELLED`. A user of a shared engine becomes a user of the new factory's shared engine. Policy,
// statistics and user data stay. Metrics continue under the new factory's name.
//
// Two guests exist during the replacement. A pool must have room for both, else `future` fails with
// `WASM_STATUS_POOL_EXHAUSTED`. `WASM_STATUS_INVALID_STATE` while another replacement is in progress. Other errors are
// those of `wasm_engine_start`.
wasm_status wasm_engine_replace(wasm_engine *engine,
                                const wasm_factory *factory,
                                wasm_future **future,
                                wasm_error **error);

// Starts the guest. The module is instantiated and runs until it waits for a batch.
//
// `future` becomes ready when the guest waits for a batch. It fails with a `WASM_STATUS_GUEST_…` if the guest ends. It
// fails with `WASM_STATUS_POOL_EXHAUSTED` if there is no memory or stack for the guest.
//
// Errors of the call itself: `WASM_STATUS_INVALID_STATE` if the engine is not stopped or the thread is at its very
// end, where thread-local data is gone already. `WASM_STATUS_THREAD_NOT_PREPARED` in memory mode
// `WASM_MEMORY_MODE_THREAD_POOL` on a thread without a pool.
wasm_status wasm_engine_start(wasm_engine *engine, wasm_future **future, wasm_error **error);

// Gives the guest one record batch.
//
// The whole batch is checked and decompressed before the guest sees anything of it. That is done by the polls, which
// yield as a guest does: no batch keeps the thread for longer than a time slice. `future` fails with a
// `WASM_STATUS_BATCH_…` if the batch is refused. It fails with `WASM_STATUS_OUT_OF_MEMORY` if the allocator refuses
// memory for it. In both cases nothing has reached the guest and the engine is idle as before.
//
// The output of an input record is delivered to the sink as a whole after the guest has finished that record: in one
// block, or in several if it has more than 1,638 records. Only output that exceeds `output_buffer_limit` is delivered
// in parts.
//
// `future` becomes ready when the guest asks for the next batch and the sink has all output. It fails with a
// `WASM_STATUS_GUEST_…` when the guest ends. The sink then has the output of all records before the one that the error
// names. It fails with `WASM_STATUS_OUTPUT_REJECTED` when the sink fails. In both cases the engine is stopped: start
// it again for the next batch or set a policy. The same holds for `WASM_STATUS_OUT_OF_MEMORY` when there is no memory
// for the guest's output.
//
// Errors of the call itself: `WASM_STATUS_INVALID_STATE` if the engine is not idle. `WASM_STATUS_INVALID_ARGUMENT` if
// the batch has no record `first_record`. With `WASM_STATUS_INVALID_STRUCT_SIZE` the sink is not dropped because
// `args` or the sink cannot be read.
wasm_status wasm_engine_transform(wasm_engine *engine,
                                  const wasm_transform_args *args,
                                  wasm_future **future,
                                  wasm_error **error);

// `wasm_engine_transform` and the first `wasm_future_poll` in one call. The transform of nearly every small batch
// completes at once. Such a batch needs no future and saves a tenth of its time.
//
// `state` gets the result of the poll. `future` gets NULL if that is ready. Otherwise it gets the future, which the
// host continues to poll. `waker` may be NULL. It is consumed as by `wasm_future_poll`, also when this call fails.
//
// Errors are those of both calls. After an error the operation has completed, there is no future and the sink has been
// dropped. One exception: errors that a later poll can still avoid are left to that poll.
// `WASM_STATUS_SIGNALS_BLOCKED` is one. The state is yielded then.
wasm_status wasm_engine_transform_and_poll(wasm_engine *engine,
                                           const wasm_transform_args *args,
                                           const wasm_waker *waker,
                                           wasm_poll *state,
                                           wasm_future **future,
                                           wasm_error **error);

// Stops the guest in any state and frees its memory and stack. A start or transform in progress fails with
// `WASM_STATUS_CANCELLED`. Stopping a stopped engine does nothing.
//
// `future` is ready at the first poll. It may be released unpolled.
wasm_status wasm_engine_stop(wasm_engine *engine, wasm_future **future, wasm_error **error);

// Attaches a pointer of the host to the engine. Host functions get it from `wasm_call_user_data`. The library never
// dereferences or frees it.
wasm_status wasm_engine_set_user_data(wasm_engine *engine, void *user_data, wasm_error **error);

// Writes what the engine is doing.
wasm_status wasm_engine_get_state(const wasm_engine *engine, wasm_engine_state *state, wasm_error **error);

// Writes the bytes of linear memory that the guest has. 0 if there is no guest.
wasm_status wasm_engine_get_memory_size(const wasm_engine *engine, uint64_t *bytes, wasm_error **error);

// Stops and frees the engine. Its futures may be released later. Polling them returns `WASM_STATUS_CANCELLED`. NULL
// does nothing.
//
// `WASM_STATUS_WRONG_THREAD` on another thread. `WASM_STATUS_BUSY` from one of the engine's own callbacks. Nothing is
// freed then.
wasm_status wasm_engine_release(wasm_engine *engine, wasm_error **error);

// ---------------------------------------------------------------------------------------------------------------------
// Transform many
//
// Several batches in one call. When more than one batch waits for an engine, this takes a fraction of the time of one
// `wasm_engine_transform` after the other: between two batches that are small the guest is not suspended.
// ---------------------------------------------------------------------------------------------------------------------

// Batches for the guest and the destination of their output.
typedef struct wasm_transform_many_args {
  // `sizeof(wasm_transform_many_args)`.
  size_t size;
  // The batches in the order in which the guest gets them. Each is as for `wasm_transform_args`: borrowed and
  // unchanged until the operation has completed. The array itself is copied and need only live during the call.
  const wasm_slice *batches;
  // Number of batches. At least 1.
  size_t batch_count;
  // Receives the output of all batches as for `wasm_transform_args`. `wasm_call_output_batches` tells it apart. The
  // sink is dropped once, after the last batch.
  const wasm_output_sink *sink;
  // The index of the first record of the first batch that the guest gets. Default 0. Of the other batches the guest
  // gets all records.
  uint32_t first_record;
} wasm_transform_many_args;

// Consecutive records of a block that belong to one batch.
typedef struct wasm_output_batch {
  // Index of the batch in the call. Counted from 0.
  uint32_t batch;
  // Number of records.
  uint32_t record_count;
} wasm_output_batch;

// Gives the guest several record batches, one after the other, as one operation.
//
// Each batch is transformed as by `wasm_engine_transform` of its own: checked as a whole before the guest sees it,
// announced to the guest by its own header, with time limits and a policy that count for its records. The operation is
// one: it has one future, one sink and one turn of a shared engine. A hot swap comes before or after it. Time slices
// are those of the polls: each yields when its slice has ended, however many batches that took.
//
// Output comes in the order of the batches. A block may have output of several. When a poll is ready or pending or has
// failed, the sink has been given all output of the batches that have completed. A poll that yields in the middle of a
// batch may leave some of it to a later one. Otherwise the first batch waits for the others of its time slice at most.
//
// The operation ends with the first failure. `batch_index` of `wasm_error_info` is the batch, and the message names
// it. The batches before it have completed and the sink has their output. Those behind it have not been begun. If the
// batch was refused, the engine is idle and the host continues behind it. If the guest failed, the engine is stopped.
// Then the host starts it and continues with that batch and `first_record`, or behind it. With a policy the record is
// skipped or becomes a dead letter, the guest starts again, and both the rest of its batch and the batches behind it
// follow. When the sink fails, `batch_index` is the first batch of the block that was not taken.
//
// Errors of the call itself are those of `wasm_engine_transform`. `WASM_STATUS_INVALID_ARGUMENT` also if there is no
// batch.
wasm_status wasm_engine_transform_many(wasm_engine *engine,
                                       const wasm_transform_many_args *args,
                                       wasm_future **future,
                                       wasm_error **error);

// `wasm_engine_transform_many` and the first `wasm_future_poll` in one call, as `wasm_engine_transform_and_poll`.
wasm_status wasm_engine_transform_many_and_poll(wasm_engine *engine,
                                                const wasm_transform_many_args *args,
                                                const wasm_waker *waker,
                                                wasm_poll *state,
                                                wasm_future **future,
                                                wasm_error **error);

// Writes where the records of a sink's block come from: `*count` runs of records at `*batches`, in the order of the
// block. Their `record_count` add up to the block's. They are valid as long as the block. A batch without output is in
// none. A block of `wasm_engine_transform` has one run, with batch 0.
//
// `WASM_STATUS_INVALID_ARGUMENT` if `call` is not that of an output sink.
wasm_status wasm_call_output_batches(const wasm_call *call,
                                     const wasm_output_batch **batches,
                                     size_t *count,
                                     wasm_error **error);

// ---------------------------------------------------------------------------------------------------------------------
// Transform records
//
// Records instead of a batch. For hosts that have records and no Kafka batch: proxies, MQTT brokers, clients of NATS
// and of Kafka. Nothing is packed, compressed or checked by a CRC. Everything else is as with `wasm_engine_transform`.
// ---------------------------------------------------------------------------------------------------------------------

// A record of a host that has no batch.
typedef struct wasm_record {
  // Key, value and headers.
  wasm_payload payload;
  // What the guest sees as the record's offset and what output and errors name it by. Any number in any order.
  int64_t offset;
  // Milliseconds since 1970. Any number in any order.
  int64_t timestamp;
  // The record's attributes. Kafka uses none.
  uint8_t attributes;
} wasm_record;

// Records for the guest and the destination of their output.
typedef struct wasm_transform_records_args {
  // `sizeof(wasm_transform_records_args)`.
  size_t size;
  // The records in the order in which the guest gets them. The array, the headers and the bytes of all fields are
  // borrowed. They must stay unchanged until the operation has completed, as the batch of `wasm_transform_args`.
  const wasm_record *records;
  // Number of records. At most 2,147,483,647. With 0 the guest gets a batch without records.
  size_t record_count;
  // Receives the output as for `wasm_transform_args`.
  const wasm_output_sink *sink;
  // The index of the first record that the guest gets. Default 0. As for `wasm_transform_args`. The records before
  // it are not looked at.
  uint32_t first_record;
} wasm_transform_records_args;

// Gives the guest records as if they were one batch.
//
// Polls encode the records before the guest sees any of them. That copies each record once into memory of the
// thread's, in steps between which the poll may yield. All records together may take `max_batch_size` bytes. Of a
// record that is key, value and headers with a byte or two for each length. An entry of 32 bytes for each of the first
// 130,816 records comes on top.
//
// A record's offset and timestamp are passed to the guest, to the output and to errors as they are. They need not be
// in an order and may be negative. The guest sees a batch header with these values: `base_offset` and `base_timestamp`
// are those of the first record of the array, `last_offset_delta` is the last record's offset less `base_offset` but
// at least 0 and at most 2,147,483,647, `max_timestamp` is the largest timestamp, `record_count` the number of
// records,
// `attributes` is 0, and −1 stands for leader epoch, producer and sequence.
//
// `future` fails with `WASM_STATUS_RECORD_INVALID` if a record has a field that is NULL with a size, a size below −1,
// a header whose key is null or headers that are NULL with a count. It fails with `WASM_STATUS_BATCH_TOO_LARGE` if the
// records take more than `max_batch_size`. The message has the record's index. As with a batch that is refused nothing
// has reached the guest and the engine is idle as before.
//
// Policies, restarts, hot swaps, shared and custom engines and metrics treat the records as a batch. A custom engine
// gets an empty `batch` and reads the records with `wasm_work_next`.
//
// Errors of the call itself are those of `wasm_engine_transform`.
wasm_status wasm_engine_transform_records(wasm_engine *engine,
                                          const wasm_transform_records_args *args,
                                          wasm_future **future,
                                          wasm_error **error);

// `wasm_engine_transform_records` and the first `wasm_future_poll` in one call, as `wasm_engine_transform_and_poll`.
wasm_status wasm_engine_transform_records_and_poll(wasm_engine *engine,
                                                   const wasm_transform_records_args *args,
                                                   const wasm_waker *waker,
                                                   wasm_poll *state,
                                                   wasm_future **future,
                                                   wasm_error **error);

// ---------------------------------------------------------------------------------------------------------------------
// Batch
//
// Record batches and record payloads in Kafka's encoding. Hosts that have batches already need only
// `wasm_payload_read`, which parses output records.
// ---------------------------------------------------------------------------------------------------------------------

// The fields of a batch header in wire order.
typedef struct wasm_batch_header {
  // Offset of the first record.
  int64_t base_offset;
  // Bytes of the whole batch including its header: the length field plus 12.
  uint64_t total_size;
  // Epoch of the partition's leader.
  int32_t partition_leader_epoch;
  // CRC-32C over all bytes after this field.
  uint32_t crc;
  // Bits 0–2 compression (0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd). Bit 3 append time. Bit 4 transactional. Bit 5
  // control.
  int16_t attributes;
  // Offset of the last record minus `base_offset`.
  int32_t last_offset_delta;
  // Milliseconds since 1970 of the first record.
  int64_t base_timestamp;
  // The largest timestamp in the batch. With append time: the timestamp of every record.
  int64_t max_timestamp;
  // Producer's id. −1 for none.
  int64_t producer_id;
  // Producer's epoch. −1 for none.
  int16_t producer_epoch;
  // Sequence number of the first record. −1 for none.
  int32_t base_sequence;
  // Number of records.
  int32_t record_count;
} wasm_batch_header;

// How the records of a batch are compressed. The numbers are Kafka's.
typedef enum wasm_compression WASM_ENGINE_ENUM_TYPE {
  // Not at all.
  WASM_COMPRESSION_NONE = 0,
  // gzip (RFC 1952).
  WASM_COMPRESSION_GZIP = 1,
  // Snappy in the framing of xerial's Java library. Raw blocks are read too.
  WASM_COMPRESSION_SNAPPY = 2,
  // LZ4 frames.
  WASM_COMPRESSION_LZ4 = 3,
  // Zstandard frames.
  WASM_COMPRESSION_ZSTD = 4,
} wasm_compression;

// Settings of a batch. Zero in any field but `size` means the default.
typedef struct wasm_batch_config {
  // `sizeof(wasm_batch_config)`.
  size_t size;
  // Offset of the batch. Not negative. Default 0.
  int64_t base_offset;
  // Default none.
  wasm_compression compression;
  // 1: all records have the time `append_timestamp` instead of their own. Default 0.
  uint32_t append_time;
  // The broker's time in milliseconds since 1970. Used with `append_time`.
  int64_t append_timestamp;
  // Bytes that the batch may have, its header of 61 bytes included, such as a topic's `max.message.bytes`. A record
  // that does not fit in any more is refused with `WASM_STATUS_BATCH_FULL`. A record with which a batch of its own
  // would be too large is refused with `WASM_STATUS_BATCH_TOO_LARGE`. Counted before compression. A batch that
  // compression would make larger than this is not compressed. Default 0: 2,147,483,647.
  uint64_t max_bytes;
  // Records that the batch may have. Another one is refused with `WASM_STATUS_BATCH_FULL`. Default 0: no limit.
  uint32_t max_records;
} wasm_batch_config;

// Reads the header at the front of `bytes`. More batches may follow at `total_size`. Checks that the whole batch is
// there. Checks neither its CRC nor its records. Any thread.
//
// `WASM_STATUS_BATCH_TRUNCATED`, `…_MAGIC` or `…_MALFORMED` if there is no such batch.
wasm_status wasm_batch_read_header(wasm_slice bytes, wasm_batch_header *header, wasm_error **error);

// Parses a payload. The fields of `payload` point into `bytes`. Headers are written to `headers`, which has room for
// `header_capacity` of them. `payload->headers` is that array. `payload->header_count` is the number of headers in the
// payload. If that exceeds the capacity, do not use `payload` and call again with more room. `headers` may be NULL if
// the capacity is 0. Any thread.
//
// `WASM_STATUS_BATCH_MALFORMED` if the bytes are not key, value and headers and nothing else.
wasm_status wasm_payload_read(wasm_slice bytes,
                              wasm_payload *payload,
                              wasm_header *headers,
                              size_t header_capacity,
                              wasm_error **error);

// Makes a builder with no records. `config` may be NULL for the defaults. Release the builder with
// `wasm_batch_builder_release`. Any thread.
wasm_status wasm_batch_builder_create(const wasm_batch_config *config,
                                      wasm_batch_builder **builder,
                                      wasm_error **error);

// Drops the records and begins another batch. Memory is kept. Ends the view that `wasm_batch_builder_finish` gave.
wasm_status wasm_batch_builder_reset(wasm_batch_builder *builder, const wasm_batch_config *config, wasm_error **error);

// Adds a record. `offset` is its Kafka offset: at least one more than the last record's. −1 is the next one, or
// `base_offset` for the first record.
// `timestamp` is in milliseconds since 1970. `payload` is copied.
//
// After an error the builder is as before. `WASM_STATUS_BATCH_FULL` if the batch would exceed a limit of its config:
// finish it, reset the builder and add the record again. `WASM_STATUS_BATCH_TOO_LARGE` if no batch can have the
// record.
wasm_status wasm_batch_builder_add(wasm_batch_builder *builder,
                                   int64_t offset,
                                   int64_t timestamp,
                                   const wasm_payload *payload,
                                   wasm_error **error);

// As `wasm_batch_builder_add` for a payload that is encoded already. For example one from a transform.
wasm_status wasm_batch_builder_add_encoded(wasm_batch_builder *builder,
                                           int64_t offset,
                                           int64_t timestamp,
                                           wasm_slice payload,
                                           wasm_error **error);

// Writes what the batch would have if it were finished now: bytes before compression, its header of 61 bytes included,
// and records. `record_count` may be NULL.
wasm_status wasm_batch_builder_size(const wasm_batch_builder *builder,
                                    uint64_t *bytes,
                                    uint32_t *record_count,
                                    wasm_error **error);

// Packs the added records into a batch. `batch` gets a view that ends when the builder is next used or released. So a
// builder whose batch is being transformed must not be used until that has completed. More records may be added
// afterwards. A batch may have no records.
wasm_status wasm_batch_builder_finish(wasm_batch_builder *builder, wasm_slice *batch, wasm_error **error);

// Frees the builder. NULL does nothing.
void wasm_batch_builder_release(wasm_batch_builder *builder);

// ---------------------------------------------------------------------------------------------------------------------
// Task
//
// Tasks: the library polls futures on an event loop that the host lends. The host then needs no polling and no wakers
// of its own.
// ---------------------------------------------------------------------------------------------------------------------

// An event loop of the host that runs tasks.
typedef struct wasm_executor {
  // `sizeof(wasm_executor)`.
  size_t size;
  // The host's own.
  void *data;
  // Frees `data`. Called once when the task has ended or when spawning fails: on the thread that runs, releases or
  // aborts the task, after the completion's `drop` and never while `schedule` runs. May be NULL.
  void (*drop)(void *data);
  // Takes ownership of a task. Must have `wasm_task_run` called with it once, later, on the future's thread. Called
  // on any thread: the one that spawns or runs the task, the one that settles or releases a promise or the one that
  // stops or releases the engine, which is busy then. Must not throw and must not run the task itself. May release
  // the task with `wasm_task_release` because the loop is gone: `drop` is called when this has returned. The end of
  // a task waits until this has returned on every other thread. So do not run or abort a task with a lock that it
  // takes.
  void (*schedule)(void *data, wasm_task *task);
} wasm_executor;

// What is called when a task has completed.
typedef struct wasm_completion {
  // `sizeof(wasm_completion)`.
  size_t size;
  // The host's own.
  void *data;
  // Frees `data`. Called once after `complete` or instead of it or when spawning fails: on the thread that runs,
  // releases or aborts the task. May be NULL. Running, releasing or aborting a task that another thread aborts waits
  // for this call. So do not do that with a lock that it takes.
  void (*drop)(void *data);
  // Called at most once by `wasm_task_run` when no `schedule` of the task runs any more. Receives the operation's
  // status. Receives its error, owned, or NULL with `WASM_STATUS_OK`. Receives the future, owned, for
  // `wasm_future_take_factory`. The host releases it then or later. With a status below 20 other than
  // `WASM_STATUS_OK` the operation has not completed: see `wasm_task_run`. Must not throw.
  void (*complete)(void *data, wasm_status status, wasm_error *error, wasm_future *future);
} wasm_completion;

// Has `executor` poll the future until the operation completes and then calls `completion`. With `WASM_STATUS_OK`
// takes the future over. Takes `executor` and `completion` over in any case. To be called on any thread that may use
// the future.
//
// To cancel, stop or release the engine. The task then completes with `WASM_STATUS_CANCELLED`. A compilation has no
// engine: use `wasm_future_spawn_abortable`.
wasm_status wasm_future_spawn(wasm_future *future,
                              const wasm_executor *executor,
                              const wasm_completion *completion,
                              wasm_error **error);

// As `wasm_future_spawn` and returns a handle by which the task can be aborted. Release it with
// `wasm_task_handle_release`. On another thread the task may have completed before this returns.
wasm_status wasm_future_spawn_abortable(wasm_future *future,
                                        const wasm_executor *executor,
                                        const wasm_completion *completion,
                                        wasm_task_handle **handle,
                                        wasm_error **error);

// Polls the task's future once. Then the task completes or it is scheduled again or it waits for its waker. Takes the
// task over with `WASM_STATUS_OK`. With `WASM_STATUS_WRONG_THREAD`, `…_INVALID_STATE` or `…_BUSY` nothing happens and
// the task must still be run. `…_BUSY` means that the call comes from one of the callbacks of the task's own engine.
// A task that was aborted is not polled.
//
// On a thread that cannot run guests the task completes with `WASM_STATUS_SIGNALS_BLOCKED` or
// `WASM_STATUS_THREAD_NOT_PREPARED` although its operation has not completed. The future can be spawned again or
// released.
wasm_status wasm_task_run(wasm_task *task, wasm_error **error);

// Releases a scheduled task without running it because the loop ends. The operation is cancelled and `complete` is not
// called. To be called on the future's thread or, for a compilation, on any thread. Also from within the task's own
// `schedule`. On another thread `WASM_STATUS_WRONG_THREAD`. `…_INVALID_STATE` if the task is not scheduled. `…_BUSY`
// from one of the callbacks of its engine. Nothing happens in these cases. NULL does nothing.
wasm_status wasm_task_release(wasm_task *task, wasm_error **error);

// Aborts a task because nobody wants its result or its loop goes. The operation is cancelled as by
// `wasm_future_release` and `complete` is not called. After this has returned the library does not call the task's
// executor: a `schedule` that another thread is in has returned. Only `drop` of the executor may still be called.
//
// `completion.drop` and `executor.drop` are called before this returns, with two exceptions. If the executor has the
// task, it must still run or release it. That does nothing but call `executor.drop`. If the task is being run, further
// down the stack or on another thread, the operation is cancelled and both are called at the end of that run. All that
// is called may release the handle.
//
// To be called on the future's thread or, for a compilation, on any thread. `WASM_STATUS_INVALID_STATE` if the task
// has completed or was aborted before. Its completion may be further down the stack but is not on another thread.
// `…_WRONG_THREAD` on a thread to which the engine does not belong. `…_BUSY` from the task's own `schedule` or, if the
// task is not being run, from a callback of its engine. The task goes on in these two cases.
wasm_status wasm_task_handle_abort(wasm_task_handle *handle, wasm_error **error);

// Frees the handle. The task goes on. Allowed on any thread and at any time but not while another thread is in
// `wasm_task_handle_abort` with it. NULL does nothing.
void wasm_task_handle_release(wasm_task_handle *handle);

// ---------------------------------------------------------------------------------------------------------------------
// Promise
//
// A promise lets a callback return before its work is done. The callback takes it from its `wasm_call`, returns
// `WASM_CALLBACK_RESULT_PENDING` and settles it later on any thread.
// ---------------------------------------------------------------------------------------------------------------------

// The rest of a host function after its promise was settled. It runs on the engine's thread and may use the guest's
// memory.
typedef struct wasm_continuation {
  // `sizeof(wasm_continuation)`.
  size_t size;
  // The host's own.
  void *data;
  // Frees `data`. Called exactly once on any thread, whether `run` was called or not. May be NULL.
  void (*drop)(void *data);
  // Finishes the host function. It may use the guest's memory through `call`. It writes `results` and returns a
  // `wasm_callback_result`: done or failed or pending with a new promise. Called at most once. Must not throw.
  wasm_callback_result (*run)(void *data, wasm_call *call, wasm_value *results);
} wasm_continuation;

// Resolves a promise that expects no value. Wakes the future that waits for it.
//
// On any thread but by one thread at a time. Each promise is settled once and then released.
// `WASM_STATUS_PROMISE_SETTLED` if it was settled before. `WASM_STATUS_INVALID_ARGUMENT` if it expects something else.
// It is not settled then. If the engine has been stopped or released, nothing happens and the status is OK.
wasm_status wasm_promise_resolve(wasm_promise *promise, wasm_error **error);

// Resolves the promise of a host function with its results: as many and of such types as its signature has. Also
// resolves that of a schema registry's `create_schema` with one I32: the id. Otherwise as `wasm_promise_resolve`.
wasm_status wasm_promise_resolve_values(wasm_promise *promise,
                                        const wasm_value *values,
                                        size_t count,
                                        wasm_error **error);

// Resolves the promise of a host function with code that runs later on the engine's thread, where it can use the
// guest's memory. `continuation` is copied. Its `data` is taken over in any case. Otherwise as `wasm_promise_resolve`.
wasm_status wasm_promise_resolve_with(wasm_promise *promise, const wasm_continuation *continuation, wasm_error **error);

// Rejects the promise. `reason` becomes the text of the error. Its first 8 KiB are kept. Bytes of it that are not
// UTF-8 are written as `\xNN`. Otherwise as `wasm_promise_resolve`.
wasm_status wasm_promise_reject(wasm_promise *promise, wasm_slice reason, wasm_error **error);

// Frees the promise. A promise that was not settled counts as rejected. Any thread. NULL does nothing.
void wasm_promise_release(wasm_promise *promise);

// ---------------------------------------------------------------------------------------------------------------------
// Host function
//
// Host functions are functions of the host that guests import and call. Register them on the runtime before it sees
// its first module, or give them to a factory.
// ---------------------------------------------------------------------------------------------------------------------

// Registers a function of the host that guests may import. `function` is copied. Its `data` is taken over in any case.
// Any thread.
//
// To be called before the runtime's first `wasm_runtime_validate`, `…_inspect` or `wasm_factory_create`. Afterwards
// `WASM_STATUS_INVALID_STATE`. `WASM_STATUS_INVALID_ARGUMENT` for a name that is taken, a module of the library or an
// invalid type. A guest that imports the function with another type is refused with
// `WASM_STATUS_MODULE_IMPORT_SIGNATURE`.
wasm_status wasm_runtime_register_function(const wasm_runtime *runtime,
                                           const wasm_host_function *function,
                                           wasm_error **error);

// Takes the promise of the current call. The callback returns `WASM_CALLBACK_RESULT_PENDING` then. Settle the promise
// exactly once on any thread and release it. To be called once in a callback: a second promise takes the place of the
// first one, which then has no effect.
wasm_status wasm_call_promise(wasm_call *call, wasm_promise **promise, wasm_error **error);

// Lends a range of the guest's memory for reading and writing until the callback returns. `bytes` gets its first byte.
//
// `WASM_STATUS_GUEST_BAD_CALL` if the range is not inside the memory: the guest passed a wrong pointer. A callback
// that then returns failed needs no `wasm_call_fail`. In an output sink and in a schema registry's functions there is
// no memory to lend.
wasm_status wasm_call_memory(wasm_call *call, uint32_t address, uint32_t size, uint8_t **bytes, wasm_error **error);

// Sets the reason before the callback returns `WASM_CALLBACK_RESULT_FAILED`. The last reason counts. Its first 8 KiB
// are kept. Bytes that are not UTF-8 are written as `\xNN`.
wasm_status wasm_call_fail(wasm_call *call, wasm_slice reason, wasm_error **error);

// The engine whose guest is calling. Borrowed. NULL in an output sink.
wasm_engine *wasm_call_engine(const wasm_call *call);

// What `wasm_engine_set_user_data` attached to that engine. NULL in an output sink.
void *wasm_call_user_data(const wasm_call *call);

// ---------------------------------------------------------------------------------------------------------------------
// Policy
//
// A policy lets an engine survive failures of its guest. It decides which records may be lost and when the guest
// starts again. Without one a failed engine is stopped and the rest is up to the host.
// ---------------------------------------------------------------------------------------------------------------------

// What happens when the guest ends at a record. It may trap, exit, exceed its time, hit a limit or make a bad call.
typedef enum wasm_on_error WASM_ENGINE_ENUM_TYPE {
  // The transform fails and the engine is stopped. The error has the record's index and offset. The sink has the
  // output of all records before that one. The host may continue from any record with `first_record` of
  // `wasm_transform_args`.
  WASM_ON_ERROR_FAIL = 0,
  // The record is dropped and counted. The guest is started again and continues with the next record of the batch.
  WASM_ON_ERROR_SKIP = 1,
  // As `WASM_ON_ERROR_SKIP`, but first the sink gets the input record in a block of its own. It is an output record
  // whose topic is the number of the factory's output topics. Headers follow the record's own.
  // `wasm-transform`: the transform's name. `wasm-offset`: the offset in decimal. `wasm-error`: the name of the
  // status. `wasm-error-message`: the message with at most 1,024 characters. `wasm-stderr`: what the guest wrote to
  // standard error last at that record, as in `wasm_error_info`. Absent if nothing. The record is counted after the
  // sink has taken it. If the sink fails, the transform fails.
  WASM_ON_ERROR_DEAD_LETTER = 2,
} wasm_on_error;

// The host's clock and timer for the delay before a guest is restarted. No thread of the library waits.
typedef struct wasm_timer {
  // `sizeof(wasm_timer)`.
  size_t size;
  // The host's own.
  void *data;
  // Frees `data`. Called once: when the engine is released, when another policy is set or when
  // `wasm_engine_set_policy` fails. May be NULL.
  void (*drop)(void *data);
  // Nanoseconds of a clock that never goes back.
  uint64_t (*now)(void *data);
  // Starts a delay. Takes the call's promise, returns `WASM_CALLBACK_RESULT_PENDING` and resolves the promise
  // after `nanoseconds`. If the promise is never resolved, the engine never restarts by itself. If the promise is
  // rejected or dropped, the operation fails. So it does if the result is neither pending nor done. Done means that
  // the delay has passed.
  //
  // An engine has at most one delay in progress. A delay is not called off: a host may resolve its promise at any
  // time, which has no effect if the engine no longer waits. Under a timer a start whose guest always fails is tried
  // again forever. A host that wants to give up stops the engine or releases the future.
  wasm_callback_result (*sleep)(void *data, uint64_t nanoseconds, wasm_call *call);
} wasm_timer;

// What an engine does when its guest fails. Zero in any field but `size` means the default.
//
// These are the delivery guarantees for at-least-once hosts. Output is delivered once and in the order of the input
// records. The output of a record is delivered as a whole or not at all unless it exceeds `output_buffer_limit`. A
// transform is *ready*: for each record either the sink took the output, or the record was dropped and counted, or the
// sink took it as a dead letter. A transform *failed* at a record that its error names (`has_record` of
// `wasm_error_info`): the same holds for all records before that one. The sink has nothing of that record or of later
// ones. A transform failed without naming a record, or it was cancelled: the same holds for the records before the one
// that `wasm_engine_get_progress` names. This happens if the sink fails, if the guest ends between two records or if
// it does not start again. A guest that is started again has lost its state.
//
// Thresholds make the policy a *circuit breaker*. Before the policy loses more records, or starts the guest again more
// often, than a threshold allows, it stops: the operation fails with `WASM_STATUS_POLICY_THRESHOLD` and the circuit is
// *open*. The record at which the guest failed is not lost and the sink has nothing of it. All before it is delivered,
// dropped and counted, or taken as dead letters. So progress is exact: the host continues from that record, or behind
// it if the record may be lost. The next `wasm_engine_start` waits until `open_ns` have passed, if there is a timer,
// and makes the circuit *half-open*. Then the first failure after which the policy would continue opens it again.
// `half_open_records` records without one *close* it, and what happened before does not count any more. So it is after
// a hot swap and with a new policy. Stopping and starting an engine changes nothing while its circuit is closed.
typedef struct wasm_engine_policy {
  // `sizeof(wasm_engine_policy)`.
  size_t size;
  // What happens when the guest ends at a record.
  //
  // Applies only to failures of the guest itself: `WASM_STATUS_GUEST_…` and `WASM_STATUS_CUSTOM_ENGINE_FAILED`.
  // Failures of the host always fail the transform because another record would fail too:
  // `WASM_STATUS_HOST_FUNCTION_FAILED`, `WASM_STATUS_OUTPUT_REJECTED`, `WASM_STATUS_SYSTEM`, … A guest that ends
  // without having taken a record also fails the transform. A guest that ends between two records is started again
  // and no record is lost.
  wasm_on_error on_error;
  // Nanoseconds from a failure to the next start. The delay doubles with each consecutive failure up to
  // `backoff_max_ns`. The actual delay is random: between half of that and all of it. Default 1 s.
  uint64_t backoff_min_ns;
  // The longest delay. Default 30 s.
  uint64_t backoff_max_ns;
  // A guest that ran for this time between its last start and its failure resets the failure streak. Default 10 s.
  uint64_t healthy_after_ns;
  // The host's timer for the delay. With it a start that fails is tried again until it succeeds or the engine is
  // stopped. Its future stays pending in the meantime and `wasm_engine_get_last_error` returns the reason. A
  // `wasm_engine_start` after a failed transform waits first. A guest that is started again within a batch behind a
  // lost record does not wait unless that start fails. NULL: no start is tried again and none waits. The table is
  // copied.
  const wasm_timer *timer;
  // Records that may be lost, skipped or as dead letters, of any `lost_window` consecutive records since the circuit
  // was last closed. Records of all batches count in the order in which this engine's guests took them, also over
  // several batches in one call. Those that a cancelled transform took since its last loss do not. At most 65,535
  // and less than `lost_window`. 0: the policy stops before the first loss.
  uint32_t lost_max;
  // 0: any number of records may be lost. `WASM_STATUS_INVALID_ARGUMENT` with `WASM_ON_ERROR_FAIL`: it loses none.
  uint32_t lost_window;
  // Restarts by the policy that may come in `restart_window_ns`: behind a lost record, between two records and after
  // a start that failed. Starts by the host do not count. At most 65,535.
  uint32_t restart_max;
  // Records that close a half-open circuit. Default 100.
  uint32_t half_open_records;
  // Nanoseconds by `now` of the timer. 0: any number of restarts. `WASM_STATUS_INVALID_ARGUMENT` without a timer.
  uint64_t restart_window_ns;
  // Nanoseconds for which the circuit stays open. Default 60 s. Without a timer the host decides when it starts the
  // engine again and any other value than 0 is `WASM_STATUS_INVALID_ARGUMENT`.
  uint64_t open_ns;
} wasm_engine_policy;

// The state of a policy's circuit breaker.
typedef enum wasm_circuit WASM_ENGINE_ENUM_TYPE {
  // The policy continues after failures. Always without a threshold.
  WASM_CIRCUIT_CLOSED = 0,
  // A threshold was reached. The engine was stopped and has not been started again.
  WASM_CIRCUIT_OPEN = 1,
  // The engine was started again. The next failure opens the circuit and enough records without one close it.
  WASM_CIRCUIT_HALF_OPEN = 2,
} wasm_circuit;

// Statistics of an engine since it was made.
typedef struct wasm_engine_stats {
  // `sizeof(wasm_engine_stats)`, set by the caller.
  size_t size;
  // Starts after the first one. Those that failed count too.
  uint64_t restarts;
  // Records that `WASM_ON_ERROR_SKIP` dropped.
  uint64_t skipped;
  // Records that the sink took as dead letters.
  uint64_t dead_lettered;
  // Consecutive failures as far as they delay starts. 0 without a timer.
  uint64_t failures;
  // How often a threshold of the policy stopped the engine.
  uint64_t stops;
  // The state of the policy's circuit breaker.
  wasm_circuit circuit;
} wasm_engine_stats;

// Sets what the engine does from now on when its guest fails. Without a policy every failure is up to the host.
//
// The memory of thresholds is taken here: 8 bytes for each of `lost_max` and `restart_max`. Nothing is done for a
// record that is not lost.
//
// `WASM_STATUS_INVALID_STATE` if the engine is not stopped. The timer's `data` is taken over in any case except
// `WASM_STATUS_INVALID_STRUCT_SIZE`, where it cannot be read. `now` and `sleep` are called on the engine's thread
// during polls. They must not throw. Functions that would change the state of the same engine return
// `WASM_STATUS_BUSY` there. So do polling and releasing a future of the engine.
wasm_status wasm_engine_set_policy(wasm_engine *engine, const wasm_engine_policy *policy, wasm_error **error);

// Writes the engine's statistics. The caller has set `stats->size`.
wasm_status wasm_engine_get_stats(const wasm_engine *engine, wasm_engine_stats *stats, wasm_error **error);

// Writes why a start or a transform last failed under a policy. Also if the host was not told because the policy
// continued. The error is owned by the host. NULL if nothing has failed under a policy yet.
wasm_status wasm_engine_get_last_error(const wasm_engine *engine, wasm_error **last, wasm_error **error);

// ---------------------------------------------------------------------------------------------------------------------
// Progress
//
// How far a transform has come: what a host checkpoints.
// ---------------------------------------------------------------------------------------------------------------------

// How far the last transform of an engine has come: the first input record whose output the sink does not have whole.
//
// For each record before that one the sink has accepted all output, or there was none, or a policy dropped the record,
// or the sink has accepted the record as a dead letter. A block counts when its callback has returned done, or when a
// poll has seen that its promise was resolved. Of the record itself and of those behind it the sink has nothing. One
// exception: of a record whose output exceeds `output_buffer_limit` it may have a part. Another one: a guest that
// writes before it takes a record or behind the last one.
//
// A host that stores this with the output that it has accepted loses no record and repeats none: it goes on with
// `wasm_engine_transform_many` or `wasm_engine_transform` for batch `batch`, with `first_record` `record`, and the
// batches behind it. Or it goes on reading at `next_offset`.
typedef struct wasm_engine_progress {
  // `sizeof(wasm_engine_progress)`, set by the caller.
  size_t size;
  // Index of the record's batch in the call. The number of batches when all have completed.
  uint32_t batch;
  // Index of the record in that batch. If it is the number of the batch's records, all of them are whole, but the
  // guest has not asked for the next batch: go on with that one. Only what a guest writes behind its last record may
  // be missing.
  uint32_t record;
  // The offset from which the input is to be read again: that of the record, or the one behind the last batch that
  // has completed. It also passes offsets that compaction has left without a record.
  int64_t next_offset;
  // 1: `next_offset` is known. 0: the first batch is not checked yet or was refused, or there was no transform.
  uint32_t has_offset;
} wasm_engine_progress;

// Writes how far the last transform of the engine has come. All fields are 0 before the first one. The caller has set
// `progress->size`.
//
// Any time on the engine's thread: while the transform is pending or yields, in callbacks of the engine, after it is
// ready, failed or cancelled, and while the engine is stopped. In the sink's callback its block does not count yet.
// The numbers never go back during a transform.
wasm_status wasm_engine_get_progress(const wasm_engine *engine, wasm_engine_progress *progress, wasm_error **error);

// ---------------------------------------------------------------------------------------------------------------------
// Custom engine
//
// Custom engines run the host's own callbacks instead of a guest: native transforms, remote ones or dummies for tests.
// ---------------------------------------------------------------------------------------------------------------------

// An input record as a custom engine sees it.
typedef struct wasm_input_record {
  // Key, value and headers in the encoding of a Kafka record. `wasm_payload_read` parses them. Can be read until the
  // operation's last callback result or `stop`. NULL when there is no record left.
  const uint8_t *payload;
  // Bytes of the payload.
  uint32_t payload_size;
  // Index in the batch. Counted from 0.
  uint32_t index;
  // Kafka offset.
  int64_t offset;
  // Milliseconds since 1970.
  int64_t timestamp;
} wasm_input_record;

// A custom engine: remote, in native code or a dummy for tests.
//
// `start` and `transform` are steps. `wasm_future_poll` calls them and each returns a `wasm_callback_result`: done,
// failed, again or pending with a promise from its call. When that promise is resolved on any thread, the same step is
// called again with the same arguments until it returns done or failed. A rejected promise fails the step. Failures
// have the status `WASM_STATUS_CUSTOM_ENGINE_FAILED` and stop the engine. Policies treat them as a guest's. One that
// is nobody's fault has `WASM_STATUS_CUSTOM_ENGINE_LOST`: see `wasm_call_lose_engine`.
//
// All callbacks but `drop` are called on the engine's thread. They must not throw or block because no time limit
// applies to them. Functions that would change the state of the same engine return `WASM_STATUS_BUSY` there. Their
// calls have the engine and its user data (`wasm_call_engine`, `wasm_call_user_data`; not in `create`) but no guest
// memory.
typedef struct wasm_custom_engine {
  // `sizeof(wasm_custom_engine)`.
  size_t size;
  // The host's own. Shared by all engines of the factory, whose threads may use it at once.
  void *data;
  // Frees `data`. Called once: when the factory, its last engine and that engine's futures are gone, on the thread
  // that releases the last of them. Or when `wasm_factory_create_custom` fails. May be NULL.
  void (*drop)(void *data);
  // Makes an engine. Writes the engine's own data to `engine_data`, which is NULL before. Must return done or failed
  // at once. Called by `wasm_engine_create`. If the result is not done, data that was written is never freed. NULL:
  // the other callbacks get `data` and `release` is not called.
  wasm_callback_result (*create)(void *data, void **engine_data, wasm_call *call);
  // Starts the engine. NULL: the engine is started at once.
  wasm_callback_result (*start)(void *engine_data, wasm_call *call);
  // Transforms the records of `batch` from the one with index `first_record` on. Must not be NULL.
  //
  // `batch` is the checked batch of `wasm_engine_transform`. It can be read until the last callback result or
  // `stop`. `work` returns the records one by one and decompressed. It also takes the output. It is valid until the
  // callback returns. Output and a failure belong to the record that was taken last unless `wasm_call_fail_record`
  // names another.
  wasm_callback_result (*transform)(void *engine_data,
                                    wasm_slice batch,
                                    uint32_t first_record,
                                    wasm_work *work,
                                    wasm_call *call);
  // Stops an engine whose `start` was called or would have been. Called in any state and also after a failure. When
  // it returns, the batch must not be accessed any more. Promises may still be settled without effect. May be NULL.
  void (*stop)(void *engine_data);
  // Frees what `create` made. Called once on the stopped engine when it is released. May be NULL.
  void (*release)(void *engine_data);
  // Bytes of memory that the engine has now. For `wasm_engine_get_memory_size` and the metrics. Called after each
  // step. NULL: 0.
  uint64_t (*memory_size)(void *engine_data);
} wasm_custom_engine;

// Makes a factory of engines that run the callbacks of `engine` instead of a guest. Any thread.
//
// `config` is as for `wasm_factory_create`, but its environment is not used. Of the limits `output_buffer_limit` and
// those of the log hold. `memory_limit` is what metrics tell. It has no module, no other limits, no rights and no host
// functions: these are `WASM_STATUS_INVALID_ARGUMENT`. `engine` is copied.
// Its `data` is taken over in any case except `WASM_STATUS_INVALID_STRUCT_SIZE`, where it cannot be read.
// `WASM_STATUS_NULL_ARGUMENT` if `transform` is NULL. `WASM_STATUS_INVALID_ARGUMENT` and `WASM_STATUS_INVALID_UTF8`
// for a module, names and topics.
wasm_status wasm_factory_create_custom(const wasm_runtime *runtime,
                                       const wasm_factory_config *config,
                                       const wasm_custom_engine *engine,
                                       wasm_factory **factory,
                                       wasm_error **error);

// Takes the next record of the batch. The first one has index `first_record`. The previous record counts as finished:
// its output may go to the host and no failure names it any more. After the last record `record->payload` is NULL.
wasm_status wasm_work_next(wasm_work *work, wasm_input_record *record, wasm_error **error);

// Writes one output record for the input record that was taken last. `topic` is an index into the factory's output
// topics. `payload` is key, value and headers in the encoding of a Kafka record. It is copied.
//
// The output of an input record goes to the host's sink as a whole when the next record is taken or the batch is done.
// `WASM_STATUS_OUTPUT_FULL` if the earlier output must go to the host first. Nothing is written then. Return
// `WASM_CALLBACK_RESULT_AGAIN` and write the record in the next call. `WASM_STATUS_BATCH_MALFORMED` if `payload` is no
// payload. `WASM_STATUS_INVALID_ARGUMENT` for an unknown topic and for a record larger than `output_buffer_limit`.
wasm_status wasm_work_write(wasm_work *work, wasm_slice payload, uint32_t topic, wasm_error **error);

// As `wasm_call_fail` in a custom engine's `transform`, which fails at the record with index `index`. That is the
// record that was taken last or a later one. Those before it are finished. Policies continue behind it.
// `WASM_STATUS_INVALID_ARGUMENT` in callbacks that are not a custom engine's. In `create` and `start` of a custom
// engine there is no record and the index is ignored.
wasm_status wasm_call_fail_record(wasm_call *call, uint32_t index, wasm_slice reason, wasm_error **error);

// As `wasm_call_fail_record` in a custom engine that lost what it runs on, such as its connection to another computer.
// The operation fails with `WASM_STATUS_CUSTOM_ENGINE_LOST` under every policy and no record is skipped. The error
// names the record with index `index`: the host starts the engine again and continues from that record. Records before
// it are finished. Output of the record itself is not delivered. In `start` a policy with a timer tries again.
wasm_status wasm_call_lose_engine(wasm_call *call, uint32_t index, wasm_slice reason, wasm_error **error);

// Rejects the promise of a custom engine's `transform` at the record with index `index` as `wasm_call_fail_record`.
// Otherwise as `wasm_promise_reject`.
wasm_status wasm_promise_reject_record(wasm_promise *promise, uint32_t index, wasm_slice reason, wasm_error **error);

// ---------------------------------------------------------------------------------------------------------------------
// Schema registry
//
// A schema registry for guests that ask for schemas. A host without one leaves this out: its guests get an error of
// the registry.
// ---------------------------------------------------------------------------------------------------------------------

// The language of a schema. The numbers are those of the guest ABI.
typedef enum wasm_schema_type WASM_ENGINE_ENUM_TYPE {
  // Apache Avro.
  WASM_SCHEMA_TYPE_AVRO = 0,
  // Protocol Buffers.
  WASM_SCHEMA_TYPE_PROTOBUF = 1,
  // JSON Schema.
  WASM_SCHEMA_TYPE_JSON = 2,
} wasm_schema_type;

// A reference of a schema to another one.
typedef struct wasm_schema_reference {
  // The name by which the schema refers to the other.
  wasm_slice name;
  // The other's subject.
  wasm_slice subject;
  // The other's version.
  int32_t version;
} wasm_schema_reference;

// A schema.
typedef struct wasm_schema {
  // Its language.
  wasm_schema_type schema_type;
  // The schema's text.
  wasm_slice definition;
  // The schemas that this one refers to.
  const wasm_schema_reference *references;
  // Number of `references`.
  size_t reference_count;
} wasm_schema;

// A schema registry of the host.
//
// Its functions are called on the threads of engines while their guests run and on the guests' stacks. Several
// threads may call them at once. Each returns a `wasm_callback_result`. Done: after `wasm_call_return_schema` or
// `wasm_call_return_schema_id`. Pending: with a promise, which is resolved by `wasm_promise_resolve_schema`, or by
// `wasm_promise_resolve_values` with the id. Failed: the guest sees an error of the registry and the log gets a
// warning with the reason. Arguments are valid until the function returns. The functions must not throw and must not
// block.
typedef struct wasm_schema_registry {
  // `sizeof(wasm_schema_registry)`.
  size_t size;
  // The host's own.
  void *data;
  // Frees `data`. Called once when the runtime and everything made from it are gone. May be NULL.
  void (*drop)(void *data);
  // The schema of this id. The `version` of the result is ignored.
  wasm_callback_result (*get_schema)(void *data, int32_t id, wasm_call *call);
  // Gets the schema of a subject in this version. −1 is the latest.
  wasm_callback_result (*get_subject_schema)(void *data, wasm_slice subject, int32_t version, wasm_call *call);
  // Registers a schema under a subject or finds the existing one. The result is its id.
  wasm_callback_result (*create_schema)(void *data, wasm_slice subject, const wasm_schema *schema, wasm_call *call);
} wasm_schema_registry;

// A schema with its place in a registry.
typedef struct wasm_subject_schema {
  // The schema's id. Unique in the registry.
  int32_t id;
  // Number of the schema within its subject.
  int32_t version;
  // The schema.
  wasm_schema schema;
} wasm_subject_schema;

// Gives guests a schema registry. Without one its functions tell them that it is not enabled. `registry` is copied.
// Its `data` is taken over in any case. Any thread.
//
// To be called before the runtime's first `wasm_runtime_validate`, `…_inspect` or `wasm_factory_create`. Afterwards
// `WASM_STATUS_INVALID_STATE`. `WASM_STATUS_NULL_ARGUMENT` if a function is missing.
wasm_status wasm_runtime_set_schema_registry(const wasm_runtime *runtime,
                                             const wasm_schema_registry *registry,
                                             wasm_error **error);

// Writes the table of a new, empty registry in memory to `registry`. For tests and tools. The host owns its `data`:
// pass it to `wasm_runtime_set_schema_registry` or free it with its `drop`.
wasm_status wasm_schema_registry_in_memory(wasm_schema_registry *registry, wasm_error **error);

// Returns the schema from `get_schema` or `get_subject_schema` synchronously. It is copied. The callback returns done
// then.
wasm_status wasm_call_return_schema(wasm_call *call, const wasm_subject_schema *schema, wasm_error **error);

// Returns the id from `create_schema` synchronously. The callback returns done then.
wasm_status wasm_call_return_schema_id(wasm_call *call, int32_t id, wasm_error **error);

// Resolves the promise of `get_schema` or `get_subject_schema`. The schema is copied. Otherwise as
// `wasm_promise_resolve`.
wasm_status wasm_promise_resolve_schema(wasm_promise *promise, const wasm_subject_schema *schema, wasm_error **error);

// ---------------------------------------------------------------------------------------------------------------------
// Artifact
//
// Compiled modules that the host stores itself: on its own disk or on other machines. Most hosts need only a code
// cache.
// ---------------------------------------------------------------------------------------------------------------------

// Compiles a module to an artifact for a host that stores compiled modules itself. The module is copied. It is
// validated and compiled on a compile thread of the runtime or found in the runtime's code cache. Any thread.
//
// `future` becomes ready with an artifact, which `wasm_future_take_artifact` returns. Or it fails with a
// `WASM_STATUS_MODULE_…`. Otherwise it is like that of `wasm_factory_create`.
//
// An artifact is machine code with its description. Guard it like the program itself as long as it is kept: loading a
// forged artifact runs the forger's code. Its checksum detects accidents only.
//
// An artifact fits runtimes of the same version of this library on processors with at least the features of the one
// that made it. `memory_mode` and `trap_mode` must be the same. So must be the set of its host functions that may
// wait. In memory mode `WASM_MEMORY_MODE_PROCESS_POOL` also `pool_engines` and `memory_limit` must be the same where
// these are large.
wasm_status wasm_runtime_precompile(const wasm_runtime *runtime,
                                    wasm_slice module,
                                    wasm_future **future,
                                    wasm_error **error);

// As `wasm_runtime_precompile` for the module of `config`, which is validated as by `wasm_factory_validate`. For
// modules that import host functions of their factory. An artifact has no limits, rights or functions in it: any
// factory may load it whose functions may wait where these may. Of `functions` names and types are read. Their `data`
// stays the host's. Any thread.
wasm_status wasm_factory_precompile(const wasm_runtime *runtime,
                                    const wasm_factory_config *config,
                                    wasm_future **future,
                                    wasm_error **error);

// Makes a factory from an artifact instead of a module. As `wasm_factory_create`, but `module` in `config` is an
// artifact. It is copied and it is checked and loaded on a compile thread. Its imports, limits and rights are checked
// against this runtime and `config` as its module's would be.
//
// **The artifact is trusted. Its code is not verified.** Load only bytes from `wasm_future_take_artifact` that no one
// else could have changed.
//
// `future` fails with `WASM_STATUS_MODULE_ARTIFACT_DAMAGED` if the bytes are no artifact or were damaged. It fails
// with `WASM_STATUS_MODULE_ARTIFACT_INCOMPATIBLE` if the artifact does not fit this runtime. The message says what
// differs. It fails with any `WASM_STATUS_MODULE_…` that the module would get here. After a failure compile the
// module.
wasm_status wasm_factory_load(const wasm_runtime *runtime,
                              const wasm_factory_config *config,
                              wasm_future **future,
                              wasm_error **error);

// ---------------------------------------------------------------------------------------------------------------------
// Code cache
//
// A directory for compiled modules. With it a restarted process loads a transform in milliseconds instead of compiling
// it again.
// ---------------------------------------------------------------------------------------------------------------------

// Where compiled modules are kept. Zero in `max_bytes` means the default.
typedef struct wasm_code_cache_config {
  // `sizeof(wasm_code_cache_config)`.
  size_t size;
  // Path of the directory. Without NUL. On a local file system. The directory is created if only the last part of
  // the path is missing.
  wasm_slice directory;
  // Bytes that all entries may have together. Beyond that the least recently used entries are removed. An entry that
  // is larger by itself is not kept. Default 1 GiB.
  uint64_t max_bytes;
} wasm_code_cache_config;

// Keeps compiled modules in a directory. `wasm_factory_create` and `wasm_runtime_precompile` find them there from then
// on. They do so on a compile thread and the only difference is the time. `config` is copied. Any number of runtimes,
// processes and versions of this library may share a directory. An entry fits only the version, processor features and
// configuration that it was made with. Loading an entry skips no check: limits and host functions are compared with
// the module as if it were compiled.
//
// Entries are machine code that the process will run. So the directory and its entries must belong to this user or
// root. Group and others must not have permission to write. The same holds for all parent directories after symbolic
// links are resolved. One exception: a parent with the sticky bit (`/tmp`) may be writable by all. The directory and
// each entry are checked again at each use. The parents are checked only here.
//
// Afterwards no fault of the cache makes a compilation fail. Faults are counted. They are also logged as a warning
// under the name of the current transform: the first one at once and then at most one a minute. The log is called on
// compile threads for that.
//
// To be called before the runtime's first `wasm_runtime_validate`, `…_inspect`, `…_precompile` or
// `wasm_factory_create`. Afterwards `WASM_STATUS_INVALID_STATE`. `WASM_STATUS_CODE_CACHE_UNUSABLE` if the directory
// cannot be used. The message says why and what to do. The runtime stays without a cache then and another directory
// may be tried. `WASM_STATUS_INVALID_ARGUMENT` if the runtime has a cache already. Accesses the disk on the calling
// thread. Any thread.
wasm_status wasm_runtime_set_code_cache(const wasm_runtime *runtime,
                                        const wasm_code_cache_config *config,
                                        wasm_error **error);

// ---------------------------------------------------------------------------------------------------------------------
// Factory cache
//
// Factories by key, each compiled once. For hosts that deploy transforms at run time and whose shards ask for the same
// one.
// ---------------------------------------------------------------------------------------------------------------------

// Settings of a factory cache. Zero in any field but `size` means the default.
typedef struct wasm_factory_cache_config {
  // `sizeof(wasm_factory_cache_config)`.
  size_t size;
  // Nanoseconds for which a factory must be unused before `wasm_factory_cache_get` drops it by itself. Default
  // 300,000,000,000: five minutes.
  uint64_t idle_ns;
  // Interval in nanoseconds at which `wasm_factory_cache_get` looks for such factories on its calling thread.
  // Default 0: never. Then only `wasm_factory_cache_collect` drops factories.
  uint64_t collect_interval_ns;
} wasm_factory_cache_config;

// Statistics of a factory cache. Counters begin when it is made.
typedef struct wasm_factory_cache_stats {
  // `sizeof(wasm_factory_cache_stats)`, set by the caller.
  size_t size;
  // Factories in the cache.
  uint64_t entries;
  // Factories that are being compiled or wait for a compile thread.
  uint64_t compiling;
  // Requests for a factory that was in the cache.
  uint64_t hits;
  // Requests for a factory that was being compiled for another request.
  uint64_t joined;
  // Requests that found neither. Those without a module count too.
  uint64_t misses;
  // Compilations that were begun. Those that failed count too. So do those that got the code of another factory.
  uint64_t compilations;
  // Factories that were dropped because they were unused.
  uint64_t collected;
} wasm_factory_cache_stats;

// Makes an empty cache of factories. A factory that is requested twice is compiled once and kept. `config` may be NULL
// for the defaults. The cache is for factories of this runtime only and keeps the runtime alive. A runtime may have
// several caches. Any thread.
wasm_status wasm_factory_cache_create(const wasm_runtime *runtime,
                                      const wasm_factory_cache_config *config,
                                      wasm_factory_cache **cache,
                                      wasm_error **error);

// Requests a factory by its key: any bytes that the host chooses. They are copied. If the key is empty, the key is the
// SHA-256 of the module and everything else in `config`, with names in the same order. `functions` are the same if
// they call the same functions with the same `data`.
//
// `future` is like that of `wasm_factory_create`. It is ready from the beginning if the factory is in the cache.
// Otherwise the module is compiled as by `wasm_factory_create`. Other requests for the same key get their own futures
// for the same compilation. Releasing one of these futures does not affect the others. If all are released before the
// compilation begins, it is left out. If the compilation fails, all of these futures fail with the same error. Nothing
// is kept then and the next request compiles again. The factory is an ordinary one: it and its engines may outlive the
// cache.
//
// With a key `config` may be NULL or its `module` empty. Then nothing else in it is read but `functions`, whose data
// is taken over and dropped. Nothing is compiled. If
// the factory is neither in the cache nor being compiled, the call returns `WASM_STATUS_NOT_CACHED` without a future.
// Where time counts, ask like this first. A given module is hashed on the calling thread each time. That takes half a
// millisecond per megabyte, or several without the processor's SHA-256 instructions.
//
// A key with a module belongs to that module and description. `WASM_STATUS_INVALID_ARGUMENT` if the key already
// belongs to another. The message says what differs. A new version of a transform needs a new key or an empty one.
// Other errors of the call are those of `wasm_factory_create`. Threads that cannot be started fail the future instead.
// Any thread.
wasm_status wasm_factory_cache_get(const wasm_factory_cache *cache,
                                   wasm_slice key,
                                   const wasm_factory_config *config,
                                   wasm_future **future,
                                   wasm_error **error);

// Drops the factories that have been unused for at least `min_idle_ns`. Their machine code is freed. 0 for all that
// are unused now. A factory is used by handles, by futures that hold it and by engines, also stopped ones. The time
// counts from the release of the last of them on any thread. It does not advance while the machine sleeps. `collected`
// gets the number of dropped factories. It may be NULL. Takes some 30 µs per factory on the calling thread. Any
// thread.
wasm_status wasm_factory_cache_collect(const wasm_factory_cache *cache,
                                       uint64_t min_idle_ns,
                                       uint64_t *collected,
                                       wasm_error **error);

// Fills `stats` with a consistent snapshot. The caller has set `stats->size`. Any thread.
wasm_status wasm_factory_cache_get_stats(const wasm_factory_cache *cache,
                                         wasm_factory_cache_stats *stats,
                                         wasm_error **error);

// Frees the cache. Its unused factories are freed with it. Requested compilations continue and the runtime's compile
// threads end after them. No other call may use the cache at the same time. Any thread. NULL does nothing.
void wasm_factory_cache_release(wasm_factory_cache *cache);

// ---------------------------------------------------------------------------------------------------------------------
// Metrics
//
// Metrics of a runtime and its transforms: as text for Prometheus or as numbers for the host's own metrics system.
// ---------------------------------------------------------------------------------------------------------------------

// Numbers of a runtime. Counters begin when it is made.
typedef struct wasm_runtime_metrics {
  // `sizeof(wasm_runtime_metrics)`, set by the caller.
  size_t size;
  // Engines that were made and not released yet.
  uint64_t engines;
  // Factories, also those of custom engines.
  uint64_t factories;
  // Bytes of machine code. Code that several factories share counts once.
  uint64_t executable_bytes;
  // Compilations that have ended. Those that failed count too, also modules that were refused before the
  // compilation.
  uint64_t compilations;
  // Compilations that failed.
  uint64_t compilations_failed;
  // Nanoseconds that all compilations took on the compile threads.
  uint64_t compile_ns;
  // Modules whose machine code was loaded from the code cache or from an artifact.
  uint64_t loads;
  // Nanoseconds that the loads took. From validating and hashing to code.
  uint64_t load_ns;
  // Modules that were found in the code cache and loaded.
  uint64_t code_cache_hits;
  // Modules that were not found in the code cache and had to be compiled.
  uint64_t code_cache_misses;
  // Entries written to the code cache.
  uint64_t code_cache_stores;
  // Entries removed because all together exceeded `max_bytes`.
  uint64_t code_cache_evictions;
  // Entries ignored because they were damaged or too large, could not be loaded or were writable by others. Each is
  // a miss, too.
  uint64_t code_cache_rejected;
  // Faults of the code cache's directory or the disk. None of them made a compilation fail.
  uint64_t code_cache_faults;
  // Pools: one for each thread that reserved one or the one of the process.
  uint64_t pools;
  // Engines that the pools are for.
  uint64_t pool_engines;
  // Memories of pools that engines have.
  uint64_t pool_memories_in_use;
  // Memories of pools that must be reclaimed before they can be taken again.
  uint64_t pool_memories_dirty;
  // Stacks of pools that engines have.
  uint64_t pool_stacks_in_use;
  // Requests to factory caches for a factory that was in the cache.
  uint64_t factory_cache_hits;
  // Requests to factory caches that waited for a compilation of another request.
  uint64_t factory_cache_joined;
  // Requests to factory caches that found neither.
  uint64_t factory_cache_misses;
  // Factories that factory caches dropped because they were unused.
  uint64_t factory_cache_collected;
  // Compiled modules in memory. Factories that differ only in their configuration share one.
  uint64_t modules;
  // Factories that got the compiled module of another one: it was in memory or in compilation.
  uint64_t shared_modules;
} wasm_runtime_metrics;

// Output to one topic.
typedef struct wasm_topic_metrics {
  // The topic's name. Empty: topics of engines that are gone beyond the first 256, together.
  wasm_slice topic;
  // Records of guests that sinks accepted. Dead letters are none of them.
  uint64_t output_records;
  // Bytes of their keys, values and headers.
  uint64_t output_bytes;
} wasm_topic_metrics;

// Code that engines of a transform have.
typedef struct wasm_code_metrics {
  // SHA-256 of the module.
  uint8_t sha256[32];
  // Engines that have it now.
  uint64_t engines;
} wasm_code_metrics;

// Records whose latency is in one range.
typedef struct wasm_latency_bucket {
  // The range's inclusive end in nanoseconds. The range begins after the end of the previous bucket. The end of
  // the last bucket is `UINT64_MAX`.
  uint64_t end_ns;
  // Records in this range. Other buckets are not included.
  uint64_t records;
} wasm_latency_bucket;

// Failures of one kind.
typedef struct wasm_error_count {
  // A `wasm_status`. `wasm_status_name` has its name.
  wasm_status status;
  // Operations that failed with this status. Never 0.
  uint64_t count;
} wasm_error_count;

// One transform on one shard: the sum of all its engines there. Counters never decrease while one of these engines
// exists. When the last one is released, the numbers stay until they were read once more, as text or by a snapshot. If
// an engine is made before that, the counters continue. Of more than 1,024 such pairs the oldest are dropped unread.
typedef struct wasm_transform_metrics {
  // `sizeof(wasm_transform_metrics)`, set by the caller.
  size_t size;
  // The transform's name.
  wasm_slice transform;
  // The shard: the label of the engines' thread when they were made.
  uint32_t shard;
  // Engines that were made and not released yet.
  uint64_t engines;
  // Nanoseconds for which engines had their thread. Includes checks of batches, host functions and sinks.
  uint64_t cpu_ns;
  // Bytes of linear memory that the guests have.
  uint64_t memory_bytes;
  // Bytes that the guests may have: the sum of their `memory_limit`.
  uint64_t memory_limit_bytes;
  // Records that guests took.
  uint64_t input_records;
  // Bytes of their keys, values and headers.
  uint64_t input_bytes;
  // Records of guests that sinks accepted.
  uint64_t output_records;
  // Bytes of their keys, values and headers.
  uint64_t output_bytes;
  // Starts of engines that had been started before.
  uint64_t restarts;
  // Log lines that were dropped because there were too many.
  uint64_t log_suppressed_lines;
  // Nanoseconds of `cpu_ns` spent in transforms: the sum of all records' latencies.
  uint64_t latency_sum_ns;
  // Histogram of record latencies from the shortest to the longest. A record's latency is its batch's time on the
  // thread without waiting, divided by the batch's records.
  const wasm_latency_bucket *latency;
  // Number of `latency`. All transforms have the same buckets.
  size_t latency_count;
  // Failed starts and transforms by kind. Each operation counts once. Kinds that did not occur are left out.
  const wasm_error_count *errors;
  // Number of `errors`.
  size_t error_count;
  // Records at which guests failed and that a policy dropped.
  uint64_t skipped_records;
  // Records at which guests failed and that sinks took as dead letters.
  uint64_t dead_lettered_records;
  // Batches that wait for a shared engine.
  uint64_t queued_batches;
  // Of `engines`: not started yet or stopped by their hosts.
  uint64_t engines_stopped;
  // Their guests start.
  uint64_t engines_starting;
  // Their guests are started: they wait for a batch or work on one.
  uint64_t engines_running;
  // Their guests failed and start again or wait for that under a policy's backoff.
  uint64_t engines_restarting;
  // They were stopped by a failure.
  uint64_t engines_failed;
  // Circuits of policies that are open. Each user of a shared engine has its own.
  uint64_t circuits_open;
  // Those that are half-open.
  uint64_t circuits_half_open;
  // How often policies stopped engines with `WASM_STATUS_POLICY_THRESHOLD`.
  uint64_t policy_stops;
  // Nanoseconds since guests last took records or an engine was made: of the engine where it is shortest. Precise to
  // some 20 ms. `UINT64_MAX` without engines.
  uint64_t since_progress_ns;
  // Records that engines have not taken of their input, for those whose hosts called `wasm_engine_set_end_offset`.
  uint64_t lag_records;
  // Whether there is such an engine.
  bool has_lag;
  // Output by topic: topics of current engines and of those that are gone.
  const wasm_topic_metrics *topics;
  // Number of `topics`.
  size_t topic_count;
  // The code of current engines. More than one during a hot swap. Custom engines have none.
  const wasm_code_metrics *codes;
  // Number of `codes`.
  size_t code_count;
} wasm_transform_metrics;

// Writes the runtime's own numbers. The caller has set `metrics->size`. Any thread, also while engines run on others.
wasm_status wasm_runtime_get_metrics(const wasm_runtime *runtime, wasm_runtime_metrics *metrics, wasm_error **error);

// Writes all metrics as text in Prometheus's format (version 0.0.4). Serve it with `Content-Type: text/plain;
// version=0.0.4`. `docs/metrics.md` lists them. Any thread, also while engines run on others.
//
// There are some 60 lines for each transform and shard. Their number is up to the host. All runtimes of a process use
// the same names. A host with several adds a label of its own. Release `text` with `wasm_bytes_release`.
wasm_status wasm_runtime_metrics_text(const wasm_runtime *runtime, wasm_bytes **text, wasm_error **error);

// Takes a snapshot of all metrics for reading one transform and shard after another. Any thread, also while engines
// run on others. The runtime may be released before the snapshot. Release the snapshot with `wasm_metrics_release`.
wasm_status wasm_metrics_create(const wasm_runtime *runtime, wasm_metrics **metrics, wasm_error **error);

// Takes the snapshot again. Allocates only if there is more than ever before. Pointers from `metrics` become invalid.
wasm_status wasm_metrics_update(wasm_metrics *metrics, wasm_error **error);

// Number of pairs of transform and shard. 0 for NULL.
size_t wasm_metrics_count(const wasm_metrics *metrics);

// Writes the numbers of pair `index` of transform and shard. Counted from 0 in the order of names and shards. The
// caller has set `transform->size`. Its pointers are valid until the next `wasm_metrics_update` or
// `wasm_metrics_release`. `WASM_STATUS_INVALID_ARGUMENT` if there is no such index.
wasm_status wasm_metrics_get(const wasm_metrics *metrics,
                             size_t index,
                             wasm_transform_metrics *transform,
                             wasm_error **error);

// Writes the runtime's own numbers of the snapshot. The caller has set `runtime->size`.
wasm_status wasm_metrics_get_runtime(const wasm_metrics *metrics, wasm_runtime_metrics *runtime, wasm_error **error);

// Tells the library where the engine's input ends, for `lag_records`. `end_offset` is the offset that the input's next
// record will have, such as the partition's high watermark. `next_offset` is the offset from which the engine
// continues. It counts until the engine has taken a record. Then the offset of its last record does, or the one behind
// it when the batch has completed. Cheap: a host may call this with each batch. -1 as `end_offset`: there is no lag
// any more. A hot swap keeps both.
//
// `WASM_STATUS_INVALID_ARGUMENT` if an offset is otherwise negative. `WASM_STATUS_INVALID_STATE` for a user of a
// shared engine.
wasm_status wasm_engine_set_end_offset(wasm_engine *engine,
                                       int64_t next_offset,
                                       int64_t end_offset,
                                       wasm_error **error);

// Frees the snapshot. NULL does nothing.
void wasm_metrics_release(wasm_metrics *metrics);

// ---------------------------------------------------------------------------------------------------------------------
// Profile
//
// A profile shows where a guest spends its time. For development and for diagnosis in production.
// ---------------------------------------------------------------------------------------------------------------------

// Starts to profile the engine's guest. From now until `wasm_engine_finish_profile` the guest's stack is sampled every
// `interval_ns` nanoseconds in which the guest runs. 0 means 1,000,000. In any state of the engine. The profile
// continues when the engine is stopped and started again. Releasing the engine drops it. So does `wasm_engine_replace`
// together with the old guest. The users of a shared engine share its profile.
//
// Samples are taken at ticks, of which a time slice has two. So the real interval is not shorter than that. A sample
// is taken where the guest next loops or calls a function. So time in host functions appears at their callers or not
// at all. A sample takes about a microsecond and some more for each frame on the engine's thread. It takes 70 bytes.
// The first 1,048,576 samples are kept. None is taken while memory is short. Engines without a profile pay nothing.
//
// `WASM_STATUS_INVALID_STATE` if the engine is being profiled already or is a custom engine.
// `WASM_STATUS_INVALID_ARGUMENT` if the interval is more than ten seconds. `WASM_STATUS_BUSY` from one of the engine's
// own callbacks.
wasm_status wasm_engine_start_profile(wasm_engine *engine, uint64_t interval_ns, wasm_error **error);

// Ends the engine's profile and returns it as a JSON document in the processed format of Firefox's profiler, which
// https://profiler.firefox.com shows. Function names are those of the module. Functions without a name are called
// `function N` with their index. The document has no addresses and none of the guest's data.
//
// `json` gets text. Release it with `wasm_bytes_release`. `WASM_STATUS_INVALID_STATE` if the engine is not being
// profiled. `WASM_STATUS_BUSY` from one of the engine's own callbacks. Takes some milliseconds per thousand samples.
wasm_status wasm_engine_finish_profile(wasm_engine *engine, wasm_bytes **json, wasm_error **error);

#undef WASM_ENGINE_ENUM_TYPE
#ifdef __cplusplus
} // extern "C"
#endif

#endif // WASM_ENGINE_H
