/* Data transforms in C, in one header.
 *
 * Licensed under the Apache License, Version 2.0. SPDX-License-Identifier: Apache-2.0
 *
 * Compile with clang for wasm32 as C11 or C++20, and include it from one source file only: the buffers below are
 * static. With -ffreestanding it needs no C library; otherwise its memory comes from realloc. C++ programs may
 * prefer transform_guest.hh.
 *
 * A transform hands a callback to tg_run, which calls it once per input record. The callback writes as many
 * records as it likes, none included:
 *
 *     static void on_record(const tg_record *record, void *context) {
 *       (void)context;
 *       tg_write(record);
 *     }
 *     TG_MAIN(on_record, NULL)
 *
 * A host begins a transform in _start. With a C library that function is the library's own and calls main. With
 * -ffreestanding -nostdlib there is none, and the program has it. TG_MAIN defines the right one.
 */
#ifndef TRANSFORM_GUEST_H
#define TRANSFORM_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#if __STDC_HOSTED__
#include <stdlib.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- What the host offers ------------------------------------------------------------------------------------
 *
 * Pointers are 32-bit offsets into the memory that the module exports as "memory"; integers are little-endian.
 * A negative result is an error: */

enum {
  TG_NO_RECORD = -1, /* there is no record to read, or no batch being transformed */
  TG_MALFORMED = -2, /* the buffer is too small, or its contents are malformed */
  TG_REFUSED = -3,   /* the write is not possible, for instance to a topic that is no output of this transform */
};

#define TG_IMPORT(name) __attribute__((import_module("redpanda_transform"), import_name(#name))) name

/* Declares the version of the ABI. Importing it is what counts; a call keeps the linker from dropping it. */
void TG_IMPORT(check_abi_version_2)(void);

/* Suspends the guest until there is a batch, and fills in its header. Returns the size in bytes of the batch's
 * largest record payload, which is how large a buffer read_next_record needs. */
int32_t TG_IMPORT(read_batch_header)(
    int64_t *base_offset, int32_t *record_count, int32_t *partition_leader_epoch, int16_t *attributes,
    int32_t *last_offset_delta, int64_t *base_timestamp, int64_t *max_timestamp, int64_t *producer_id,
    int16_t *producer_epoch, int32_t *base_sequence);

/* Reads the next record's payload into the buffer and returns its size. Asking for the next record, or for the
 * next batch, tells the host that the previous record is done with. A failed call consumes no record. */
int32_t TG_IMPORT(read_next_record)(
    uint8_t *attributes, int64_t *timestamp, int64_t *offset, uint8_t *buffer, int32_t size);

/* Writes one record payload to the first output topic. Returns the size on success. */
int32_t TG_IMPORT(write_record)(const uint8_t *payload, int32_t size);

/* The same with options: no bytes at all, or the byte 1, a varint length and that many bytes of topic name. */
int32_t TG_IMPORT(write_record_with_options)(
    const uint8_t *payload, int32_t size, const uint8_t *options, int32_t options_size);

/* WASI's fd_write. File descriptors 1 and 2 go to the host's log, line by line. Returns 0 or an error number. */
typedef struct tg_iovec {
  const uint8_t *data;
  size_t size;
} tg_iovec;
__attribute__((import_module("wasi_snapshot_preview1"), import_name("fd_write"))) uint16_t tg_fd_write(
    int32_t fd, const tg_iovec *parts, size_t part_count, size_t *written);

#undef TG_IMPORT

/* ---- Types -------------------------------------------------------------------------------------------------- */

/* Borrowed bytes. data == NULL means null, which Kafka tells apart from empty. */
typedef struct tg_slice {
  const uint8_t *data;
  size_t size;
} tg_slice;

typedef struct tg_header {
  tg_slice key; /* never null */
  tg_slice value;
} tg_header;

/* A record. What tg_run hands out is valid until the callback returns. Only the first three are written. */
typedef struct tg_record {
  tg_slice key;
  tg_slice value;
  tg_slice headers; /* still encoded, from their count on: see tg_next_header. Null: no headers */
  tg_slice payload; /* all of the above as it came from the host: see tg_write_payload */
  int64_t timestamp; /* milliseconds since 1970 */
  int64_t offset;
  uint8_t attributes;
} tg_record;

/* Bytes that are kept from record to record and only ever grow. */
typedef struct tg_buffer {
  uint8_t *data;
  size_t capacity;
} tg_buffer;

/* Some functions go unused in most guests. */
#define TG_API static __attribute__((unused))
#define TG_STR(literal) ((tg_slice){(const uint8_t *)("" literal), sizeof(literal) - 1})

/* ---- Log ---------------------------------------------------------------------------------------------------- */

