//! What the library's own build script does for the wings, as far as fuzz targets need it.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=Cargo.lock");
    if std::env::var_os("CARGO_FEATURE_ENGINE").is_none() {
        return Ok(());
    }
    let lock = std::fs::read_to_string("Cargo.lock")?;
    let mut lines = lock.lines().skip_while(|line| *line != "name = \"wasmtime\"").skip(1);
    let version = lines.next().and_then(|line| line.strip_prefix("version = \"")?.strip_suffix('"'));
    println!("cargo:rustc-env=WASMTIME_VERSION={}", version.ok_or("Cargo.lock has no wasmtime")?);
    // As in the library: src/system/memory/malloc.rs.
    for function in ["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc", "free"] {
        println!("cargo:rustc-link-arg-bins=-Wl,--wrap={function}");
    }
    Ok(())
}
