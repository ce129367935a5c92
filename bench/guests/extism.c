/* The guest of bench-extism: the functions of bench/work.h as exports of an Extism plugin, one call for each value.
 *
 * Extism keeps a call's input and output in a memory of its own, the kernel's, and a plugin copies from and to it, eight
 * bytes a call, as Extism's own PDK for C does. The output is the value behind one byte for the topic; an empty output is
 * no record. */

#include "work.h"

#define IMPORT(name) __attribute__((import_module("extism:host/env"), import_name(#name))) extism_##name
#define EXPORT(name) __attribute__((export_name(#name))) name

uint64_t IMPORT(input_length)(void);
uint32_t IMPORT(input_load_u8)(uint64_t offset);
uint64_t IMPORT(input_load_u64)(uint64_t offset);
uint64_t IMPORT(alloc)(uint64_t size);
void IMPORT(store_u8)(uint64_t place, uint32_t byte);
void IMPORT(store_u64)(uint64_t place, uint64_t bytes);
void IMPORT(output_set)(uint64_t place, uint64_t size);

enum { PAGE = 64 * 1024 };
extern uint8_t __heap_base;
static uint32_t capacity;

/* The first of two buffers that hold a value each. */
static uint8_t *first(size_t size) {
  if (size + WORK_MORE > capacity) {
    capacity = (uint32_t)(size + WORK_MORE + 15) & ~15U;
    const uint32_t pages = ((uint32_t)&__heap_base + 2 * capacity + PAGE - 1) / PAGE;
    const uint32_t have = (uint32_t)__builtin_wasm_memory_size(0);
    if (pages > have && __builtin_wasm_memory_grow(0, pages - have) == SIZE_MAX) __builtin_trap();
  }
  return &__heap_base;
}
static uint8_t *second(void) { return &__heap_base + capacity; }

static const uint8_t *input(size_t *size) {
  *size = (size_t)extism_input_length();
  uint8_t *const buffer = first(*size);
  size_t at = 0;
  for (; at + 8 <= *size; at += 8) {
    const uint64_t bytes = extism_input_load_u64(at);
    __builtin_memcpy(buffer + at, &bytes, 8);
  }
  for (; at < *size; at++) buffer[at] = (uint8_t)extism_input_load_u8(at);
  return buffer;
}

static int32_t output(uint32_t topic, const uint8_t *value, size_t size) {
  const uint64_t place = extism_alloc(size + 1);
  extism_store_u8(place, topic);
  size_t at = 0;
  for (; at + 8 <= size; at += 8) {
    uint64_t bytes;
    __builtin_memcpy(&bytes, value + at, 8);
    extism_store_u64(place + 1 + at, bytes);
  }
  for (; at < size; at++) extism_store_u8(place + 1 + at, value[at]);
  extism_output_set(place, size + 1);
  return 0;
}

int32_t EXPORT(identity)(void) {
  size_t size;
  const uint8_t *const value = input(&size);
  return output(0, value, size);
}
int32_t EXPORT(filter)(void) {
  size_t size;
  const uint8_t *const value = input(&size);
  return work_keeps(value, size) ? output(0, value, size) : 0;
}
int32_t EXPORT(redact)(void) {
  size_t size;
  const uint8_t *const value = input(&size);
  return output(0, second(), work_redact(value, size, second()));
}
int32_t EXPORT(route)(void) {
  size_t size;
  const uint8_t *const value = input(&size);
  return output(work_topic(value, size), value, size);
}
