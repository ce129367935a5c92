/* Keeps the records that bench/work.h says. */

#include "transform_guest.h"
#include "work.h"

static void on_record(const tg_record *record, void *context) {
  (void)context;
  if (!work_keeps(record->value.data, record->value.size)) return;
  if (tg_write_payload(record->payload) < 0) tg_fail(TG_STR("filter: write failed"));
}

void _start(void) { tg_run(on_record, NULL); }