/* Writes text to stdout (1) or stderr (2). The host puts a line together from as many calls as it takes. */
TG_API void tg_log(int32_t fd, tg_slice text) {
  while (text.size > 0) {
    tg_iovec part = {text.data, text.size};
    size_t written = 0;
    if (tg_fd_write(fd, &part, 1, &written) != 0 || written == 0) return;
    text.data += written;
    text.size -= written;
  }
}

enum { TG_INT_MAX = 20 }; /* characters of a decimal number: a sign and 19 digits */

/* Writes a number in decimal into the end of space. */
TG_API tg_slice tg_format_int(uint8_t space[TG_INT_MAX], int64_t number) {
  size_t at = TG_INT_MAX;
  uint64_t left = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
  do space[--at] = (uint8_t)('0' + left % 10);
  while ((left /= 10) != 0);
  if (number < 0) space[--at] = '-';
  tg_slice text = {space + at, TG_INT_MAX - at};
  return text;
}

TG_API void tg_log_int(int32_t fd, int64_t number) {
  uint8_t space[TG_INT_MAX];
  tg_log(fd, tg_format_int(space, number));
}

/* Ends the guest with a message on stderr, and a trap. */
__attribute__((noreturn)) TG_API void tg_fail(tg_slice message) {
  tg_log(2, message);
  tg_log(2, TG_STR("\n"));
  __builtin_trap();
}

/* ---- Memory ------------------------------------------------------------------------------------------------- */

/* Makes the buffer hold at least size bytes. Its contents are lost if it has to grow. */
TG_API void tg_reserve(tg_buffer *buffer, size_t size) {
  if (size <= buffer->capacity) return;
  size_t capacity = buffer->capacity * 2 > size ? buffer->capacity * 2 : size;
#if __STDC_HOSTED__
  void *data = realloc(buffer->data, capacity);
  if (data == NULL) tg_fail(TG_STR("out of memory"));
  buffer->data = (uint8_t *)data;
#else
  /* Without an allocator: fresh pages at the end of memory. Doubling keeps what is left behind below the total. */
  const size_t page = 64 * 1024;
  const size_t pages = capacity / page + 1;
  const size_t memory_end = __builtin_wasm_memory_grow(0, pages);
  if (memory_end == SIZE_MAX) tg_fail(TG_STR("out of memory"));
  buffer->data = (uint8_t *)(memory_end * page);
  capacity = pages * page;
#endif
  buffer->capacity = capacity;
}

/* ---- Decoding ------------------------------------------------------------------------------------------------
 *
 * A record payload is: key, value, varint header count, and a key and a value per header. Each key and value is a
 * varint length, where -1 means null, and that many bytes. A varint is a signed 64-bit number, zigzag-encoded
 * (0, -1, 1, -2, ... become 0, 1, 2, 3, ...), seven bits a byte, lowest first, the top bit set in all but the last.
 */

/* Takes a varint off the front of the input. */
TG_API bool tg_get_varint(tg_slice *input, int64_t *number) {
  uint64_t zigzag = 0;
  for (unsigned shift = 0; shift < 64 && input->size > 0; shift += 7) {
    const uint8_t byte = *input->data++;
    input->size--;
    zigzag |= (uint64_t)(byte & 0x7f) << shift;
    if ((byte & 0x80) == 0) {
      *number = (int64_t)(zigzag >> 1 ^ (0 - (zigzag & 1)));
      return true;
    }
  }
  return false;
}

/* Takes a length and its bytes off the front of the input. */
TG_API bool tg_get_sized(tg_slice *input, tg_slice *bytes) {
  int64_t size;
  if (!tg_get_varint(input, &size) || size < -1 || size > (int64_t)input->size) return false;
  if (size == -1) {
    bytes->data = NULL;
    bytes->size = 0;
    return true;
  }
  bytes->data = input->data;
  bytes->size = (size_t)size;
  input->data += size;
  input->size -= (size_t)size;
  return true;
}

/* Reads one header after the other:
 *
 *     tg_slice rest = record->headers;
 *     for (int64_t left = tg_header_count(&rest); left > 0; left--) {
 *       tg_header header;
 *       if (!tg_next_header(&rest, &header)) break;
 *       ...
 */
TG_API int64_t tg_header_count(tg_slice *rest) {
  int64_t count;
  return tg_get_varint(rest, &count) ? count : 0;
}

TG_API bool tg_next_header(tg_slice *rest, tg_header *header) {
  return tg_get_sized(rest, &header->key) && tg_get_sized(rest, &header->value);
}

/* Fills in key, value, headers and payload. */
TG_API bool tg_decode(tg_slice payload, tg_record *record) {
  record->payload = payload;
  tg_slice rest = payload;
  if (!tg_get_sized(&rest, &record->key) || !tg_get_sized(&rest, &record->value)) return false;
  record->headers = rest;
  return true;
}

/* ---- Encoding ----------------------------------------------------------------------------------------------- */

enum { TG_VARINT_MAX = 10 }; /* bytes */

