//! `wasm_runtime_set_code_cache` and what is counted about it.

use super::error::wasm_error;
use super::runtime::wasm_runtime;
use super::{boundary, first_size, sized};
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
    /// Path of the directory, without NUL, on a local file system. It is made if only its last part is missing.
    pub directory: wasm_slice,
    /// Bytes that all entries may have together. When there are more, those used longest ago are removed; one that is
    /// larger by itself is not kept. Default 1 GiB.
    pub max_bytes: u64,
}

/// Keeps compiled modules in a directory, where `wasm_factory_create` and `wasm_runtime_precompile` find them from then
/// on: on a compile thread, without a difference but in time. `config` is copied. Any number of runtimes, processes and
/// versions of this library may share a directory; entries fit only the version, processor features and configuration
/// that they were made with. Loading an entry is no way around any check: limits and host functions are compared with
/// the module as if it were compiled.
///
/// Entries are machine code, which the process will run. So the directory and its entries must belong to this user or
/// root, with no permission to write for group or others; the same goes for the directories above, after symbolic links
/// in the path were resolved, except that one with the sticky bit (`/tmp`) may be writable by all. The directory and
/// each entry are looked at again at each use, the directories above only here.
///
/// Afterwards no trouble with the cache makes a compilation fail: it is counted, and told in the log, as a warning
/// under the name of the transform at hand, at once and then once a minute at most. The log is called on compile
/// threads for that.
///
/// Before the runtime's first `wasm_runtime_validate`, `…_inspect`, `…_precompile` or `wasm_factory_create`: afterwards
/// `WASM_STATUS_INVALID_STATE`. `WASM_STATUS_CODE_CACHE_UNUSABLE` if the directory cannot be used: the message says why and
/// what to do, the runtime stays without a cache, and another directory may be tried. `WASM_STATUS_INVALID_ARGUMENT` if
/// there is a cache already. Touches the disk, on the calling thread. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_runtime_set_code_cache(
    runtime: *const wasm_runtime,
    config: *const wasm_code_cache_config,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let runtime = scope.handle(runtime, "runtime")?;
        // SAFETY: the header says so; and all zeros is a valid config.
        let config = unsafe { sized(config, first_size!(wasm_code_cache_config, max_bytes), "config")? };
        let directory = config.directory.bytes(scope, "directory")?;
        if directory.is_empty() || directory.contains(&0) {
            return Err(Error::invalid("config field directory is empty or has a NUL; it must be a path"));
        }
        let max_bytes = if config.max_bytes == 0 { DEFAULT_MAX_BYTES } else { config.max_bytes };
        runtime.runtime.set_code_cache(Path::new(OsStr::from_bytes(directory)), max_bytes)
    })
}
