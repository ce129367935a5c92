//! Writes the C header next to the build's output, names the shared library for the linker, and tells the sources which
//! Wasmtime they are built with, of which compiled modules are.

#[path = "cbindgen.rs"]
mod header;

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=src");
    println!("cargo:rerun-if-changed=crates");
    println!("cargo:rerun-if-changed=cbindgen.rs");
    println!("cargo:rerun-if-changed=cbindgen.toml");
    println!("cargo:rerun-if-changed=Cargo.lock");
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?);
    println!(
        "cargo:rustc-env=WASMTIME_VERSION={}",
        wasmtime_version(&std::fs::read_to_string(root.join("Cargo.lock"))?)?
    );
    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("wasm_engine.h");
    std::fs::write(out, header::generate(&root, &std::env::var("CARGO_PKG_VERSION")?)?)?;

    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libwasm_engine.so");
    // Wasmtime's signal handlers stay installed, so the code must stay mapped after dlclose.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    // All that is linked into the library allocates by `src/system/memory/malloc.rs`. Its tests and examples, too.
    for function in ["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc", "free"] {
        println!("cargo:rustc-link-arg=-Wl,--wrap={function}");
    }
    // A quarter of the file. Profilers want them: WASM_ENGINE_SYMBOLS=1 cargo build --release.
    println!("cargo:rerun-if-env-changed=WASM_ENGINE_SYMBOLS");
    if std::env::var_os("WASM_ENGINE_SYMBOLS").is_none() {
        println!("cargo:rustc-cdylib-link-arg=-Wl,--strip-all");
    }
    Ok(())
}

/// Wasmtime tells its version to nobody, but the lock file does.
fn wasmtime_version(lock: &str) -> Result<&str, &'static str> {
    let mut lines = lock.lines().skip_while(|line| *line != "name = \"wasmtime\"").skip(1);
    let version = lines.next().and_then(|line| line.strip_prefix("version = \""));
    version.and_then(|version| version.strip_suffix('"')).ok_or("Cargo.lock does not name the version of wasmtime")
}
