//! What an embedder can set, with its defaults, in the library's own terms.

use crate::error::{Error, Result};
use std::time::Duration;

/// A runtime's settings, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bytes of linear memory that one engine may have.
    pub memory_limit: usize,
    /// Elements that all tables of one engine may have together.
    pub table_limit: usize,
    /// Bytes of stack for the guest's own frames.
    pub guest_stack: usize,
    /// Bytes of stack beyond `guest_stack`, for the host functions that a guest calls.
    pub host_stack: usize,
    /// How long a guest may run before its host gets the thread back.
    pub time_slice: Duration,
    /// How long a guest may run for one record, or for its start.
    pub record_time_limit: Duration,
    /// Bytes of output that one engine may hold; so no record may be larger.
    pub output_buffer_limit: usize,
    /// Bytes of a module.
    pub max_module_size: usize,
    /// Bytes of a batch, before and after decompression.
    pub max_batch_size: usize,
    /// Bytes of a log line; a longer one is cut into several.
    pub max_log_line: usize,
    /// Threads that compile.
    pub compile_threads: usize,
    /// Whether a batch's CRC is compared with its content.
    pub check_crc: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            memory_limit: 64 << 20,
            table_limit: 1 << 20,
            guest_stack: 512 << 10,
            host_stack: 256 << 10,
            time_slice: Duration::from_micros(500),
            record_time_limit: Duration::from_secs(3),
            output_buffer_limit: 1 << 20,
            max_module_size: 64 << 20,
            max_batch_size: 128 << 20,
            max_log_line: 8 << 10,
            compile_threads: 1,
            check_crc: true,
        }
    }
}

/// Bytes in a page of linear memory.
pub const WASM_PAGE: usize = 64 << 10;

impl Config {
    /// Refuses what could not work, with the field's name and its bounds.
    pub fn check(&self) -> Result<()> {
        fn within(field: &str, value: u128, low: u128, high: u128) -> Result<()> {
            if (low..=high).contains(&value) {
                return Ok(());
            }
            Err(Error::invalid(format!("config field {field} is {value}; it must be between {low} and {high}")))
        }
        within("memory_limit", self.memory_limit as u128, WASM_PAGE as u128, 4 << 30)?;
        within("table_limit", self.table_limit as u128, 1, u32::MAX.into())?;
        within("guest_stack_size", self.guest_stack as u128, 16 << 10, 256 << 20)?;
        within("host_stack_size", self.host_stack as u128, 64 << 10, 256 << 20)?;
        within("time_slice_ns", self.time_slice.as_nanos(), 20_000, 10_000_000_000)?;
        within("record_time_limit_ns", self.record_time_limit.as_nanos(), 20_000, 86_400_000_000_000)?;
        within("output_buffer_limit", self.output_buffer_limit as u128, 1 << 10, 1 << 30)?;
        within("max_module_size", self.max_module_size as u128, 8, 1 << 30)?;
        within("max_batch_size", self.max_batch_size as u128, 61, i32::MAX as u128)?;
        within("max_log_line", self.max_log_line as u128, 64, 1 << 20)?;
        within("compile_threads", self.compile_threads as u128, 1, 256)
    }
}
