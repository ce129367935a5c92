/* Keeps its thread for ever, at the first record, in the way that the value's first letter says: l loops, f fills all of
 * memory over and over, r recurses a few thousand calls deep and returns, over and over. */

#include "transform_guest.h"

extern uint8_t __heap_base;
enum { PAGE = 64 * 1024, DEPTH = 5000 };

static volatile uint32_t sink;

__attribute__((noinline)) static uint32_t recurse(uint32_t depth) {
  if (depth == 0) return sink;
  return recurse(depth - 1) * 3 + depth; /* work after the call, so that it is no loop */
}

static void on_record(const tg_record *record, void *context) {
  (void)context;
  switch (record->value.data[0]) {
    case 'l':
      for (;;) sink++;
    case 'f': {
      while (__builtin_wasm_memory_grow(0, 1) != SIZE_MAX) {
      }
      const size_t size = __builtin_wasm_memory_size(0) * PAGE - (size_t)&__heap_base;
      for (uint8_t byte = 1;; byte++) __builtin_memset(&__heap_base, byte, size);
    }
    case 'r':
      for (;;) sink = recurse(DEPTH);
    default: tg_write(record);
  }
}

void _start(void) { tg_run(on_record, NULL); }