TG_API uint8_t *tg_put_varint(uint8_t *at, int64_t number) {
  uint64_t zigzag = (uint64_t)number << 1 ^ (uint64_t)(number >> 63);
  for (; zigzag >= 0x80; zigzag >>= 7) *at++ = (uint8_t)(zigzag | 0x80);
  *at++ = (uint8_t)zigzag;
  return at;
}

TG_API uint8_t *tg_put_bytes(uint8_t *at, tg_slice bytes) {
  if (bytes.size > 0) __builtin_memcpy(at, bytes.data, bytes.size);
  return at + bytes.size;
}

TG_API uint8_t *tg_put_sized(uint8_t *at, tg_slice bytes) {
  return tg_put_bytes(tg_put_varint(at, bytes.data == NULL ? -1 : (int64_t)bytes.size), bytes);
}

/* Encodes headers into the buffer. The result is meant for tg_record's headers. */
TG_API tg_slice tg_encode_headers(tg_buffer *buffer, const tg_header *headers, size_t count) {
  size_t size = TG_VARINT_MAX;
  for (size_t i = 0; i < count; i++) size += 2 * TG_VARINT_MAX + headers[i].key.size + headers[i].value.size;
  tg_reserve(buffer, size);
  uint8_t *at = tg_put_varint(buffer->data, (int64_t)count);
  for (size_t i = 0; i < count; i++) at = tg_put_sized(tg_put_sized(at, headers[i].key), headers[i].value);
  tg_slice encoded = {buffer->data, (size_t)(at - buffer->data)};
  return encoded;
}

/* Encodes a record's key, value and headers into the buffer. */
TG_API tg_slice tg_encode(tg_buffer *buffer, const tg_record *record) {
  tg_reserve(buffer, 3 * TG_VARINT_MAX + record->key.size + record->value.size + record->headers.size);
  uint8_t *at = tg_put_sized(tg_put_sized(buffer->data, record->key), record->value);
  at = record->headers.data == NULL ? tg_put_varint(at, 0) : tg_put_bytes(at, record->headers);
  tg_slice encoded = {buffer->data, (size_t)(at - buffer->data)};
  return encoded;
}

/* ---- Writing ------------------------------------------------------------------------------------------------ */

/* Writes a payload that is encoded already, such as an input record's. Returns its size or an error. */
TG_API int32_t tg_write_payload(tg_slice payload) { return write_record(payload.data, (int32_t)payload.size); }

/* Writes a record to the first output topic. Returns the size of its payload or an error. */
TG_API int32_t tg_write(const tg_record *record) {
  static tg_buffer buffer;
  return tg_write_payload(tg_encode(&buffer, record));
}

/* Writes a record to the named output topic. Returns the size of its payload or an error. */
TG_API int32_t tg_write_to(tg_slice topic, const tg_record *record) {
  static tg_buffer buffer, options;
  const tg_slice payload = tg_encode(&buffer, record);
  tg_reserve(&options, 1 + TG_VARINT_MAX + topic.size);
  options.data[0] = 1;
  const uint8_t *end = tg_put_sized(options.data + 1, topic);
  return write_record_with_options(
      payload.data, (int32_t)payload.size, options.data, (int32_t)(end - options.data));
}

/* ---- Main loop ---------------------------------------------------------------------------------------------- */

typedef void (*tg_on_record)(const tg_record *record, void *context);

/* Calls on_record for each input record, for ever. */
__attribute__((noreturn)) TG_API void tg_run(tg_on_record on_record, void *context) {
  static tg_buffer input;
  check_abi_version_2();
  for (;;) {
    int64_t base_offset, base_timestamp, max_timestamp, producer_id;
    int32_t record_count, leader_epoch, last_offset_delta, base_sequence;
    int16_t batch_attributes, producer_epoch;
    const int32_t largest = read_batch_header(
        &base_offset, &record_count, &leader_epoch, &batch_attributes, &last_offset_delta, &base_timestamp,
        &max_timestamp, &producer_id, &producer_epoch, &base_sequence);
    if (largest < 0) tg_fail(TG_STR("read_batch_header failed"));
    tg_reserve(&input, (size_t)largest);

    for (; record_count > 0; record_count--) {
      tg_record record;
      const int32_t size = read_next_record(
          &record.attributes, &record.timestamp, &record.offset, input.data, (int32_t)input.capacity);
      if (size < 0) tg_fail(TG_STR("read_next_record failed"));
      const tg_slice payload = {input.data, (size_t)size};
      if (!tg_decode(payload, &record)) tg_fail(TG_STR("malformed record"));
      on_record(&record, context);
    }
  }
}

#if __STDC_HOSTED__
#define TG_MAIN(on_record, context) \
  int main(void) { tg_run(on_record, context); }
#else
#define TG_MAIN(on_record, context) \
  void _start(void) { tg_run(on_record, context); }
#endif

#ifdef __cplusplus
}
#endif

#endif /* TRANSFORM_GUEST_H */
