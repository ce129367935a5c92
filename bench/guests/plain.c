/* The guest of bench-wasmer: the functions of bench/work.h over values that the host copies into memory, one call for each.
 *
 * `input` says where a value of so many bytes is to be copied to. Each function takes the value's size and returns where
 * its result is: the topic in bits 63 to 60, the place in bits 59 to 32, the size in the rest; -1 for no record. */

#include "work.h"

#define EXPORT(name) __attribute__((export_name(#name))) name

extern uint8_t __heap_base;
enum { PAGE = 64 * 1024 };
static uint32_t capacity; /* bytes of a buffer for values; there are two */

static uint8_t *second(void) { return &__heap_base + capacity; }

uint32_t EXPORT(input)(uint32_t size) {
  if (size + WORK_MORE > capacity) {
    capacity = (size + WORK_MORE + 15) & ~15U;
    const uint32_t end = (uint32_t)&__heap_base + 2 * capacity;
    const uint32_t pages = (end + PAGE - 1) / PAGE;
    const uint32_t have = (uint32_t)__builtin_wasm_memory_size(0);
    if (pages > have && __builtin_wasm_memory_grow(0, pages - have) == SIZE_MAX) __builtin_trap();
  }
  return (uint32_t)&__heap_base;
}

static int64_t result(uint32_t topic, const uint8_t *place, size_t size) {
  return (int64_t)((uint64_t)topic << 60 | (uint64_t)(uint32_t)place << 32 | size);
}

int64_t EXPORT(identity)(uint32_t size) { return result(0, &__heap_base, size); }
int64_t EXPORT(filter)(uint32_t size) {
  return work_keeps(&__heap_base, size) ? result(0, &__heap_base, size) : -1;
}
int64_t EXPORT(redact)(uint32_t size) { return result(0, second(), work_redact(&__heap_base, size, second())); }
int64_t EXPORT(route)(uint32_t size) { return result(work_topic(&__heap_base, size), &__heap_base, size); }
