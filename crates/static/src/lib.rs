//! The library as an archive that a C compiler can link. A crate of its own: as one more `crate-type` of the library
//! every build would write two hundred megabytes more.

pub use wasm_engine as library;
