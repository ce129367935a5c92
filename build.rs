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

    let soname = format!("libwasm_engine.so.{}", std::env::var("CARGO_PKG_VERSION_MAJOR")?);
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,{soname}");
    link_soname(&soname)?;
    // Wasmtime's signal handlers stay installed, so the code must stay mapped after dlclose.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    // All that is linked into the library allocates by `src/system/memory/malloc.rs`. Its tests and examples, too.
    for function in ["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc", "free"] {
        println!("cargo:rustc-link-arg=-Wl,--wrap={function}");
    }
    // Whether scripts/rustc.sh leaves symbols and debug information in the library.
    println!("cargo:rerun-if-env-changed=WASM_ENGINE_SYMBOLS");
    Ok(())
}

/// Programs look for the soname when they start. Cargo makes `libwasm_engine.so` only. This is a link beside it, for
/// what is linked with the build directory.
fn link_soname(soname: &str) -> std::io::Result<()> {
    // OUT_DIR is PROFILE/build/PACKAGE-HASH/out.
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
    let Some(profile) = out.ancestors().nth(3) else { return Ok(()) };
    match std::os::unix::fs::symlink("libwasm_engine.so", profile.join(soname)) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => Err(e),
        _ => Ok(()),
    }
}

/// Wasmtime tells its version to nobody, but the lock file does.
fn wasmtime_version(lock: &str) -> Result<&str, &'static str> {
    let mut lines = lock.lines().skip_while(|line| *line != "name = \"wasmtime\"").skip(1);
    let version = lines.next().and_then(|line| line.strip_prefix("version = \""));
    version.and_then(|version| version.strip_suffix('"')).ok_or("Cargo.lock does not name the version of wasmtime")
}
