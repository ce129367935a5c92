/* Copies every record to the output, and does nothing else: the guest of the benchmarks.
 *
 * It spells the ABI out instead of including transform_guest.h, which explains each function. */

#include <stdint.h>

#define IMPORT(name) __attribute__((import_module("redpanda_transform"), import_name(#name))) name

void IMPORT(check_abi_version_2)(void);
int32_t IMPORT(read_batch_header)(
    int64_t *base_offset, int32_t *record_count, int32_t *partition_leader_epoch, int16_t *attributes,
    int32_t *last_offset_delta, int64_t *base_timestamp, int64_t *max_timestamp, int64_t *producer_id,
    int16_t *producer_epoch, int32_t *base_sequence);
int32_t IMPORT(read_next_record)(
    uint8_t *attributes, int64_t *timestamp, int64_t *offset, uint8_t *buffer, int32_t size);
int32_t IMPORT(write_record)(const uint8_t *payload, int32_t size);

enum { PAGE = 64 * 1024 };

/* The linker puts this symbol after stack and data: from here on, all memory is the record buffer. */
extern uint8_t __heap_base;

/* Grows memory until size bytes fit into the buffer. */
static void reserve(uint32_t size) {
  const uint32_t capacity = (uint32_t)__builtin_wasm_memory_size(0) * PAGE - (uint32_t)&__heap_base;
  if (size <= capacity) return;
  if (__builtin_wasm_memory_grow(0, (size - capacity - 1) / PAGE + 1) == SIZE_MAX) __builtin_trap();
}

void _start(void) {
  int64_t base_offset, base_timestamp, max_timestamp, producer_id, timestamp, offset;
  int32_t record_count, leader_epoch, last_offset_delta, base_sequence;
  int16_t batch_attributes, producer_epoch;
  uint8_t attributes;

  check_abi_version_2(); /* the call keeps the import in the module */
  for (;;) {
    const int32_t largest = read_batch_header(
        &base_offset, &record_count, &leader_epoch, &batch_attributes, &last_offset_delta, &base_timestamp,
        &max_timestamp, &producer_id, &producer_epoch, &base_sequence);
    if (largest < 0) __builtin_trap();
    reserve((uint32_t)largest);

    for (; record_count > 0; record_count--) {
      const int32_t size = read_next_record(&attributes, &timestamp, &offset, &__heap_base, largest);
      if (size < 0 || write_record(&__heap_base, size) < 0) __builtin_trap();
    }
  }
}
