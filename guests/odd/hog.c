/* Takes all it can get. On a record with the value "memory" it grows its memory page by page until the host says no,
 * and reports how many pages (of 64 KiB) it has then. "table" does the same with a table, a thousand elements at a
 * time, and reports its elements. Other records are copied. */

#include "report.h"

typedef void (*__funcref function)(void);
static function table[0];

static int64_t hog_memory(void) {
  while (__builtin_wasm_memory_grow(0, 1) != SIZE_MAX) {
  }
  return (int64_t)__builtin_wasm_memory_size(0);
}

static int64_t hog_table(void) {
  while (__builtin_wasm_table_grow(table, __builtin_wasm_ref_null_func(), 1000) != -1) {
  }
  return (int64_t)(uint32_t)__builtin_wasm_table_size(table);
}

static void on_record(const tg_record *record, void *context) {
  (void)context;
  if (equals(record->value, TG_STR("memory"))) {
    report(hog_memory());
  } else if (equals(record->value, TG_STR("table"))) {
    report(hog_table());
  } else if (tg_write_payload(record->payload) < 0) {
    tg_fail(TG_STR("hog: write failed"));
  }
}

void _start(void) { tg_run(on_record, NULL); }
