//! Record batches and record payloads in Kafka's encoding. Hosts that have batches already need only
//! `wasm_payload_read`, which parses output records.

use super::error::wasm_error;
use super::{Out, boundary, first_size, sized};
use crate::base::error::{Error, Result};
use crate::base::number::wasm_compression_number;
use crate::base::status::wasm_status;
use crate::batch::builder::{Builder, Limits};
use crate::batch::chunk;
use crate::batch::compression::wasm_compression;
use crate::batch::fallible;
use crate::batch::header::wasm_batch_header;
use crate::batch::input::{wasm_field, wasm_header, wasm_payload};
use crate::batch::payload::{Field, Parts, Payload};
use crate::host::slice::{self, CallScope, wasm_slice};

/// A field of an argument, for as long as the caller of the export lends it. `name` is for messages.
fn field<'a>(_: &'a CallScope, raw: wasm_field, name: &str) -> Result<Field<'a>> {
    match usize::try_from(raw.size) {
        // SAFETY: the header says that fields in arguments can be read for the call.
        Ok(size) => unsafe { slice::bytes(raw.data, size, name) }.map(Some),
        Err(_) if raw.size == -1 => Ok(None),
        Err(_) => Err(Error::invalid(format!("{name} has size {}", raw.size))),
    }
}

/// Reads the header at the front of `bytes`. More batches may follow at `total_size`. Checks that the whole batch is
/// there. Checks neither its CRC nor its records. Any thread.
///
/// `WASM_STATUS_BATCH_TRUNCATED`, `…_MAGIC` or `…_MALFORMED` if there is no such batch.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_batch_read_header(
    bytes: wasm_slice,
    header: *mut wasm_batch_header,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let out = Out::new(header, "header")?;
        let header = wasm_batch_header::parse(bytes.bytes(scope, "bytes")?)?;
        header.check_counts()?;
        out.set(header);
        Ok(())
    })
}

/// Parses a payload. The fields of `payload` point into `bytes`. Headers are written to `headers`, which has room for
/// `header_capacity` of them. `payload->headers` is that array. `payload->header_count` is the number of headers in the
/// payload. If that exceeds the capacity, do not use `payload` and call again with more room. `headers` may be NULL if
/// the capacity is 0. Any thread.
///
/// `WASM_STATUS_BATCH_MALFORMED` if the bytes are not key, value and headers and nothing else.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_payload_read(
    bytes: wasm_slice,
    payload: *mut wasm_payload,
    headers: *mut wasm_header,
    header_capacity: usize,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let out = Out::new(payload, "payload")?;
        let Some(parts) = Parts::of(bytes.bytes(scope, "bytes")?) else {
            return Err(Error::new(
                wasm_status::BatchMalformed,
                "the payload is not key, value and headers and nothing else",
            ));
        };
        if header_capacity > 0 && headers.is_null() {
            return Err(Error::new(wasm_status::NullArgument, "headers is NULL, but header_capacity is not 0"));
        }
        let header_count = parts.headers.left();
        for (i, (key, value)) in parts.headers.take(header_capacity).enumerate() {
            let header = wasm_header { key: wasm_field::of(Some(key)), value: wasm_field::of(value) };
            // SAFETY: `headers` is not NULL and the header says that `header_capacity` entries can be written. `i` is
            // below that.
            unsafe { headers.add(i).write(header) }
        }
        out.set(wasm_payload {
            key: wasm_field::of(parts.key),
            value: wasm_field::of(parts.value),
            headers,
            header_count,
        });
        Ok(())
    })
}

/// Packs records into batches. Owned by the host. Used by one thread at a time.
pub struct wasm_batch_builder {
    builder: Builder,
    payload: Vec<u8>,
}

/// Settings of a batch. Zero in any field but `size` means the default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_batch_config {
    /// `sizeof(wasm_batch_config)`.
    pub size: usize,
    /// Offset of the batch. Not negative. Default 0.
    pub base_offset: i64,
    /// Default none.
    pub compression: wasm_compression_number,
    /// 1: all records have the time `append_timestamp` instead of their own. Default 0.
    pub append_time: u32,
    /// The broker's time in milliseconds since 1970. Used with `append_time`.
    pub append_timestamp: i64,
    /// Bytes that the batch may have, its header of 61 bytes included, such as a topic's `max.message.bytes`. A record
    /// that does not fit in any more is refused with `WASM_STATUS_BATCH_FULL`. A record with which a batch of its own
    /// would be too large is refused with `WASM_STATUS_BATCH_TOO_LARGE`. Counted before compression. A batch that
    /// compression would make larger than this is not compressed. Default 0: 2,147,483,647.
    pub max_bytes: u64,
    /// Records that the batch may have. Another one is refused with `WASM_STATUS_BATCH_FULL`. Default 0: no limit.
    pub max_records: u32,
}

impl wasm_batch_config {
    /// Those of the host, or the defaults.
    fn read(config: *const Self) -> Result<BatchSettings> {
        if config.is_null() {
            let (codec, limits) = (wasm_compression::None, Limits::default());
            return Ok(BatchSettings { codec, base_offset: 0, append_time: None, limits });
        }
        // SAFETY: the header says so. All zeros is a valid config.
        let config = unsafe { sized(config, first_size!(wasm_batch_config, append_timestamp), "config")? };
        let codec = wasm_compression::from_code(config.compression)
            .ok_or_else(|| Error::invalid(format!("compression {} is unknown", config.compression)))?;
        if config.append_time > 1 {
            return Err(Error::invalid(format!("append_time is {}; it must be 0 or 1", config.append_time)));
        }
        if config.base_offset < 0 {
            return Err(Error::invalid(format!("base_offset is {}; offsets are not negative", config.base_offset)));
        }
        let append_time = (config.append_time == 1).then_some(config.append_timestamp);
        let mut limits = Limits::default();
        if config.max_bytes > 0 {
            limits.bytes = limits.bytes.min(usize::try_from(config.max_bytes).unwrap_or(usize::MAX));
        }
        if config.max_records > 0 {
            limits.records = limits.records.min(config.max_records);
        }
        Ok(BatchSettings { codec, base_offset: config.base_offset, append_time, limits })
    }
}

