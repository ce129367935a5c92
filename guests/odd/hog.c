/* Takes all it can get. On a record with the value "memory" it grows its memory page by page until the host says no,
 * and reports how many pages (of 64 KiB) it has then. "table" does the same with a table, a thousand elements at a
 * time, and reports its elements. Other records are copied. */

#include "report.h"

/* C has no tables of functions but the one for its pointers. */
__asm__(".tabletype hog_table, funcref\nhog_table:\n");

static int32_t grow_table(int32_t elements) {
  int32_t before;
  __asm__ volatile("ref.null_func\n local.get %1\n table.grow hog_table\n local.set %0\n"
                   : "=r"(before)
                   : "r"(elements));
  return before;
}

static int64_t hog_memory(void) {
  while (__builtin_wasm_memory_grow(0, 1) != SIZE_MAX) {
  }
  return (int64_t)__builtin_wasm_memory_size(0);
}

static int64_t hog_table(void) {
  while (grow_table(1000) != -1) {
  }
  return (uint32_t)grow_table(0);
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
