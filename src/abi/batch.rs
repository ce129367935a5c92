//! Record batches and record payloads in Kafka's encoding. Hosts that have batches already need only
//! `wasm_payload_read`, which parses output records.

use super::error::wasm_error;
use super::{Out, boundary, first_size, sized};
use crate::base::error::{Error, Result};
use crate::base::number::wasm_compression_number;
use crate::base::status::wasm_status;
use crate::batch::builder::Builder;
use crate::batch::chunk;
use crate::batch::compression::wasm_compression;
use crate::batch::fallible;
use crate::batch::header::wasm_batch_header;
use crate::batch::payload::{Field, Parts, Payload};
use crate::host::slice::{self, wasm_slice};

/// A key or a value: bytes or null.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_field {
    /// The first byte. May be NULL when `size` is not positive.
    pub data: *const u8,
    /// Number of bytes. −1 for null.
    pub size: i64,
}

/// A header of a record.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_header {
    /// The header's key. Must not be null.
    pub key: wasm_field,
    /// The header's value.
    pub value: wasm_field,
}

/// A record's key, value and headers.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_payload {
    /// The record's key.
    pub key: wasm_field,
    /// The record's value.
    pub value: wasm_field,
    /// The headers.
    pub headers: *const wasm_header,
    /// Number of headers.
    pub header_count: usize,
}

impl wasm_field {
    fn of(field: Field<'_>) -> Self {
        match field {
            None => Self { data: core::ptr::null(), size: -1 },
            Some(bytes) => Self { data: bytes.as_ptr(), size: bytes.len() as i64 },
        }
    }

    fn field<'a>(self, name: &str) -> Result<Field<'a>> {
        match usize::try_from(self.size) {
            // SAFETY: the header says that fields in arguments can be read for the call.
            Ok(size) => unsafe { slice::bytes(self.data, size, name) }.map(Some),
            Err(_) if self.size == -1 => Ok(None),
            Err(_) => Err(Error::invalid(format!("{name} has size {}", self.size))),
        }
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
}

fn read_config(config: *const wasm_batch_config) -> Result<(wasm_compression, i64, Option<i64>)> {
    if config.is_null() {
        return Ok((wasm_compression::None, 0, None));
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
    Ok((codec, config.base_offset, (config.append_time == 1).then_some(config.append_timestamp)))
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
        let (codec, base_offset, append_time) = read_config(config)?;
        let out = Out::new(builder, "builder")?;
        let builder = Builder::new(codec, base_offset, append_time);
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
        let (codec, base_offset, append_time) = read_config(config)?;
        builder.builder.reset(codec, base_offset, append_time);
        Ok(())
    })
}

/// Adds a record. `offset` is its Kafka offset: at least one more than the last record's. −1 is the next one, or
/// `base_offset` for the first record.
/// `timestamp` is in milliseconds since 1970. `payload` is copied.
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
            key: payload.key.field("key")?,
            value: payload.value.field("value")?,
            headers: chunk::reserved(headers.len())?,
        };
        for header in headers {
            let key = header.key.field("header key")?;
            let key = key.ok_or_else(|| Error::invalid("a header's key must not be null"))?;
            parsed.headers.push((key, header.value.field("header value")?));
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
