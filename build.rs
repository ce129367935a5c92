//! Writes the C header next to the build's output and names the shared library for the linker.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=src");
    println!("cargo:rerun-if-changed=cbindgen.toml");
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("wasm_engine.h");
    cbindgen::generate_with_config(&root, cbindgen::Config::from_file(root.join("cbindgen.toml"))?)?.write_to_file(out);

    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libwasm_engine.so");
    // Wasmtime's signal handlers stay installed, so the code must stay mapped after dlclose.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    // A quarter of the file. Profilers want them: WASM_ENGINE_SYMBOLS=1 cargo build --release.
    println!("cargo:rerun-if-env-changed=WASM_ENGINE_SYMBOLS");
    if std::env::var_os("WASM_ENGINE_SYMBOLS").is_none() {
        println!("cargo:rustc-cdylib-link-arg=-Wl,--strip-all");
    }
    Ok(())
}
