//! The library through the header as Debian's bindgen translates it; with bindgen's own tests of sizes and offsets.

#[allow(warnings)]
mod wasm_engine {
    include!(concat!(env!("BINDINGS"), "/wasm_engine.rs"));
}
use std::ffi::CStr;
use std::ptr::null_mut;
use wasm_engine::*;

#[test]
fn calls_the_library() {
    // SAFETY: as the header says at each function.
    unsafe {
        let version = CStr::from_ptr(wasm_library_version());
        assert_eq!(version.to_bytes_with_nul(), WASM_ENGINE_VERSION);
        assert_eq!(wasm_library_version_number(), WASM_ENGINE_VERSION_NUMBER);

        let (mut runtime, mut error) = (null_mut(), null_mut());
        assert_eq!(wasm_runtime_create(std::ptr::null(), &mut runtime, null_mut()), wasm_status_WASM_STATUS_OK);
        let module = wasm_slice { data: b"none".as_ptr(), size: 4 };
        let status: wasm_status = wasm_runtime_validate(runtime, module, &mut error);
        assert_eq!(status, wasm_status_WASM_STATUS_MODULE_NOT_WASM);
        assert_eq!(wasm_error_status(error), status);
        wasm_error_release(error);
        wasm_runtime_release(runtime);
    }
}