/// What a builder begins a batch with.
struct BatchSettings {
    codec: wasm_compression,
    base_offset: i64,
    append_time: Option<i64>,
    limits: Limits,
}

/// Makes a builder with no records. `config` may be NULL for the defaults. Release the builder with
/// `wasm_batch_builder_release`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_batch_builder_create(
    config: *const wasm_batch_config,
    builder: *mut *mut wasm_batch_builder,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |_| {
        let BatchSettings { codec, base_offset, append_time, limits } = wasm_batch_config::read(config)?;
        let out = Out::new(builder, "builder")?;
        let mut builder = Builder::new(codec, base_offset, append_time);
        builder.set_limits(limits);
        out.set(Box::into_raw(Box::new(wasm_batch_builder { builder, payload: Vec::new() })));
        Ok(())
    })
}

/// Drops the records and begins another batch. Memory is kept. Ends the view that `wasm_batch_builder_finish` gave.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_batch_builder_reset(
    builder: *mut wasm_batch_builder,
    config: *const wasm_batch_config,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let builder = scope.handle_mut(builder, "builder")?;
        let BatchSettings { codec, base_offset, append_time, limits } = wasm_batch_config::read(config)?;
        builder.builder.reset(codec, base_offset, append_time);
        builder.builder.set_limits(limits);
        Ok(())
    })
}

/// Adds a record. `offset` is its Kafka offset: at least one more than the last record's. −1 is the next one, or
/// `base_offset` for the first record.
/// `timestamp` is in milliseconds since 1970. `payload` is copied.
///
/// After an error the builder is as before. `WASM_STATUS_BATCH_FULL` if the batch would exceed a limit of its config:
/// finish it, reset the builder and add the record again. `WASM_STATUS_BATCH_TOO_LARGE` if no batch can have the
/// record.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_batch_builder_add(
    builder: *mut wasm_batch_builder,
    offset: i64,
    timestamp: i64,
    payload: *const wasm_payload,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let builder = scope.handle_mut(builder, "builder")?;
        let payload = scope.handle(payload, "payload")?;
        // SAFETY: the header says that arrays in arguments can be read for the call.
        let headers = unsafe { slice::array(payload.headers, payload.header_count, "headers")? };
        let mut parsed = Payload {
            key: field(scope, payload.key, "key")?,
            value: field(scope, payload.value, "value")?,
            headers: chunk::reserved(headers.len())?,
        };
        for header in headers {
            let key = field(scope, header.key, "header key")?;
            let key = key.ok_or_else(|| Error::invalid("a header's key must not be null"))?;
            parsed.headers.push((key, field(scope, header.value, "header value")?));
        }
        builder.payload.clear();
        fallible::reserve(&mut builder.payload, parsed.encoded_size()).map_err(|_| Error::out_of_memory())?;
        parsed.put(&mut builder.payload);
        Ok(builder.builder.add(given(offset)?, timestamp, &builder.payload)?)
    })
}

/// As `wasm_batch_builder_add` for a payload that is encoded already. For example one from a transform.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_batch_builder_add_encoded(
    builder: *mut wasm_batch_builder,
    offset: i64,
    timestamp: i64,
    payload: wasm_slice,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let builder = scope.handle_mut(builder, "builder")?;
        Ok(builder.builder.add(given(offset)?, timestamp, payload.bytes(scope, "payload")?)?)
    })
}

fn given(offset: i64) -> Result<Option<i64>> {
    match offset {
        -1 => Ok(None),
        0.. => Ok(Some(offset)),
        _ => Err(Error::invalid(format!("offset is {offset}; it must be −1 or not negative"))),
    }
}

/// Writes what the batch would have if it were finished now: bytes before compression, its header of 61 bytes included,
/// and records. `record_count` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_batch_builder_size(
    builder: *const wasm_batch_builder,
    bytes: *mut u64,
    record_count: *mut u32,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let builder = scope.handle(builder, "builder")?;
        let out = Out::new(bytes, "bytes")?;
        if let Ok(count) = Out::new(record_count, "record_count") {
            count.set(builder.builder.count());
        }
        out.set(builder.builder.size() as u64);
        Ok(())
    })
}

/// Packs the added records into a batch. `batch` gets a view that ends when the builder is next used or released. So a
/// builder whose batch is being transformed must not be used until that has completed. More records may be added
/// afterwards. A batch may have no records.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_batch_builder_finish(
    builder: *mut wasm_batch_builder,
    batch: *mut wasm_slice,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let builder = scope.handle_mut(builder, "builder")?;
        let out = Out::new(batch, "batch")?;
        out.set(wasm_slice::of(builder.builder.finish()?));
        Ok(())
    })
}

/// Frees the builder. NULL does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_batch_builder_release(builder: *mut wasm_batch_builder) {
    if !builder.is_null() {
        // SAFETY: the header says that the builder came from the library and is released once.
        drop(unsafe { Box::from_raw(builder) });
    }
}
