// SPDX-License-Identifier: Apache-2.0
//
// WebAssembly data transforms inside the threads of an event-loop host. This header is generated from the Rust sources;
// `make header` writes it, and a test fails when it is out of date.
//
// The nouns
//
//   wasm_runtime   configuration and compiler. Shared: any thread, several at once.
//   wasm_factory   a compiled transform. Shared: any thread, several at once.
//   wasm_engine    one running guest. Owned, and tied to the thread that made it.
//   wasm_future    an operation that is going on. Owned; an engine's is tied to the engine's thread.
//   wasm_promise   a callback's answer that comes later. Owned; any thread, one at a time.
//   wasm_error     what went wrong. Owned; any thread.
//
// The contract
//
//   Ownership  `_create` and `take` give, `_release` takes; releasing NULL does nothing. A handle must not be used after
//              its release. Slices and structs in arguments are borrowed for the call unless a function says more.
//   Status     Every function that can fail returns a `wasm_status`. If `error` is not NULL and the status is not OK, the
//              caller gets an owned `wasm_error` there; with OK, `error` is left alone. There is no last-error state.
//              Out-parameters are written on success only.
//   Futures    Nothing blocks. What takes time gives a future, which the host polls: ready, pending (a waker will be
//              called), or yielded (poll again after other tasks had their turn).
//   Threads    An engine and its futures belong to the thread that made the engine; elsewhere a status says so.
//   Host data  `{data, drop}`: the drop runs exactly once, on every path, errors included; only a struct whose `size` is
//              refused is not read at all.
//   Callbacks  must not throw or unwind. They may call the library; functions of an engine that is at work further down
//              the stack answer WASM_STATUS_BUSY.
//   Structs    that begin with `size` may grow: set it to sizeof and zero the rest, then zero means the default. Other
//              structs never grow.
//   Signals    Traps of guests are noticed by SIGSEGV, SIGILL and SIGFPE: see wasm_thread_prepare. The handlers pass on
//              what is no guest's fault. But such a signal that is sent (kill, raise) rather than caused, while its
//              disposition was the default, removes the handler, and a second one kills: Wasmtime counts on the fault to
//              happen again.
//   Fork       The child of a fork can go on using everything, on the thread that forked; the library starts its threads
//              again when they are needed. But no other thread may be inside the library, no module may be compiling, and
//              no callback may be running at that moment. A child that only calls exec or _exit may come at any time.
//   Panics     of the library become WASM_STATUS_PANIC; they never cross this border.

#ifndef WASM_ENGINE_H
#define WASM_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// The version of this header. That of the library which the program has loaded: `wasm_library_version`.
#define WASM_ENGINE_VERSION "0.1.0"
#define WASM_ENGINE_VERSION_MAJOR 0
#define WASM_ENGINE_VERSION_MINOR 1
#define WASM_ENGINE_VERSION_PATCH 0
// Major, minor and patch, a byte each: a later version has a larger number.
#define WASM_ENGINE_VERSION_NUMBER 0x000100

