/* Fails in the way that the first letter of a record's value asks for, and copies other records. Built with debug
 * information: the errors have the lines marked here. */

#include "transform_guest.h"

static volatile int32_t zero;
static volatile size_t much = 1 << 20;

static inline __attribute__((always_inline)) int32_t divide(int32_t value) {
  return value / zero; /* here: inlined */
}

static __attribute__((noinline)) void middle(void) {
  zero = 0;
  zero = divide(7);
}

static __attribute__((noinline)) void fill(void) {
  uint8_t *pages = (uint8_t *)(__builtin_wasm_memory_grow(0, 17) << 16);
  __builtin_memset(pages, 1, much);
  zero = pages[7];
  __builtin_memset(pages + much, 1, much); /* here: fill */
  zero = pages[8];
}

static __attribute__((noinline)) void call(void) {
  zero = write_record((const uint8_t *)UINT32_MAX, 7); /* here: call */
  zero = 0;
}

static __attribute__((noinline)) void recurse(void) {
  if (zero < INT32_MAX) recurse(); /* here: recurse */
  zero = 0;
}

static void on_record(const tg_record *record, void *context) {
  (void)context;
  switch (record->value.size > 0 ? record->value.data[0] : 0) {
    case 'd': middle(); break; /* here: middle */
    case 'f': fill(); break; /* here: filled */
    case 'c': call(); break; /* here: called */
    case 'r': recurse(); break;
    default: zero = tg_write_payload(record->payload);
  }
}

void _start(void) { tg_run(on_record, NULL); } /* here: start */
