//! Enums as C gives them: any number, of which a Rust enum must not be made before it is checked. The header has the
//! enums' own names in their place (`cbindgen.toml`), so that C and C++ check types where they can.

/// A `wasm_callback_result`.
pub type wasm_callback_result_number = u32;
/// A `wasm_compression`.
pub type wasm_compression_number = u32;
/// A `wasm_memory_mode`.
pub type wasm_memory_mode_number = u32;
/// A `wasm_on_error`.
pub type wasm_on_error_number = u32;
/// A `wasm_schema_type`.
pub type wasm_schema_type_number = u32;
/// A `wasm_signal_check`.
pub type wasm_signal_check_number = u32;
/// A `wasm_status`.
pub type wasm_status_number = u32;
/// A `wasm_trap_mode`.
pub type wasm_trap_mode_number = u32;
/// A `wasm_value_type`.
pub type wasm_value_type_number = u32;
