// SPDX-License-Identifier: Apache-2.0
//! Names the shared library for the linker, and puts a link to Wasmtime's headers beside it: target/release/include.

use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // What Wasmtime's crate says about itself to those that depend on it.
    println!("cargo:rerun-if-env-changed=DEP_WASMTIME_C_API_INCLUDE");
    println!("cargo:rerun-if-changed=build.rs");
    let headers = PathBuf::from(std::env::var("DEP_WASMTIME_C_API_INCLUDE")?);
    // OUT_DIR is target/release/build/NAME/out.
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let link = out.ancestors().nth(3).unwrap_or(Path::new("/")).join("include");
    if link.is_symlink() {
        std::fs::remove_file(&link)?;
    }
    std::os::unix::fs::symlink(headers, &link)?;
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libwasmtime.so");
    Ok(())
}
