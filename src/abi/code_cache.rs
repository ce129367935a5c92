//! A directory for compiled modules. With it a restarted process loads a transform in milliseconds instead of compiling
//! it again.

use super::error::wasm_error;
use super::runtime::wasm_runtime;
use super::{boundary, first_size, memory_is_there, sized};
use crate::base::error::Error;
use crate::base::status::wasm_status;
use crate::compile::code_cache::DEFAULT_MAX_BYTES;
use crate::host::slice::wasm_slice;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Where compiled modules are kept. Zero in `max_bytes` means the default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_code_cache_config {
    /// `sizeof(wasm_code_cache_config)`.
    pub size: usize,
    /// Path of the directory. Without NUL. On a local file system. The directory is created if only the last part of
    /// the path is missing.
    pub directory: wasm_slice,
    /// Bytes that all entries may have together. Beyond that the least recently used entries are removed. An entry that
    /// is larger by itself is not kept. Default 1 GiB.
    pub max_bytes: u64,
}

/// Keeps compiled modules in a directory. `wasm_factory_create` and `wasm_runtime_precompile` find them there from then
/// on. They do so on a compile thread and the only difference is the time. `config` is copied. Any number of runtimes,
/// processes and versions of this library may share a directory. An entry fits only the version, processor features and
/// configuration that it was made with. Loading an entry skips no check: limits and host functions are compared with
/// the module as if it were compiled.
///
/// Entries are machine code that the process will run. So the directory and its entries must belong to this user or
/// root. Group and others must not have permission to write. The same holds for all parent directories after symbolic
/// links are resolved. One exception: a parent with the sticky bit (`/tmp`) may be writable by all. The directory and
/// each entry are checked again at each use. The parents are checked only here.
///
/// Afterwards no fault of the cache makes a compilation fail. Faults are counted. They are also logged as a warning
/// under the name of the current transform: the first one at once and then at most one a minute. The log is called on
/// compile threads for that.
///
/// To be called before the runtime's first `wasm_runtime_validate`, `…_inspect`, `…_precompile` or
/// `wasm_factory_create`. Afterwards `WASM_STATUS_INVALID_STATE`. `WASM_STATUS_CODE_CACHE_UNUSABLE` if the directory
/// cannot be used. The message says why and what to do. The runtime stays without a cache then and another directory
/// may be tried. `WASM_STATUS_INVALID_ARGUMENT` if the runtime has a cache already. Accesses the disk on the calling
/// thread. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_runtime_set_code_cache(
    runtime: *const wasm_runtime,
    config: *const wasm_code_cache_config,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let runtime = scope.handle(runtime, "runtime")?;
        // SAFETY: the header says so. All zeros is a valid config.
        let config = unsafe { sized(config, first_size!(wasm_code_cache_config, max_bytes), "config")? };
        let directory = config.directory.bytes(scope, "directory")?;
        if directory.is_empty() || directory.contains(&0) {
            return Err(Error::invalid("config field directory is empty or has a NUL; it must be a path"));
        }
        memory_is_there()?;
        let max_bytes = if config.max_bytes == 0 { DEFAULT_MAX_BYTES } else { config.max_bytes };
        runtime.runtime.set_code_cache(Path::new(OsStr::from_bytes(directory)), max_bytes)
    })
}