// Enums have 32 bits (never compile with -fshort-enums), and a later library may give values that are not in this header.
// C needs no word for that, C++ does.
#ifdef __cplusplus
#define WASM_ENGINE_ENUM_TYPE : uint32_t
extern "C" {
#else
#define WASM_ENGINE_ENUM_TYPE
#endif

// ---------------------------------------------------------------------------------------------------------------------
// Handles
//
// The nouns. What is in them is up to the library.
// ---------------------------------------------------------------------------------------------------------------------

// Bytes that the library made: text, or an artifact. Owned; belongs to no thread and never changes.
typedef struct wasm_bytes wasm_bytes;

// An error, owned by whoever got it. It belongs to no thread and changes never.
typedef struct wasm_error wasm_error;

// A runtime. Shared: it may be used on any thread, by several at once.
typedef struct wasm_runtime wasm_runtime;

// A factory. Shared: it may be used on any thread, by several at once.
typedef struct wasm_factory wasm_factory;

// An operation in progress. Owned by the caller that got it; used by one thread at a time, and if it is an engine's, only
// by the engine's thread.
typedef struct wasm_future wasm_future;

// An engine. Owned by whoever made it, and used only on the thread that made it.
typedef struct wasm_engine wasm_engine;

// A future that an executor polls.
typedef struct wasm_task wasm_task;

// A callback's promise to answer later. It may be used on any thread and may outlive the engine.
typedef struct wasm_promise wasm_promise;

// A cache of factories. Owned; it may be used on any thread, by several at once.
typedef struct wasm_factory_cache wasm_factory_cache;

// All metrics of a runtime at one moment. Owned; used by one thread at a time. It keeps no engine
// alive, but what engines, factories and snapshots of a runtime share: its host functions, pools and ticker.
typedef struct wasm_metrics wasm_metrics;

// The call that a callback belongs to. Valid until the callback returns and only on its thread.
typedef struct wasm_call wasm_call;

// Packs records into batches. Owned; used by one thread at a time.
typedef struct wasm_batch_builder wasm_batch_builder;

// The batch that a custom engine works on; valid until its `transform` returns, and used on its thread only.
typedef struct wasm_work wasm_work;

// ---------------------------------------------------------------------------------------------------------------------
// Library
//
// The library as a whole.
// ---------------------------------------------------------------------------------------------------------------------

// The version of the library that the program has loaded, such as `0.1.0`.
const char *wasm_library_version(void);

// The same as a number: at least the `WASM_ENGINE_VERSION_NUMBER` of the header, if the library has all that is in it.
uint32_t wasm_library_version_number(void);

// ---------------------------------------------------------------------------------------------------------------------
// Bytes
//
// Bytes and text: `wasm_slice` borrows them, and `wasm_bytes` are the library's, for whoever was given them to release.
// ---------------------------------------------------------------------------------------------------------------------

// Borrowed bytes. `(NULL, 0)` is empty. Text is UTF-8 without a final NUL.
typedef struct wasm_slice {
  // The first byte. May be NULL when `size` is 0.
  const uint8_t *data;
  // Number of bytes.
  size_t size;
} wasm_slice;

// A view of the bytes; text is UTF-8 without a final NUL. Lives as long as its owner. For NULL empty.
wasm_slice wasm_bytes_view(const wasm_bytes *bytes);

// Frees the bytes. NULL is fine.
void wasm_bytes_release(wasm_bytes *bytes);

// ---------------------------------------------------------------------------------------------------------------------
// Error
//
// `wasm_error_*`: the story behind a status.
// ---------------------------------------------------------------------------------------------------------------------

// The result of a call.
//
// The numbers are fixed. New ones may be added, but none is ever changed or reused. They come in ranges. 0 is
// success. 1–19: the call itself was wrong and *had no effect*. An operation in progress stays in progress. 20–49: a
// module was refused. 50–69: a guest failed or was stopped. 70–89: a record batch was refused. 90 and up: a failure
// of the library itself.
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
  // The module has more tables than the runtime allows or its tables start larger.
  WASM_STATUS_MODULE_TABLE_LIMIT = 36,
  // The bytes are not an artifact of `wasm_runtime_precompile` or were damaged.
  WASM_STATUS_MODULE_ARTIFACT_DAMAGED = 37,
  // The artifact was made by another version of the library or for another processor or with another
  // configuration. The message says which. Compile the module again.
  WASM_STATUS_MODULE_ARTIFACT_INCOMPATIBLE = 38,
  // The guest trapped. See `trap` in `wasm_error_info`.
  WASM_STATUS_GUEST_TRAP = 50,
  // The guest exited by itself: `proc_exit` or a return from `_start`. See `exit_code` in `wasm_error_info`.
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

// What is known of an error.
typedef struct wasm_error_info {
  // `sizeof(wasm_error_info)`, set by the caller.
  size_t size;
  // The status that came with it.
  wasm_status status;
  // Which trap ended the guest; `WASM_TRAP_NONE` if none did.
  wasm_trap trap;
  // The text of `wasm_error_message`.
  wasm_slice message;
  // Whether the guest ended by itself.
  bool has_exit_code;
  // Whether the guest was working on a record.
  bool has_record;
  // The guest's exit code, if it ended by itself.
  int32_t exit_code;
  // The record's index in the batch, from 0.
  uint32_t record_index;
  // The record's Kafka offset.
  int64_t record_offset;
  // Frames of the guest's call stack at its end, for `wasm_error_frame`.
  size_t frame_count;
  // The guest's core dump; empty if there is none.
  //
  // Guests have one that trapped, were ended, or exited with a code other than 0, if `core_dumps` was set for their
  // runtime, and if their memory has no more than 1 GiB. It is a WebAssembly module in the format for core dumps of
  // WebAssembly's tool conventions: memory, globals, and the stack with the indices of functions, of which it has
  // the innermost 10,000. Where in a function a frame is, and the values of its variables, are not known. What the
  // memory holds is in it, secrets included.
  wasm_slice core_dump;
} wasm_error_info;

// A frame of a guest's call stack.
typedef struct wasm_frame {
  // Demangled name of the function; empty if the module has no names. Lives as long as the error.
  wasm_slice function;
  // Index of the function in the module's function index space.
  uint32_t function_index;
} wasm_frame;

// The status that came with the error; `WASM_STATUS_NULL_ARGUMENT` for NULL.
wasm_status wasm_error_status(const wasm_error *error);

// What happened, to which transform, at which record, and what to do: UTF-8, several lines if there is a backtrace, ended
// by a NUL. Lives as long as the error. For NULL an empty string.
const char *wasm_error_message(const wasm_error *error);

// Fills `info`, whose `size` the caller has set, with all that is known. What it points to lives as long as the error.
wasm_status wasm_error_get_info(const wasm_error *error, wasm_error_info *info);

// Writes frame `index`, counted from the innermost, to `frame`. `WASM_STATUS_INVALID_ARGUMENT` if there is none.
wasm_status wasm_error_frame(const wasm_error *error, size_t index, wasm_frame *frame);

// Frees the error. NULL is fine.
void wasm_error_release(wasm_error *error);

// The name of a status, such as `guest-trap`: fixed, fit for metrics labels; `unknown` for a number that is none.
const char *wasm_status_name(wasm_status status);

// ---------------------------------------------------------------------------------------------------------------------
// Runtime
//
// `wasm_runtime_*`: configuration and compiler.
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

// A line for the host's log.
typedef struct wasm_log_line {
  // `sizeof(wasm_log_line)`, set by the library: what lies beyond it does not exist in the library's version.
  size_t size;
  // How urgent it is.
  wasm_log_severity severity;
  // Whether it is the guest's, or the library's own.
  wasm_log_source source;
  // The label of the engine's thread.
  uint32_t shard;
  // The line was longer than `max_log_line`; the next one of this severity and transform goes on with it.
  bool continues;
  // The transform's name; empty if the line is about none in particular.
  wasm_slice transform;
  // The text, valid UTF-8 without a newline; bytes that were not UTF-8 are written as `\xNN`.
  wasm_slice text;
  // The engine that it comes from, to tell one of several by; it is at work, or being stopped.
  const wasm_engine *engine;
  // What `wasm_engine_set_user_data` attached to that.
  void *user_data;
} wasm_log_line;

// Where guests' standard output and error go.
typedef struct wasm_log_sink {
  // The host's own.
  void *data;
  // Frees `data`, once: when the runtime and everything made from it are gone, or when `wasm_runtime_create` fails.
  // May be NULL.
  void (*drop)(void *data);
  // Takes a line, which lives until the callback returns. NULL: lines are thrown away.
  //
  // Called on the threads of engines, while their guests run and on the guests' stacks, so with `host_stack_size`
  // bytes left; by several threads at once if there are. With a cache, its troubles are told on compile threads, and
  // by `wasm_runtime_set_code_cache`. It must not throw and must not block.
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
  // Bytes of linear memory that one guest may have; growth past it fails inside the guest. Default 64 MiB, at least 64
  // KiB, at most 4 GiB; what counts is whole pages of 64 KiB.
  uint64_t memory_limit;
  // Elements that all tables of one guest may have together. Default 1,048,576.
  uint64_t table_limit;
  // Bytes of stack for a guest's own frames. Default 512 KiB.
  uint64_t guest_stack_size;
  // Bytes of stack beyond that, for the host functions that a guest calls. Default 256 KiB.
  uint64_t host_stack_size;
  // Nanoseconds that a guest may run before its host gets the thread back. Default 500,000. How punctual that is depends on
  // how soon the thread `wasm-ticker` gets a processor: where the process may have real time (CAP_SYS_NICE, or RLIMIT_RTPRIO
  // of 1 or more), that thread takes SCHED_FIFO with priority 1, unless `avoid_real_time` is set or slices are shorter than
  // 100,000; else it asks Linux for short slices of its own. It may use the processors that the thread may use that makes the
  // first runtime.
  uint64_t time_slice_ns;
  // Nanoseconds that a guest may run for one record, and for its start; time in which it does not have the thread does
  // not count. Measured in steps of half a slice. Default 3,000,000,000.
  uint64_t record_time_limit_ns;
  // Bytes of output that one engine holds at most; no output record can be larger. Default 1 MiB.
  uint64_t output_buffer_limit;
  // Bytes that a module may have. Default 64 MiB.
  uint64_t max_module_size;
  // Bytes that a batch may have, before and after decompression. Default 128 MiB.
  uint64_t max_batch_size;
  // Bytes of a log line as the guest wrote it; longer ones are cut into several. Bytes that are not UTF-8 take four
  // when they are written out. Default 8 KiB.
  uint64_t max_log_line;
  // Threads that compile, started when the first module comes. Default 1.
  uint32_t compile_threads;
  // 1: batches' CRCs are not compared with their content. Default 0.
  uint32_t skip_crc_check;
  // Where guests' output goes. Default: nowhere.
  wasm_log_sink log;
  // Where linear memories and stacks come from.
  wasm_memory_mode memory_mode;
  // How traps of guests are noticed.
  wasm_trap_mode trap_mode;
  // When blocked signals are looked for.
  wasm_signal_check signal_check;
  // 1: stacks have no more than `host_stack_size` bytes, of which guests get up to a quarter for their own frames. No host
  // function then ever has more than what it was promised, and some have a quarter less, so that one which needs more
  // dies in a test. Default 0.
  uint32_t tight_stacks;
  // Engines that run at the same time, in memory mode `WASM_MEMORY_MODE_PROCESS_POOL`. Default 1,000.
  uint64_t pool_engines;
  // In the modes with pools: bytes of a memory, from its start, that are wiped in place when its engine stops; pages
  // behind are given back to the system, unless they are the host's. Default 4 MiB in pools of threads, where pages that
  // were not used are not touched; 64 KiB in the process's.
  uint64_t keep_resident;
  // The host's memory for linear memories, in the modes `WASM_MEMORY_MODE_THREAD_POOL` (one block per thread) and
  // `WASM_MEMORY_MODE_HOST` (one block of `memory_limit` bytes, or what the module says it needs at most, per engine).
  // NULL: the system's. The table is copied.
  const wasm_allocator *memory_allocator;
  // The host's memory for stacks, in the same modes: ordinary pages, which can be protected. NULL: the system's. The
  // lowest 16 KiB of each stack are made a guard, which is undone before the block is released. The table is copied.
  const wasm_allocator *stack_allocator;
  // Lines per second that the guests of one transform may write to the log, on each shard; a part of a line that is cut
  // counts as one. What is more is thrown away and counted, and one line of the library's tells how many there were, as
  // soon as lines pass again, and at the latest when the last engine is released. Default 1,000; `UINT32_MAX` for all.
  uint32_t log_lines_per_second;
  // Lines that they may write at once, after they wrote less for a while. Default 5,000.
  uint32_t log_burst_lines;
  // 1: the error of a guest that failed has a core dump, `core_dump` in `wasm_error_info`. It is made by the poll that
  // reports the failure, which takes up to some 4 ms per MiB of the guest's memory that is not zero, and the
  // error keeps them. Default 0.
  uint32_t core_dumps;
  // 1: guests' functions are appended to `/tmp/perf-PID.map`, where `perf report` finds their names, as their modules
  // are compiled or loaded. The file stays; its lines are wrong as soon as a factory is freed and its place is taken
  // by another. Default 0.
  uint32_t perf_map;
  // 1: while this runtime is there, the thread `wasm-ticker` is an ordinary one. See `time_slice_ns`. Default 0.
  uint32_t avoid_real_time;
} wasm_runtime_config;

// Makes a runtime. `config` may be NULL for the defaults; what it holds is copied. Any thread; any number of runtimes.
//
// Hosts that install signal handlers of their own for SIGSEGV, SIGILL or SIGFPE should do so before the first runtime is
// made: Wasmtime's handlers pass on what is not theirs to those that they found.
//
// Errors: `WASM_STATUS_INVALID_ARGUMENT` names the field, `WASM_STATUS_SYSTEM` if a thread cannot be started.
wasm_status wasm_runtime_create(const wasm_runtime_config *config, wasm_runtime **runtime, wasm_error **error);

// Judges a module without compiling it: `WASM_STATUS_OK`, or the `WASM_STATUS_MODULE_…` that fits and a message with the
// details. Takes a few milliseconds per megabyte on the calling thread. Any thread.
wasm_status wasm_runtime_validate(const wasm_runtime *runtime, wasm_slice module, wasm_error **error);

// Tells everything about a module, also about one that is refused, as a JSON document: `size`, `abi_version`,
// `schema_registry_abi_version`, `language`, `producers`, `functions`, `code_size`, `data_segments`, `has_names`,
// `memories`, `imports`, `exports`, and `refused`, which is null or has `status` and `message`. Any thread.
//
// `json` gets text, to be released with `wasm_bytes_release`.
wasm_status wasm_runtime_inspect(const wasm_runtime *runtime, wasm_slice module, wasm_bytes **json, wasm_error **error);

// Gives the runtime up. Factories and engines made from it go on living; the compile threads end when they have
// finished what they are at, and the ticker's when the last factory, engine, factory cache and `wasm_metrics` of the process
// is gone. NULL is fine.
void wasm_runtime_release(wasm_runtime *runtime);

// ---------------------------------------------------------------------------------------------------------------------
// Thread
//
// `wasm_thread_*`: what a thread that polls engines needs.
// ---------------------------------------------------------------------------------------------------------------------

// How a thread is prepared.
typedef struct wasm_thread_config {
  // `sizeof(wasm_thread_config)`.
  size_t size;
  // Engines of the runtime that this thread will have started at the same time: as many memories of `memory_limit`
  // bytes and stacks are reserved. For memory mode `WASM_MEMORY_MODE_THREAD_POOL`; 0 in the others. At most 2^20.
  uint64_t engines;
  // A label for the thread: engines that it makes from now on count under it in the metrics, of every runtime. 0 leaves
  // the label as it was, which is 0 at first.
  uint32_t shard;
} wasm_thread_config;

// The state of a thread's pool.
typedef struct wasm_thread_pool {
  // `sizeof(wasm_thread_pool)`, set by the caller.
  size_t size;
  // Engines that it is for.
  uint64_t engines;
  // Bytes of each memory.
  uint64_t memory_bytes;
  // Memories that can be taken.
  uint64_t memories_free;
  // Memories of stopped engines that must be cleaned first.
  uint64_t memories_dirty;
  // Memories of engines.
  uint64_t memories_in_use;
  // Bytes that cleaning has still to look at.
  uint64_t dirty_bytes;
  // Stacks that can be taken.
  uint64_t stacks_free;
} wasm_thread_pool;

// Prepares the calling thread for polling engines of `runtime`: unblocks exactly the signals that the runtime uses (see
// `wasm_thread_unblock_signals`), sets up what Wasmtime keeps for each thread, with an alternate signal stack of 256 KiB
// unless the thread has one that large, and reserves a pool.
//
// To be called once on each such thread, before its first poll, for everything here may take hundreds of microseconds.
// Memory mode `WASM_MEMORY_MODE_THREAD_POOL` insists on it, and so does a thread on which the signals are blocked. Again
// with the same numbers, it changes nothing but the signals. `config` may be NULL: no pool.
//
// The pool lives until `wasm_thread_release`, the end of the thread, or the end of the runtime with all of its factories
// and engines.
//
// Errors: `WASM_STATUS_SYSTEM` if there is no memory for the pool, `WASM_STATUS_INVALID_STATE` if the thread has a pool of
// another size, `WASM_STATUS_INVALID_ARGUMENT` for engines in another memory mode.
wasm_status wasm_thread_prepare(wasm_runtime *runtime, const wasm_thread_config *config, wasm_error **error);

// Gives the calling thread's pool back. `WASM_STATUS_INVALID_STATE` while engines use it; none is fine.
wasm_status wasm_thread_release(wasm_runtime *runtime, wasm_error **error);

// Unblocks, on the calling thread, the signals by which `runtime` notices traps of guests: SIGSEGV and SIGILL, on x86-64
// also SIGFPE; none with `WASM_TRAP_MODE_CHECKS`. Other signals, and all handlers, stay as they are.
//
// `wasm_thread_prepare` does this too. A host whose mask may change afterwards (`swapcontext` restores one, Seastar blocks
// most signals on its threads when it starts) calls this before it polls on. A trap while its signal is blocked kills the
// process, even with a handler in place; so polls look whether one is, as `wasm_signal_check` says, and answer
// `WASM_STATUS_SIGNALS_BLOCKED`, with nothing changed.
wasm_status wasm_thread_unblock_signals(const wasm_runtime *runtime, wasm_error **error);

// Cleans memories of stopped engines in the calling thread's pool, so that they can be taken again: at most `bytes` bytes,
// in steps of 64 KiB, of which one takes some 5 to 10 µs; of what is given back to the system, 1 MiB counts as one step.
// For idle moments of an event loop. A stop cleans 256 KiB by itself, and a start that finds nothing clean as much at each
// poll, and yields in between.
//
// `more` tells whether some are left; it may be NULL. `WASM_STATUS_THREAD_NOT_PREPARED` if there is no pool.
wasm_status wasm_thread_reclaim(wasm_runtime *runtime, size_t bytes, bool *more, wasm_error **error);

// Tells about the calling thread's pool. `pool.size` must be set. `WASM_STATUS_THREAD_NOT_PREPARED` if there is none.
wasm_status wasm_thread_get_pool(const wasm_runtime *runtime, wasm_thread_pool *pool, wasm_error **error);

// ---------------------------------------------------------------------------------------------------------------------
// Factory
//
// `wasm_factory_*`: a compiled module, shared by all cores.
// ---------------------------------------------------------------------------------------------------------------------

// An environment variable.
typedef struct wasm_env {
  // The name: not empty, without `=` and NUL.
  wasm_slice name;
  // The value, without NUL.
  wasm_slice value;
} wasm_env;

// A transform: its module and what the guest may know.
typedef struct wasm_factory_config {
  // `sizeof(wasm_factory_config)`.
  size_t size;
  // The module in Wasm's binary format.
  wasm_slice module;
  // The transform's name: in the guest `argv[0]`, and in every log line and error. Not empty.
  wasm_slice name;
  // In the guest `REDPANDA_INPUT_TOPIC`.
  wasm_slice input_topic;
  // In the guest `REDPANDA_OUTPUT_TOPIC_0`, …; the first is where records go that name no topic. Without any, every
  // write of the guest fails.
  const wasm_slice *output_topics;
  // Number of `output_topics`.
  size_t output_topic_count;
  // The guest's environment beside that.
  const wasm_env *env;
  // Number of `env`.
  size_t env_count;
} wasm_factory_config;

// Compiles a transform. What `config` holds is copied; the module is judged and compiled on a compile thread of the
// runtime, or found in its cache if it has one. Any thread.
//
// `future` becomes ready with a factory, to be had by `wasm_future_take_factory`, or fails with a
// `WASM_STATUS_MODULE_…`. It may be polled on any thread, by one at a time. Releasing it early is fine: a
// compilation that has not begun is left out; one that has goes on, and its result is dropped, or kept by the factory
// cache that was asked.
//
// Errors of the call itself: `WASM_STATUS_INVALID_ARGUMENT` and `WASM_STATUS_INVALID_UTF8` for names, topics and
// environment.
wasm_status wasm_factory_create(const wasm_runtime *runtime,
                                const wasm_factory_config *config,
                                wasm_future **future,
                                wasm_error **error);

// Another reference to the factory, for another owner. Any thread. NULL gives NULL.
wasm_factory *wasm_factory_clone(const wasm_factory *factory);

// Gives one reference up. Engines made from the factory go on living. Any thread. NULL is fine.
void wasm_factory_release(wasm_factory *factory);

// ---------------------------------------------------------------------------------------------------------------------
// Future
//
// `wasm_future_*`: an operation that is going on.
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
// This struct has no `size` because it is read with every poll. It will not grow.
typedef struct wasm_waker {
  // The host's own.
  void *data;
  // Schedules a poll. NULL for a host that polls anyway.
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

// Drives the operation on.
//
// With `WASM_STATUS_OK`, `state` is written: `WASM_POLL_READY` when the operation is over and succeeded, `…_PENDING` when
// it waits for what its waker will tell of, `…_YIELDED` when the guest used up its time slice or there is another step
// (`wasm_poll`). With a status from 1
// to 19 the call was wrong and the operation goes on as if it had not been made; so it does on a thread that cannot run
// guests (`WASM_STATUS_SIGNALS_BLOCKED`, `WASM_STATUS_THREAD_NOT_PREPARED`), to be polled again when that is mended. With any other status the operation is
// over and failed, `error` has the story, and an engine is stopped and can be started again.
//
// `waker` may be NULL for a host that polls anyway; see `wasm_waker` for what becomes of it, in every case. The sink of a
// transform is called from here. A future of an engine must be polled on the engine's thread.
wasm_status wasm_future_poll(wasm_future *future, const wasm_waker *waker, wasm_poll *state, wasm_error **error);

// Takes the factory out of a future that is ready. `WASM_STATUS_NO_RESULT` if it was taken before, or the future is of
// another kind; `WASM_STATUS_INVALID_STATE` if it is not ready. The future must still be released.
wasm_status wasm_future_take_factory(wasm_future *future, wasm_factory **factory, wasm_error **error);

// Takes the artifact out of a future of `wasm_runtime_precompile` that is ready, to be released with
// `wasm_bytes_release`. Errors as of `wasm_future_take_factory`.
wasm_status wasm_future_take_artifact(wasm_future *future, wasm_bytes **artifact, wasm_error **error);

// Frees the future, at any time. NULL is fine.
//
// An operation that is going on is cancelled: a start or a transform ends with a stopped engine, which can be started
// again, because its guest has seen part of a batch that goes away, and so does that of a shared engine's user, whether its
// turn had come or not; a replacement is given up, and the engine stays as it was; a compilation that has not
// begun is left out; one that has goes on, and its result is dropped, or kept by the factory cache that was asked.
// `WASM_STATUS_WRONG_THREAD` or `WASM_STATUS_BUSY`, and nothing is freed, when a future of an engine is released on
// another thread or from a callback of that engine.
wasm_status wasm_future_release(wasm_future *future, wasm_error **error);

// ---------------------------------------------------------------------------------------------------------------------
// Engine
//
// `wasm_engine_*`: one running guest on one core.
// ---------------------------------------------------------------------------------------------------------------------

// Settings of an engine.
typedef struct wasm_engine_config {
  // `sizeof(wasm_engine_config)`.
  size_t size;
  // 1: a user of the one engine that the calling thread shares for this factory. The first user makes that, the last
  // one takes it along. To its host each user is an engine of its own, and stopped; what is shared is the guest,
  // with its memory. Default 0.
  //
  // Starting starts the guest if no user has it running, else is over at once, or when the start that is going on
  // is. Transforms queue, first come, first served. The user at the front drives the guest with its own polls; the
  // others' futures are pending until it is their turn. So a user that does not poll its future, or whose sink does
  // not settle its promise, holds the others up; releasing the future, or the user, lets them go on.
  //
  // A failure is that of the user whose batch it was, and so is a cancelled transform: this user is stopped. The
  // next one in the queue starts the guest again before its batch, as part of its own operation, and if that start
  // fails, so does this operation. Stopping a user leaves the guest to the others; with the last one that is started
  // it goes, and its memory.
  //
  // Policies and statistics are each user's own. Host functions and log lines see the engine and the user data of
  // the user whose turn it is, or was last. `wasm_engine_get_memory_size` is the guest's. The metrics know one
  // engine, whose restarts and errors count once.
  uint32_t shared;
} wasm_engine_config;

// How a callback answers.
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
} wasm_output_record;

// Receives the output of one `wasm_engine_transform`.
typedef struct wasm_output_sink {
  // `sizeof(wasm_output_sink)`.
  size_t size;
  // The host's own.
  void *data;
  // Frees `data`. Called exactly once for every sink that was passed to `wasm_engine_transform`, even if that call
  // failed. May be NULL.
  void (*drop)(void *data);
  // Takes a block of `count` records in the order in which the guest wrote them. `count` is at least 1. Returns a
  // `wasm_callback_result`.
  //
  // Called by `wasm_future_poll` on the engine's thread and on the host's own stack. The records and their
  // payloads are valid until the callback returns. If the callback returns pending, they stay valid until the
  // promise is settled or the operation ends early. The guest does not run during that time. An operation ends
  // early when its future is released or its engine is stopped or released. `drop` reports that end. A thread that
  // reads the records must have finished when `drop` returns.
  //
  // The callback must not throw. Functions that would change the state of the same engine return
  // `WASM_STATUS_BUSY`. So do polling and releasing a future of the engine.
  wasm_callback_result (*records)(void *data, const wasm_output_record *records, size_t count, wasm_call *call);
} wasm_output_sink;

// A transform: a batch for the guest, and where the output goes.
typedef struct wasm_transform_args {
  // `sizeof(wasm_transform_args)`.
  size_t size;
  // A Kafka record batch, magic 2, as it is on the wire, compressed or not, and nothing after it. It is borrowed, not
  // copied, and must stay unchanged until the operation is over: until its future is ready, has failed, or is
  // released, or the engine is stopped or released.
  wasm_slice batch;
  // Gets the guest's output, in the order of its writes, while the operation is polled. It is copied, and dropped when
  // the operation is over, or when the call fails.
  const wasm_output_sink *sink;
  // The index of the first record that the guest gets. Default 0. After a failure, to go on behind the record that
  // failed, or to try that one again. The guest is told how many records are left; indices in errors still count
  // from the batch's first record.
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

// Makes an engine that belongs to the calling thread. It is stopped. Cheap: nothing is instantiated yet. `config` may
// be NULL for the defaults.
//
// `WASM_STATUS_INVALID_STATE` for a shared one if the thread is at its very end.
wasm_status wasm_engine_create(const wasm_factory *factory,
                               const wasm_engine_config *config,
                               wasm_engine **engine,
                               wasm_error **error);

// Puts a new version in the engine's place while it works: make before break.
//
// The guest of `factory` is started, by polls of `future`, while the old one goes on to be fed. When it is started and
// no operation of the engine is going on, or at the end of the one that is, the engine is the new one's, and the old
// guest is stopped and freed. `future` is ready then. If the new guest fails to start, `future` fails with the reason,
// and the old one stays. An engine that was stopped is started then, and a `wasm_engine_start` after that is over at
// once. Under a policy, a start that waits because the old guest failed is over with the new one's: its
// waker is called, whatever the timer does.
//
// Releasing `future` early gives the new guest up; so do stopping and releasing the engine, with
// `WASM_STATUS_CANCELLED` for `future`. A user of a shared engine becomes one of the new factory's. Policy, tally and
// user data stay. Metrics go on under the new factory's name.
//
// For that while there are two guests: a pool must have room for both, else `future` fails with
// `WASM_STATUS_POOL_EXHAUSTED`. `WASM_STATUS_INVALID_STATE` while another replacement is going on; and as
// `wasm_engine_start`.
wasm_status wasm_engine_replace(wasm_engine *engine,
                                const wasm_factory *factory,
                                wasm_future **future,
                                wasm_error **error);

// Starts the guest: instantiates the module and lets it run until it waits for a batch.
//
// `future` becomes ready when it does, or fails: with a `WASM_STATUS_GUEST_…`, or with `WASM_STATUS_POOL_EXHAUSTED` if there is
// no memory or stack for it. `WASM_STATUS_INVALID_STATE` if the engine is not stopped, or the thread is at its very end,
// where what libraries keep for each thread is gone; and in memory mode
// `WASM_MEMORY_MODE_THREAD_POOL` `WASM_STATUS_THREAD_NOT_PREPARED` on a thread without a pool.
wasm_status wasm_engine_start(wasm_engine *engine, wasm_future **future, wasm_error **error);

// Gives the guest one record batch.
//
// It is checked here, as a whole: with a `WASM_STATUS_BATCH_…` nothing has reached the guest and the engine is as it
// was. A compressed one is decompressed here, on the calling thread.
//
// What an input record gave rise to is handed over to the sink whole, after the guest has finished that record; only if
// it exceeds `output_buffer_limit` it comes in parts.
//
// `future` becomes ready when the guest asks for the next batch and the sink has everything. It fails with a
// `WASM_STATUS_GUEST_…` when the guest ends; the sink then has the output of all records before the one that the error
// names. It fails with `WASM_STATUS_OUTPUT_REJECTED` when the sink fails. In both cases the engine is stopped.
//
// Errors of the call itself: `WASM_STATUS_INVALID_STATE` if the engine is not idle, `WASM_STATUS_INVALID_ARGUMENT` if the
// batch has no record `first_record`. With `WASM_STATUS_INVALID_STRUCT_SIZE` the sink is not dropped, because `args` or
// the sink cannot be read.
wasm_status wasm_engine_transform(wasm_engine *engine,
                                  const wasm_transform_args *args,
                                  wasm_future **future,
                                  wasm_error **error);

// `wasm_engine_transform` and the first `wasm_future_poll` in one call. A batch whose transform is over at once, as that
// of nearly every small batch is, needs no future and saves a tenth of its time.
//
// `state` gets what the poll found, and `future` gets NULL if that is ready, else the future, to be polled on. `waker`,
// which may be NULL, is consumed as by `wasm_future_poll`, also when this call fails.
//
// Errors as of both calls; then the operation is over, there is no future, and the sink has been dropped. Only what a
// later poll can mend, such as `WASM_STATUS_SIGNALS_BLOCKED`, is left to that one to tell: the state is yielded then.
wasm_status wasm_engine_transform_and_poll(wasm_engine *engine,
                                           const wasm_transform_args *args,
                                           const wasm_waker *waker,
                                           wasm_poll *state,
                                           wasm_future **future,
                                           wasm_error **error);

// Stops the guest, whatever it is doing, and frees its memory and stack. A start or transform that is going on fails with
// `WASM_STATUS_CANCELLED`. Stopping a stopped engine is fine.
//
// `future` is ready at the first poll; it may be released unpolled.
wasm_status wasm_engine_stop(wasm_engine *engine, wasm_future **future, wasm_error **error);

// Attaches a pointer of the host's to the engine, which host functions get from `wasm_call_user_data`. The library never
// follows it.
wasm_status wasm_engine_set_user_data(wasm_engine *engine, void *user_data, wasm_error **error);

// What the engine is doing.
wasm_status wasm_engine_get_state(const wasm_engine *engine, wasm_engine_state *state, wasm_error **error);

// Bytes of linear memory that the guest has; 0 if there is none.
wasm_status wasm_engine_get_memory_size(const wasm_engine *engine, uint64_t *bytes, wasm_error **error);

// Stops and frees the engine. Futures of it may be released later; polling them gives `WASM_STATUS_CANCELLED`. NULL is
// fine.
//
// `WASM_STATUS_WRONG_THREAD` or `WASM_STATUS_BUSY`, and nothing is freed, on another thread or from one of the engine's
// own callbacks.
wasm_status wasm_engine_release(wasm_engine *engine, wasm_error **error);

// ---------------------------------------------------------------------------------------------------------------------
// Batch
//
// `wasm_batch_*` and `wasm_payload_*`: record batches and record payloads for hosts and tools.
// ---------------------------------------------------------------------------------------------------------------------

// A key or a value: bytes, or null.
typedef struct wasm_field {
  // The first byte; may be NULL when `size` is not positive.
  const uint8_t *data;
  // Number of bytes; −1 for null.
  int64_t size;
} wasm_field;

// A header of a record.
typedef struct wasm_header {
  // The header's key; must not be null.
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
  // Offset of the batch. Default 0.
  int64_t base_offset;
  // Default none.
  wasm_compression compression;
  // 1: all records have the time `append_timestamp`, the broker's, instead of their own. Default 0.
  uint32_t append_time;
  // Milliseconds since 1970, with `append_time`.
  int64_t append_timestamp;
} wasm_batch_config;

// Reads the header at the front of `bytes`, after which more batches may follow: `total_size` tells where. Checks that
// the whole batch is there, but neither its CRC nor its records. `WASM_STATUS_BATCH_TRUNCATED`, `…_MAGIC`, `…_MALFORMED`.
wasm_status wasm_batch_read_header(wasm_slice bytes, wasm_batch_header *header, wasm_error **error);

// Takes a payload apart. `payload`'s fields point into `bytes`. Its headers are written to `headers`, which has room for
// `header_capacity`; `payload->headers` is that array, and `payload->header_count` is the number of headers that there are:
// if it is larger than the capacity, call again with more room, and do not use `payload` for anything else.
//
// `WASM_STATUS_BATCH_MALFORMED` if the bytes are not key, value and headers and nothing else.
wasm_status wasm_payload_read(wasm_slice bytes,
                              wasm_payload *payload,
                              wasm_header *headers,
                              size_t header_capacity,
                              wasm_error **error);

// Makes a builder with no records in it.
wasm_status wasm_batch_builder_create(const wasm_batch_config *config,
                                      wasm_batch_builder **builder,
                                      wasm_error **error);

// Forgets the records and begins another batch; memory is kept. The view that `wasm_batch_builder_finish` gave ends.
wasm_status wasm_batch_builder_reset(wasm_batch_builder *builder, const wasm_batch_config *config, wasm_error **error);

// Adds a record. `offset` is its Kafka offset, at least one more than the last one's, or −1 for the next. `timestamp` is in
// milliseconds since 1970.
wasm_status wasm_batch_builder_add(wasm_batch_builder *builder,
                                   int64_t offset,
                                   int64_t timestamp,
                                   const wasm_payload *payload,
                                   wasm_error **error);

// Adds a record whose payload is encoded already, such as one from a transform. Else as `wasm_batch_builder_add`.
wasm_status wasm_batch_builder_add_encoded(wasm_batch_builder *builder,
                                           int64_t offset,
                                           int64_t timestamp,
                                           wasm_slice payload,
                                           wasm_error **error);

// Packs what was added into a batch. `batch` gets a view that ends when the builder is next used or released. More records
// may be added afterwards.
wasm_status wasm_batch_builder_finish(wasm_batch_builder *builder, wasm_slice *batch, wasm_error **error);

// Frees the builder. NULL is fine.
void wasm_batch_builder_release(wasm_batch_builder *builder);

// ---------------------------------------------------------------------------------------------------------------------
// Task
//
// `wasm_task_*` and `wasm_future_spawn`: the library polls on a loop that the host lends.
// ---------------------------------------------------------------------------------------------------------------------

// A loop of the host's that runs tasks.
typedef struct wasm_executor {
  // `sizeof(wasm_executor)`.
  size_t size;
  // The host's own.
  void *data;
  // Frees `data`, once, when the task is gone, on any thread; also if `wasm_future_spawn` fails. May be NULL.
  void (*drop)(void *data);
  // Takes a task, which it owns from then on, and has `wasm_task_run` called with it once, later, on the thread to which
  // the future belongs. Called on any thread: the one that spawns, runs, settles or releases a promise, or stops or
  // releases the engine, which is busy then. Must not throw, and must not run the task itself.
  void (*schedule)(void *data, wasm_task *task);
} wasm_executor;

// What is called when a task is over.
typedef struct wasm_completion {
  // `sizeof(wasm_completion)`.
  size_t size;
  // The host's own.
  void *data;
  // Frees `data`, once, after `complete` or instead of it, on any thread; also if `wasm_future_spawn` fails. May be NULL.
  void (*drop)(void *data);
  // Called at most once, by `wasm_task_run`: with the operation's status; its error, owned, NULL with
  // `WASM_STATUS_OK`; and the future, owned, for `wasm_future_take_factory` and to be released, also later. With a status
  // below 20 the operation is not over: see `wasm_task_run`. Must not throw.
  void (*complete)(void *data, wasm_status status, wasm_error *error, wasm_future *future);
} wasm_completion;

// Has `executor` poll the future until it is over, and then calls `completion`. Takes the future over, with
// `WASM_STATUS_OK`; `executor` and `completion` in any case.
//
// To cancel, stop or release the engine: the task then completes with `WASM_STATUS_CANCELLED`.
wasm_status wasm_future_spawn(wasm_future *future,
                              const wasm_executor *executor,
                              const wasm_completion *completion,
                              wasm_error **error);

// Polls the task's future once, and either completes the task, or has it scheduled again, or leaves it until it is woken.
// Takes the task over with `WASM_STATUS_OK`; with `WASM_STATUS_WRONG_THREAD`, `…_INVALID_STATE`, or `…_BUSY` when this is a
// callback of the engine that the task would poll, nothing happens, and it is still to be run.
//
// On a thread that cannot run guests the task completes with `WASM_STATUS_SIGNALS_BLOCKED` or
// `WASM_STATUS_THREAD_NOT_PREPARED`, though its operation is not over: the future can be spawned again, or released.
wasm_status wasm_task_run(wasm_task *task, wasm_error **error);

// Gives a scheduled task back without running it: the loop is going down. The operation is cancelled, `complete` is not
// called. To be called on the future's thread; elsewhere `WASM_STATUS_WRONG_THREAD`, with a task that is not scheduled
// `…_INVALID_STATE`, from a callback of its engine `…_BUSY`, and nothing happens. NULL is fine.
wasm_status wasm_task_release(wasm_task *task, wasm_error **error);

// ---------------------------------------------------------------------------------------------------------------------
// Promise
//
// `wasm_promise_*`: how a callback answers later.
// ---------------------------------------------------------------------------------------------------------------------

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

// Keeps a promise that expects no value: what was asked for is done. Wakes the waiting future, if it waits.
//
// On any thread, by one thread at a time. `WASM_STATUS_PROMISE_SETTLED` if it was settled before;
// `WASM_STATUS_INVALID_ARGUMENT`, and it is not settled, if it expects something else. If the engine has been stopped or
// released, nothing happens and the status is OK.
wasm_status wasm_promise_resolve(wasm_promise *promise, wasm_error **error);

// Keeps the promise of a host function with its results, as many and of such types as its signature has; or that of a
// schema registry's `create_schema` with one I32, the id. Else as `wasm_promise_resolve`.
wasm_status wasm_promise_resolve_values(wasm_promise *promise,
                                        const wasm_value *values,
                                        size_t count,
                                        wasm_error **error);

// Keeps the promise of a host function by way of code that runs later, on the engine's thread, when it can use the guest's
// memory. `continuation` is copied, its `data` taken over in any case. Else as `wasm_promise_resolve`.
wasm_status wasm_promise_resolve_with(wasm_promise *promise, const wasm_continuation *continuation, wasm_error **error);

// Breaks the promise; `reason` is text for the error of whoever waits, in which bytes that are not UTF-8 are written as
// `\xNN`. Else as `wasm_promise_resolve`.
wasm_status wasm_promise_reject(wasm_promise *promise, wasm_slice reason, wasm_error **error);

// Frees the promise. One that was not settled counts as rejected. NULL is fine.
void wasm_promise_release(wasm_promise *promise);

// ---------------------------------------------------------------------------------------------------------------------
// Host function
//
// `wasm_runtime_register_function` and `wasm_call_*`: functions of the host's that guests call.
// ---------------------------------------------------------------------------------------------------------------------

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

// A function of the host's.
typedef struct wasm_host_function {
  // `sizeof(wasm_host_function)`.
  size_t size;
  // The module that guests import it from; not one of `redpanda_transform`, `redpanda_schema_registry`,
  // `wasi_snapshot_preview1`.
  wasm_slice module;
  // Its name there.
  wasm_slice name;
  // Their types; at most 32.
  const wasm_value_type *params;
  // Number of `params`.
  size_t param_count;
  // Their types; at most 16.
  const wasm_value_type *results;
  // Number of `results`.
  size_t result_count;
  // 1: `call` may answer pending, which costs a little with each call; else 0.
  uint32_t may_wait;
  // The host's own.
  void *data;
  // Frees `data`, once: when the runtime and everything made from it are gone, or when `wasm_runtime_register_function` fails.
  // May be NULL.
  void (*drop)(void *data);
  // The function: reads `args`, writes `results`, both as in the signature, and gives a `wasm_callback_result`. Failed ends the
  // guest, with `WASM_STATUS_HOST_FUNCTION_FAILED` and the text of `wasm_call_fail`.
  //
  // Called on the threads of engines, on the guests' stacks with `host_stack_size` bytes left, by several at once if
  // there are. Its time counts as the guest's. It must not throw and must not block; functions of its own engine answer
  // `WASM_STATUS_BUSY`.
  wasm_callback_result (*call)(void *data, wasm_call *call, const wasm_value *args, wasm_value *results);
} wasm_host_function;

// Gives guests a function of the host's. What `function` points to is copied, `data` is taken over in any case.
//
// Before the runtime's first `wasm_runtime_validate`, `…_inspect` or `wasm_factory_create`: afterwards
// `WASM_STATUS_INVALID_STATE`. `WASM_STATUS_INVALID_ARGUMENT` for a name that is taken, a module that is the library's, or
// a type that is none. A guest that imports the function with another type is refused with
// `WASM_STATUS_MODULE_IMPORT_SIGNATURE`.
wasm_status wasm_runtime_register_function(const wasm_runtime *runtime,
                                           const wasm_host_function *function,
                                           wasm_error **error);

// Takes the promise of the call that a callback is in, which then answers `WASM_CALLBACK_RESULT_PENDING`. To be settled exactly
// once, on any thread, and released.
wasm_status wasm_call_promise(wasm_call *call, wasm_promise **promise, wasm_error **error);

// Lends a range of the guest's memory, for reading and writing, until the callback returns. `bytes` gets its first byte.
//
// `WASM_STATUS_GUEST_BAD_CALL` if the range is not inside of the memory: the guest made the pointer up, and a callback that
// then answers failed needs no `wasm_call_fail` to say so. In an output sink and in a schema registry's functions there is
// no memory to lend.
wasm_status wasm_call_memory(wasm_call *call, uint32_t address, uint32_t size, uint8_t **bytes, wasm_error **error);

// Says why the callback is about to answer `WASM_CALLBACK_RESULT_FAILED`; the last reason counts. Bytes that are not UTF-8 are
// written as `\xNN`.
wasm_status wasm_call_fail(wasm_call *call, wasm_slice reason, wasm_error **error);

// The engine whose guest is calling; NULL in an output sink. Borrowed.
wasm_engine *wasm_call_engine(const wasm_call *call);

// What `wasm_engine_set_user_data` attached to that engine; NULL in an output sink.
void *wasm_call_user_data(const wasm_call *call);

// ---------------------------------------------------------------------------------------------------------------------
// Policy
//
// `wasm_engine_set_policy`: what becomes of an engine whose guest fails.
// ---------------------------------------------------------------------------------------------------------------------

// What happens when the guest ends at a record: it traps, exits, runs for too long, hits a limit, or makes a bad call.
typedef enum wasm_on_error WASM_ENGINE_ENUM_TYPE {
  // The transform fails, with the record's index and offset in the error, and the engine is stopped. The sink has the
  // output of all records before that one. The host may go on from any record: `first_record` in
  // `wasm_transform_args`.
  WASM_ON_ERROR_FAIL = 0,
  // The record is dropped and counted, the guest is started again, and the batch goes on with the next record.
  WASM_ON_ERROR_SKIP = 1,
  // As `WASM_ON_ERROR_SKIP`, but the sink gets the input record first, in a block of its own, as an output record whose
  // topic is the number of the factory's output topics. Behind the record's own headers it has four more:
  // `wasm-transform`, the transform's name; `wasm-offset`, in decimal; `wasm-error`, the name of the status; and
  // `wasm-error-message`, at most 1,024 characters. It is not counted before the sink has taken it; if the sink fails,
  // so does the transform.
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
  // rejected or dropped, the operation fails. So it does if the result is neither pending nor done.
  wasm_callback_result (*sleep)(void *data, uint64_t nanoseconds, wasm_call *call);
} wasm_timer;

// What becomes of an engine whose guest fails. Zero in any field but `size` means the default.
//
// What is promised, with at-least-once hosts in mind. Output comes once and in the order of the input records. Each
// record's output comes whole or not at all, unless it exceeds `output_buffer_limit` and comes in parts. When a transform
// is *ready*, each record's output was taken by the sink, or the record was dropped and counted, or went to the dead
// letters. When it *failed* at a record that its error names (`has_record`), the same holds for all records before
// that one, and the sink has nothing of it or from behind it. When it failed with an error that names no record, because
// the sink failed, or the guest ended between two records or did not start again, or when it was cancelled, the same holds
// for the records up to the last `input_offset` that the sink took. A guest that is started again has forgotten all that
// it knew.
typedef struct wasm_engine_policy {
  // `sizeof(wasm_engine_policy)`.
  size_t size;
  // What happens when the guest ends at a record.
  //
  // Only for what the guest did itself: `WASM_STATUS_GUEST_…`, and `WASM_STATUS_CUSTOM_ENGINE_FAILED`. Failures of the host's (`WASM_STATUS_HOST_FUNCTION_FAILED`,
  // `WASM_STATUS_OUTPUT_REJECTED`, `WASM_STATUS_SYSTEM`, …) always fail the transform, because another record would
  // fare no better. So does a guest that ends without having taken a record. One that ends between two records is
  // started again, and no record is lost.
  wasm_on_error on_error;
  // Nanoseconds from a failure to the next start. They double with each further failure in a row, up to
  // `backoff_max_ns`; what is waited is a random time between half of that and all of it. Default 1 s.
  uint64_t backoff_min_ns;
  // The longest wait. Default 30 s.
  uint64_t backoff_max_ns;
  // A guest that ran for so long since it last started, before it failed, begins a new row. Default 10 s.
  uint64_t healthy_after_ns;
  // For waiting. With it, a start that fails is tried again until it succeeds or the engine is stopped, its future
  // pending meanwhile (`wasm_engine_get_last_error` says why); and `wasm_engine_start` after a transform that failed
  // waits first. A guest that is started again within a batch, to go on behind a lost record, does not wait, unless that
  // start fails. NULL: a start that fails has failed, and none waits. The table is copied.
  const wasm_timer *timer;
} wasm_engine_policy;

// How an engine has fared since it was made.
typedef struct wasm_engine_stats {
  // `sizeof(wasm_engine_stats)`, set by the caller.
  size_t size;
  // Starts after the first one, also those that failed.
  uint64_t restarts;
  // Records that `WASM_ON_ERROR_SKIP` dropped.
  uint64_t skipped;
  // Records that the sink took as dead letters.
  uint64_t dead_lettered;
  // Failures in a row, as far as they make starts wait: 0 without a timer.
  uint64_t failures;
} wasm_engine_stats;

// Says what happens from now on when the engine's guest fails. Without a policy, every failure is its host's affair.
//
// `WASM_STATUS_INVALID_STATE` if the engine is not stopped. The timer's `data` is taken over in any case, unless with
// `WASM_STATUS_INVALID_STRUCT_SIZE`, when it cannot be read. `now` and `sleep` are called on the engine's thread, from
// within polls; they must not throw. Functions that would change the state of the same engine, or poll or release a future
// of it, answer `WASM_STATUS_BUSY`.
wasm_status wasm_engine_set_policy(wasm_engine *engine, const wasm_engine_policy *policy, wasm_error **error);

// Tells how the engine has fared. `stats.size` must be set.
wasm_status wasm_engine_get_stats(const wasm_engine *engine, wasm_engine_stats *stats, wasm_error **error);

// Why a start or a transform failed last, also when the host was not told because the policy goes on: an owned error, or
// NULL if none has failed under a policy yet.
wasm_status wasm_engine_get_last_error(const wasm_engine *engine, wasm_error **last, wasm_error **error);

// ---------------------------------------------------------------------------------------------------------------------
// Custom engine
//
// `wasm_factory_create_custom` and `wasm_work_*`: engines of the embedder's own.
// ---------------------------------------------------------------------------------------------------------------------

// An input record, as a custom engine sees it.
typedef struct wasm_input_record {
  // Key, value and headers in the encoding of a Kafka record; `wasm_payload_read` takes them apart. Can be read until the
  // operation's last answer, or `stop`. NULL when there is no record left.
  const uint8_t *payload;
  // Bytes of the payload.
  uint32_t payload_size;
  // Index in the batch, from 0.
  uint32_t index;
  // Kafka offset.
  int64_t offset;
  // Milliseconds since 1970.
  int64_t timestamp;
} wasm_input_record;

// An engine of the embedder's own: on another computer, in native code, or a dummy for tests.
//
// `start` and `transform` are steps. Each is called by `wasm_future_poll` and answers with a `wasm_callback_result`: done;
// failed; again; or pending, with a promise that it took from its call. When that promise is resolved, from any
// thread, the same step is called again, with the same arguments, until it answers done or failed. A rejected promise
// fails the step. Failures have `WASM_STATUS_CUSTOM_ENGINE_FAILED`, which policies treat as a guest's, and stop the
// engine.
//
// All callbacks but `drop` are called on the engine's thread and must not throw or block: no time limit holds for
// them. Functions that would change the state of the same engine answer `WASM_STATUS_BUSY` there. Calls of them know
// the engine and its user data (`wasm_call_engine`, `wasm_call_user_data`; not in `create`), but no guest's memory.
typedef struct wasm_custom_engine {
  // `sizeof(wasm_custom_engine)`.
  size_t size;
  // The host's own, for all engines of the factory, whose threads may use it at once.
  void *data;
  // Frees `data`, once: when the factory and its last engine are gone, and the futures of that, on the thread that gives the last of them up, or
  // when `wasm_factory_create_custom` fails. May be NULL.
  void (*drop)(void *data);
  // Makes an engine: writes its own data to `engine_data`, NULL before, and answers done or failed, at once. Called by
  // `wasm_engine_create`. NULL: the other callbacks get `data`, and `release` is not called. With another answer than done
  // nothing that was written is ever freed.
  wasm_callback_result (*create)(void *data, void **engine_data, wasm_call *call);
  // Starts the engine. NULL: it is started at once.
  wasm_callback_result (*start)(void *engine_data, wasm_call *call);
  // Transforms the records of `batch` from the one with index `first_record` on. Must not be NULL.
  //
  // `batch` is what `wasm_engine_transform` was given, checked, and can be read until the last answer, or `stop`.
  // `work` gives the records one by one, decompressed, and takes the output; it is valid until the callback returns.
  // The record that was taken from it last is the one to which output and a failure belong, unless
  // `wasm_call_fail_record` names another.
  wasm_callback_result (*transform)(void *engine_data,
                                    wasm_slice batch,
                                    uint32_t first_record,
                                    wasm_work *work,
                                    wasm_call *call);
  // Stops an engine whose `start` was called, or would have been: in whatever state it is, after a failure, too. When it
  // returns, nothing touches the batch any more; promises may still be settled, without effect. May be NULL.
  void (*stop)(void *engine_data);
  // Frees what `create` made: once, stopped, when the engine is released. May be NULL.
  void (*release)(void *engine_data);
  // Bytes of memory that the engine has now, for `wasm_engine_get_memory_size` and the metrics; asked after each step.
  // NULL: 0.
  uint64_t (*memory_size)(void *engine_data);
} wasm_custom_engine;

// Makes a factory of engines that are `engine`'s callbacks instead of a guest. Any thread.
//
// `config` is as for `wasm_factory_create`, but has no module, and its environment means nothing. What `engine` points to is
// copied; its `data` is taken over in any case, unless with `WASM_STATUS_INVALID_STRUCT_SIZE`, when it cannot be read.
// `WASM_STATUS_NULL_ARGUMENT` if `transform` is NULL; `WASM_STATUS_INVALID_ARGUMENT` and `WASM_STATUS_INVALID_UTF8` for a
// module, names and topics.
wasm_status wasm_factory_create_custom(const wasm_runtime *runtime,
                                       const wasm_factory_config *config,
                                       const wasm_custom_engine *engine,
                                       wasm_factory **factory,
                                       wasm_error **error);

// Takes the next record of the batch, the first of which is that with index `first_record`. The one before counts as
// finished: its output may go to the host, and no failure names it any more. After the last one, `record->payload` is NULL.
wasm_status wasm_work_next(wasm_work *work, wasm_input_record *record, wasm_error **error);

// Writes one output record, for the input record that was taken last, to the topic with index `topic` of the factory's.
// `payload` is key, value and headers in the encoding of a Kafka record, and is copied.
//
// What an input record gave rise to goes to the host's sink whole, when the next one is taken or the batch is done.
// `WASM_STATUS_OUTPUT_FULL`, and nothing is written, if the host must have what was written before: answer
// `WASM_CALLBACK_RESULT_AGAIN`, and write it then. `WASM_STATUS_BATCH_MALFORMED` if the payload is none;
// `WASM_STATUS_INVALID_ARGUMENT` for another topic, and for a record larger than `output_buffer_limit`.
wasm_status wasm_work_write(wasm_work *work, wasm_slice payload, uint32_t topic, wasm_error **error);

// As `wasm_call_fail`, in a custom engine's `transform`: it fails at the record with index `index`, which is the one that
// was taken last or a later one; those before it are finished. Policies go on behind it.
// `WASM_STATUS_INVALID_ARGUMENT` in callbacks that are not a custom engine's; in its `create` and `start` there is no record,
// and the index is left out.
wasm_status wasm_call_fail_record(wasm_call *call, uint32_t index, wasm_slice reason, wasm_error **error);

// Breaks the promise of a custom engine's `transform` at the record with index `index`, as `wasm_call_fail_record`. Else as
// `wasm_promise_reject`.
wasm_status wasm_promise_reject_record(wasm_promise *promise, uint32_t index, wasm_slice reason, wasm_error **error);

// ---------------------------------------------------------------------------------------------------------------------
// Schema registry
//
// `wasm_runtime_set_schema_registry` and what a registry answers with.
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
  // The schema of this id. The answer's `version` is not looked at.
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

// Gives guests a schema registry; without one, its functions tell them that it is not enabled. `registry` is copied, its
// `data` taken over in any case.
//
// Before the runtime's first `wasm_runtime_validate`, `…_inspect` or `wasm_factory_create`: afterwards
// `WASM_STATUS_INVALID_STATE`. `WASM_STATUS_NULL_ARGUMENT` if a function is missing.
wasm_status wasm_runtime_set_schema_registry(const wasm_runtime *runtime,
                                             const wasm_schema_registry *registry,
                                             wasm_error **error);

// Writes the table of a new, empty registry in memory to `registry`: for tests and tools. Its `data` is owned by whoever
// gets it: given to `wasm_runtime_set_schema_registry`, or freed by its `drop`.
wasm_status wasm_schema_registry_in_memory(wasm_schema_registry *registry, wasm_error **error);

// The answer of `get_schema` and `get_subject_schema`, copied, if it is there at once; they then answer done.
wasm_status wasm_call_return_schema(wasm_call *call, const wasm_subject_schema *schema, wasm_error **error);

// The answer of `create_schema`, if it is there at once; it then answers done.
wasm_status wasm_call_return_schema_id(wasm_call *call, int32_t id, wasm_error **error);

// Keeps the promise of `get_schema` or `get_subject_schema`; the schema is copied. Else as `wasm_promise_resolve`.
wasm_status wasm_promise_resolve_schema(wasm_promise *promise, const wasm_subject_schema *schema, wasm_error **error);

// ---------------------------------------------------------------------------------------------------------------------
// Artifact
//
// Artifacts are compiled modules that the host keeps itself: on its disk, or sent to other machines.
// ---------------------------------------------------------------------------------------------------------------------

// Compiles a module to an artifact, for an embedder that keeps compiled modules itself. The module is copied, and
// judged and compiled on a compile thread of the runtime, or found in its cache. Any thread.
//
// `future` becomes ready with an artifact, to be had by `wasm_future_take_artifact`, or fails with a
// `WASM_STATUS_MODULE_…`. Else it is like that of `wasm_factory_create`.
//
// An artifact is machine code with what has to be known about it: as long as it is kept, guard it as you would guard
// the program itself, since loading one that was forged runs what the forger wrote. Its checksum tells of accidents
// only.
//
// It fits runtimes of the same version of this library, on processors with at least the features that it was made on,
// with the same `memory_mode` and `trap_mode`, and with the same of its host functions that may wait; in memory mode
// `WASM_MEMORY_MODE_PROCESS_POOL` also with the same `pool_engines` and `memory_limit`, where these are large.
wasm_status wasm_runtime_precompile(const wasm_runtime *runtime,
                                    wasm_slice module,
                                    wasm_future **future,
                                    wasm_error **error);

// Makes a factory of an artifact instead of a module: as `wasm_factory_create`, but `module` in `config` is an
// artifact, which is copied, checked and loaded on a compile thread. What it says is checked against this runtime as
// its module would be.
//
// **The artifact is believed.** Give it nothing but bytes of `wasm_future_take_artifact` that nobody else could
// have changed.
//
// `future` fails with `WASM_STATUS_MODULE_ARTIFACT_DAMAGED` if the bytes are no artifact, or not as they were made;
// with `WASM_STATUS_MODULE_ARTIFACT_INCOMPATIBLE` if it does not fit this runtime, and a message that says what
// differs; or with any `WASM_STATUS_MODULE_…` that the module would get here. Then compile the module.
wasm_status wasm_factory_load(const wasm_runtime *runtime,
                              const wasm_factory_config *config,
                              wasm_future **future,
                              wasm_error **error);

// ---------------------------------------------------------------------------------------------------------------------
// Code cache
//
// `wasm_runtime_set_code_cache` and what is counted about it.
// ---------------------------------------------------------------------------------------------------------------------

// Where compiled modules are kept. Zero in `max_bytes` means the default.
typedef struct wasm_code_cache_config {
  // `sizeof(wasm_code_cache_config)`.
  size_t size;
  // Path of the directory, without NUL, on a local file system. It is made if only its last part is missing.
  wasm_slice directory;
  // Bytes that all entries may have together. When there are more, those used longest ago are removed; one that is
  // larger by itself is not kept. Default 1 GiB.
  uint64_t max_bytes;
} wasm_code_cache_config;

// Keeps compiled modules in a directory, where `wasm_factory_create` and `wasm_runtime_precompile` find them from then
// on: on a compile thread, without a difference but in time. `config` is copied. Any number of runtimes, processes and
// versions of this library may share a directory; entries fit only the version, processor features and configuration
// that they were made with. Loading an entry is no way around any check: limits and host functions are compared with
// the module as if it were compiled.
//
// Entries are machine code, which the process will run. So the directory and its entries must belong to this user or
// root, with no permission to write for group or others; the same goes for the directories above, after symbolic links
// in the path were resolved, except that one with the sticky bit (`/tmp`) may be writable by all. The directory and
// each entry are looked at again at each use, the directories above only here.
//
// Afterwards no trouble with the cache makes a compilation fail: it is counted, and told in the log, as a warning
// under the name of the transform at hand, at once and then once a minute at most. The log is called on compile
// threads for that.
//
// Before the runtime's first `wasm_runtime_validate`, `…_inspect`, `…_precompile` or `wasm_factory_create`: afterwards
// `WASM_STATUS_INVALID_STATE`. `WASM_STATUS_CODE_CACHE_UNUSABLE` if the directory cannot be used: the message says why and
// what to do, the runtime stays without a cache, and another directory may be tried. `WASM_STATUS_INVALID_ARGUMENT` if
// there is a cache already. Touches the disk, on the calling thread. Any thread.
wasm_status wasm_runtime_set_code_cache(const wasm_runtime *runtime,
                                        const wasm_code_cache_config *config,
                                        wasm_error **error);

// ---------------------------------------------------------------------------------------------------------------------
// Factory cache
//
// `wasm_factory_cache_*`: factories by key, each compiled once.
// ---------------------------------------------------------------------------------------------------------------------

// Settings of a factory cache. Zero in any field but `size` means the default.
typedef struct wasm_factory_cache_config {
  // `sizeof(wasm_factory_cache_config)`.
  size_t size;
  // Nanoseconds for which nobody must have used a factory before `wasm_factory_cache_get` drops it by itself. Default
  // 300,000,000,000, five minutes.
  uint64_t idle_ns;
  // Nanoseconds between two times that `wasm_factory_cache_get` looks for such factories, on the thread of whoever
  // calls it then. Default 0: never, so that `wasm_factory_cache_collect` alone drops factories.
  uint64_t collect_interval_ns;
} wasm_factory_cache_config;

// What a factory cache has, and what it counted since it was made.
typedef struct wasm_factory_cache_stats {
  // `sizeof(wasm_factory_cache_stats)`, set by the caller.
  size_t size;
  // Factories that it has.
  uint64_t entries;
  // Factories that are being compiled, or wait for a compile thread.
  uint64_t compiling;
  // Requests for a factory that was there.
  uint64_t hits;
  // Requests for one that was being compiled for somebody else.
  uint64_t joined;
  // Requests for one that was neither, also those without a module.
  uint64_t misses;
  // Compilations that were begun, also those that failed.
  uint64_t compilations;
  // Factories that were dropped because nobody used them.
  uint64_t collected;
} wasm_factory_cache_stats;

// Makes an empty cache of factories: what is asked for twice is compiled once and kept. `config` may be NULL for the
// defaults. It is for factories of this runtime only, which it keeps alive; a runtime may have several. Any thread.
wasm_status wasm_factory_cache_create(const wasm_runtime *runtime,
                                      const wasm_factory_cache_config *config,
                                      wasm_factory_cache **cache,
                                      wasm_error **error);

// Asks for a factory by its key: any bytes of the embedder's, which are copied. With an empty key it is the SHA-256 of
// the module together with all else in `config`, with names in the same order.
//
// `future` is like that of `wasm_factory_create`. It is ready from the beginning if the factory is there. If it is not,
// its module is compiled, as by `wasm_factory_create`; whoever asks for the same key meanwhile gets a future of their own
// for the same compilation. Releasing one of them takes nothing from the others; when all were released before the
// compilation began, it is left out. When it fails, all of these futures fail with the same error, and nothing is kept:
// the next request compiles again. The factory is one like any other: it and its engines may outlive the cache.
//
// With a key, `config` may be NULL, or its `module` empty: then nothing else in it is looked at, and nothing is compiled.
// If the factory is neither there nor being compiled: `WASM_STATUS_NOT_CACHED`, without a future. Where the time counts,
// ask like this first, since a module that is given is hashed on the calling thread each time: half a millisecond per
// megabyte, and several without the processor's instructions for SHA-256.
//
// A key with a module belongs to that one, with that description: `WASM_STATUS_INVALID_ARGUMENT`, and a message that
// says what differs, if the key is already that of another. A new version of a transform needs a new key, or none. Other
// errors of the call are those of `wasm_factory_create`; threads that cannot be started fail the future instead. Any
// thread.
wasm_status wasm_factory_cache_get(const wasm_factory_cache *cache,
                                   wasm_slice key,
                                   const wasm_factory_config *config,
                                   wasm_future **future,
                                   wasm_error **error);

// Drops the factories that nobody has used for at least `min_idle_ns`, with their machine code; 0 for all that nobody
// uses now. A factory is used by handles, by futures that have it, and by engines, also stopped ones; the time counts
// from when the last of them was released, on whichever thread, and does not go on while the machine sleeps. `collected`
// gets their number; it may be NULL. Takes some 30 µs for each on the calling thread. Any thread.
wasm_status wasm_factory_cache_collect(const wasm_factory_cache *cache,
                                       uint64_t min_idle_ns,
                                       uint64_t *collected,
                                       wasm_error **error);

// Fills `stats`, whose `size` the caller has set, with what is true at one moment. Any thread.
wasm_status wasm_factory_cache_get_stats(const wasm_factory_cache *cache,
                                         wasm_factory_cache_stats *stats,
                                         wasm_error **error);

// Frees the cache. Its factories go with it as far as nobody uses them, and compilations that are asked for go on; the
// runtime's compile threads end after those. NULL is fine. No other call may use the cache meanwhile.
void wasm_factory_cache_release(wasm_factory_cache *cache);

// ---------------------------------------------------------------------------------------------------------------------
// Metrics
//
// `wasm_metrics_*`: what a runtime and its engines counted.
// ---------------------------------------------------------------------------------------------------------------------

// A runtime's own numbers.
typedef struct wasm_runtime_metrics {
  // `sizeof(wasm_runtime_metrics)`, set by the caller.
  size_t size;
  // Engines that were made and not released yet.
  uint64_t engines;
  // Compiled modules in memory, and factories of custom engines.
  uint64_t factories;
  // Bytes of their machine code.
  uint64_t executable_bytes;
  // Compilations that ended, well or not; modules that were refused before are among them.
  uint64_t compilations;
  // Those that failed.
  uint64_t compilations_failed;
  // Nanoseconds that all of them took on the compile threads.
  uint64_t compile_ns;
  // Modules whose machine code was loaded, from the code cache or from an artifact.
  uint64_t loads;
  // Nanoseconds that those took, from validating and hashing to code.
  uint64_t load_ns;
  // Modules that were found in the code cache and loaded.
  uint64_t code_cache_hits;
  // Modules that were looked for in the code cache and had to be compiled.
  uint64_t code_cache_misses;
  // Entries written to the code cache.
  uint64_t code_cache_stores;
  // Entries removed because all together had more than `max_bytes`.
  uint64_t code_cache_evictions;
  // Entries ignored because they were damaged or too large, could not be loaded, or others could have written them.
  // Each is a miss, too.
  uint64_t code_cache_rejected;
  // Troubles with the code cache's directory or the disk. None of them made a compilation fail.
  uint64_t code_cache_faults;
  // Pools: one for each thread that reserved one, or the process's.
  uint64_t pools;
  // Engines that these are for.
  uint64_t pool_engines;
  // Memories of pools that engines have.
  uint64_t pool_memories_in_use;
  // Memories of pools that must be cleaned before they can be taken again.
  uint64_t pool_memories_dirty;
  // Stacks of pools that engines have.
  uint64_t pool_stacks_in_use;
  // Requests to factory caches for a factory that was there.
  uint64_t factory_cache_hits;
  // Requests to factory caches that waited for a compilation which another one had begun.
  uint64_t factory_cache_joined;
  // Requests to factory caches that found neither.
  uint64_t factory_cache_misses;
  // Factories that factory caches dropped, because nobody used them.
  uint64_t factory_cache_collected;
} wasm_runtime_metrics;

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

// One transform on one shard: all of its engines there, added up. Counters never go back while one of them is there.
typedef struct wasm_transform_metrics {
  // `sizeof(wasm_transform_metrics)`, set by the caller.
  size_t size;
  // The transform's name.
  wasm_slice transform;
  // The shard: the label that the engines' thread had when they were made.
  uint32_t shard;
  // Engines that were made and not released yet.
  uint64_t engines;
  // Nanoseconds for which engines had their thread, checks of batches, host functions and sinks included.
  uint64_t cpu_ns;
  // Bytes of linear memory that the guests have.
  uint64_t memory_bytes;
  // Bytes that they may have: `memory_limit` times `engines`.
  uint64_t memory_limit_bytes;
  // Records that guests took.
  uint64_t input_records;
  // Bytes of their keys, values and headers.
  uint64_t input_bytes;
  // Records of guests that sinks accepted.
  uint64_t output_records;
  // Bytes of their keys, values and headers.
  uint64_t output_bytes;
  // Starts of engines that were started before.
  uint64_t restarts;
  // Log lines that the host did not get, because there were too many.
  uint64_t log_suppressed_lines;
  // Nanoseconds of `cpu_ns` that went to transforms: the sum of all records' latencies.
  uint64_t latency_sum_ns;
  // Latencies of records, from the shortest to the longest. A record's latency is its batch's time on the thread,
  // without waiting, divided by the batch's records.
  const wasm_latency_bucket *latency;
  // Number of `latency`; the same, with the same ends, for all.
  size_t latency_count;
  // Failed starts and transforms by kind, each operation once; kinds that did not happen are left out.
  const wasm_error_count *errors;
  // Number of `errors`.
  size_t error_count;
  // Records at which guests failed and that were dropped, by policy.
  uint64_t skipped_records;
  // Records at which guests failed and that sinks took as dead letters, by policy.
  uint64_t dead_lettered_records;
  // Batches that wait for a shared engine.
  uint64_t queued_batches;
} wasm_transform_metrics;

// Reads the runtime's own numbers. `metrics.size` must be set. Any thread, also while engines run on others.
wasm_status wasm_runtime_get_metrics(const wasm_runtime *runtime, wasm_runtime_metrics *metrics, wasm_error **error);

// Reads all metrics and gives them as text in Prometheus's format (version 0.0.4), for an answer with
// `Content-Type: text/plain; version=0.0.4`. `docs/metrics.md` lists them. Any thread, also while engines run on others.
//
// There are some 40 lines for each transform and shard: how many of these there are is the host's affair. Runtimes of
// one process have the same names; a host that has several adds a label of its own. `text` must be freed with
// `wasm_bytes_release`.
wasm_status wasm_runtime_metrics_text(const wasm_runtime *runtime, wasm_bytes **text, wasm_error **error);

// Reads all metrics, for one transform and shard after the other to be looked at. Any thread, also while engines run
// on others. The runtime may be released before the metrics.
wasm_status wasm_metrics_create(const wasm_runtime *runtime, wasm_metrics **metrics, wasm_error **error);

// Reads all metrics anew. Takes memory only if there is more than there ever was. What was got from `metrics` before
// ends.
wasm_status wasm_metrics_update(wasm_metrics *metrics, wasm_error **error);

// Number of transforms and shards; 0 for NULL.
size_t wasm_metrics_count(const wasm_metrics *metrics);

// Writes the numbers of transform and shard `index`, from 0, in the order of names and shards; `transform.size` must be
// set. What it points to ends with the next `wasm_metrics_update` or `wasm_metrics_release`.
// `WASM_STATUS_INVALID_ARGUMENT` if there is no such index.
wasm_status wasm_metrics_get(const wasm_metrics *metrics,
                             size_t index,
                             wasm_transform_metrics *transform,
                             wasm_error **error);

// Writes the runtime's own numbers as they were when `metrics` was read; `runtime.size` must be set.
wasm_status wasm_metrics_get_runtime(const wasm_metrics *metrics, wasm_runtime_metrics *runtime, wasm_error **error);

// Frees the metrics. NULL is fine.
void wasm_metrics_release(wasm_metrics *metrics);

// ---------------------------------------------------------------------------------------------------------------------
// Profile
//
// `wasm_engine_*_profile`: where a guest spends its time.
// ---------------------------------------------------------------------------------------------------------------------

// Begins to profile the engine's guest: from now on its stack is looked at every `interval_ns` nanoseconds in which it
// runs, or 1,000,000 if that is 0, until `wasm_engine_finish_profile`. In any state; if the engine is stopped and started
// again, the profile goes on. Releasing the engine throws it away, and so does `wasm_engine_replace`, with the guest that it was
// of. The users of a shared engine share its profile.
//
// Looks are taken at the ticks of which a time slice has two, so not more often than that; where a guest loops or calls
// a function next, so what host functions take is seen at their callers, or not at all. One takes about a microsecond and
// some more for each frame, on the engine's thread, and 70 bytes; the first 1,048,576 are kept. An engine that is not
// profiled pays nothing.
//
// `WASM_STATUS_INVALID_STATE` if the engine is being profiled already or is a custom one, `WASM_STATUS_INVALID_ARGUMENT` if the interval is
// more than ten seconds, `WASM_STATUS_BUSY` from one of the engine's own callbacks.
wasm_status wasm_engine_start_profile(wasm_engine *engine, uint64_t interval_ns, wasm_error **error);

// Ends the engine's profile and gives it, as a JSON document in the processed format of Firefox's profiler, which
// https://profiler.firefox.com shows. Names of functions are those of the module; functions without one are called
// `function N`, with their index. The document has no addresses and nothing of the guest's data.
//
// `json` gets text, to be released with `wasm_bytes_release`. `WASM_STATUS_INVALID_STATE` if the engine is not being
// profiled, `WASM_STATUS_BUSY` from one of its own callbacks. Takes some milliseconds per thousand looks.
wasm_status wasm_engine_finish_profile(wasm_engine *engine, wasm_bytes **json, wasm_error **error);

#undef WASM_ENGINE_ENUM_TYPE
#ifdef __cplusplus
} // extern "C"
#endif

#endif // WASM_ENGINE_H
