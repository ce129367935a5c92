//! What a transform's guests may use. A runtime has bounds. A transform has its own limits within them.
//!
//! None of these is in compiled code: transforms with different limits share it.

use crate::base::config::{Config, MIN_OUTPUT_BUFFER, MIN_RECORD_TIME, WASM_PAGE};
use crate::base::error::{Error, Result};
use std::time::Duration;

/// The limits of a transform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransformLimits {
    /// Bytes of linear memory of one guest.
    pub memory: usize,
    /// Elements of all tables of one guest together.
    pub table: usize,
    /// How long a guest may run for one record or for its start.
    pub record_time: Duration,
    /// Bytes of output that one engine may hold.
    pub output_buffer: usize,
    /// Log lines per second of the guests on one shard.
    pub log_lines_per_second: u32,
    /// Lines that they may write at once.
    pub log_burst_lines: u32,
}

/// The limits that a host asks for. Zero is the runtime's.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestedLimits {
    /// Bytes.
    pub memory: u64,
    /// Elements.
    pub table: u64,
    /// Nanoseconds.
    pub record_time: u64,
    /// Bytes.
    pub output_buffer: u64,
    /// Lines.
    pub log_lines_per_second: u32,
    /// Lines.
    pub log_burst_lines: u32,
}

impl Default for TransformLimits {
    fn default() -> Self {
        Self::of(&Config::default())
    }
}

impl TransformLimits {
    /// The runtime's own.
    pub fn of(config: &Config) -> Self {
        Self {
            memory: config.memory_limit,
            table: config.table_limit,
            record_time: config.record_time_limit,
            output_buffer: config.output_buffer_limit,
            log_lines_per_second: config.log_lines_per_second,
            log_burst_lines: config.log_burst_lines,
        }
    }

    /// Those that are asked for. The error names the field, its value and the bound.
    pub fn within(config: &Config, requested: &RequestedLimits) -> Result<Self> {
        let bounds = Self::of(config);
        let size = |field, value, low, high: usize| limit(field, value, low, high as u64).map(|value| value as usize);
        let rate = |field, value: u32, high: u32| limit(field, value.into(), 1, high.into()).map(|value| value as u32);
        let time = bounds.record_time.as_nanos() as u64;
        Ok(Self {
            memory: size("memory_limit", requested.memory, WASM_PAGE as u64, bounds.memory)?,
            table: size("table_limit", requested.table, 1, bounds.table)?,
            record_time: Duration::from_nanos(limit(
                "record_time_limit_ns",
                requested.record_time,
                MIN_RECORD_TIME.as_nanos() as u64,
                time,
            )?),
            output_buffer: size(
                "output_buffer_limit",
                requested.output_buffer,
                MIN_OUTPUT_BUFFER as u64,
                bounds.output_buffer,
            )?,
            log_lines_per_second: rate(
                "log_lines_per_second",
                requested.log_lines_per_second,
                bounds.log_lines_per_second,
            )?,
            log_burst_lines: rate("log_burst_lines", requested.log_burst_lines, bounds.log_burst_lines)?,
        })
    }
}

/// One limit. Zero is the highest.
fn limit(field: &str, value: u64, low: u64, high: u64) -> Result<u64> {
    match value {
        0 => Ok(high),
        value if value > high => {
            Err(Error::invalid(format!("config field {field} is {value}: the runtime allows no more than {high}")))
        }
        value if value < low => {
            Err(Error::invalid(format!("config field {field} is {value}: the value must be at least {low}")))
        }
        value => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_the_runtimes_and_no_limit_is_above_it() {
        let config = Config { memory_limit: 1 << 20, table_limit: 100, log_burst_lines: 7, ..Config::default() };
        let of = |requested: RequestedLimits| TransformLimits::within(&config, &requested);
        assert_eq!(of(RequestedLimits::default()).unwrap(), TransformLimits::of(&config));
        let own = RequestedLimits {
            memory: 1 << 16,
            table: 100,
            record_time: 20_000,
            output_buffer: 1 << 10,
            log_lines_per_second: 1,
            log_burst_lines: 7,
        };
        let limits = of(own).unwrap();
        assert_eq!((limits.memory, limits.table, limits.record_time), (1 << 16, 100, Duration::from_micros(20)));
        assert_eq!((limits.output_buffer, limits.log_lines_per_second, limits.log_burst_lines), (1 << 10, 1, 7));
        let refused = [
            (RequestedLimits { memory: (1 << 20) + 1, ..own }, "memory_limit is 1048577: the runtime", "1048576"),
            (RequestedLimits { memory: 1, ..own }, "memory_limit is 1: the value", "at least 65536"),
            (RequestedLimits { memory: u64::MAX, ..own }, "memory_limit is 18446744073709551615", "1048576"),
            (RequestedLimits { table: 101, ..own }, "table_limit is 101", "100"),
            (RequestedLimits { record_time: 3_000_000_001, ..own }, "record_time_limit_ns is 3000000001", "3000000000"),
            (RequestedLimits { record_time: 19_999, ..own }, "record_time_limit_ns is 19999", "20000"),
            (RequestedLimits { output_buffer: 1 << 21, ..own }, "output_buffer_limit is 2097152", "1048576"),
            (RequestedLimits { output_buffer: 1023, ..own }, "output_buffer_limit is 1023", "1024"),
            (RequestedLimits { log_lines_per_second: 1001, ..own }, "log_lines_per_second is 1001", "1000"),
            (RequestedLimits { log_burst_lines: 8, ..own }, "log_burst_lines is 8", "7"),
        ];
        for (requested, field, bound) in refused {
            let why = of(requested).unwrap_err().message;
            assert!(why.contains(field) && why.ends_with(bound), "{why}");
        }
    }
}
