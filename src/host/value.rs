//! Values that cross between guests and host functions.

/// The type of a value.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum wasm_value_type {
    /// A 32-bit integer. The guest's pointers and lengths have this type.
    I32 = 0,
    /// A 64-bit integer.
    I64 = 1,
    /// A 32-bit float.
    F32 = 2,
    /// A 64-bit float.
    F64 = 3,
}

/// A value. The function's signature says which member is valid.
#[repr(C)]
#[derive(Clone, Copy)]
pub union wasm_value {
    /// With `WASM_VALUE_TYPE_I32`.
    pub i32: i32,
    /// With `WASM_VALUE_TYPE_I64`.
    pub i64: i64,
    /// With `WASM_VALUE_TYPE_F32`.
    pub f32: f32,
    /// With `WASM_VALUE_TYPE_F64`.
    pub f64: f64,
}

impl wasm_value {
    /// All bits zero.
    pub const ZERO: Self = Self { i64: 0 };

    /// The member `i32`.
    #[allow(unsafe_code)]
    pub fn as_i32(self) -> i32 {
        // SAFETY: every member is plain bits.
        unsafe { self.i32 }
    }
}

impl core::fmt::Debug for wasm_value {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("wasm_value")
    }
}

/// Parameters that a host function may have at most.
pub const MAX_PARAMS: usize = 32;
/// Results that a host function may have at most.
pub const MAX_RESULTS: usize = 16;

impl wasm_value_type {
    /// The type of a number from C.
    pub fn from_number(number: u32) -> Option<Self> {
        [Self::I32, Self::I64, Self::F32, Self::F64].into_iter().find(|&ty| ty as u32 == number)
    }

    /// Wasmtime's name of the type.
    pub fn val_type(self) -> wasmtime::ValType {
        match self {
            Self::I32 => wasmtime::ValType::I32,
            Self::I64 => wasmtime::ValType::I64,
            Self::F32 => wasmtime::ValType::F32,
            Self::F64 => wasmtime::ValType::F64,
        }
    }
}
