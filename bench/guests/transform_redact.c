/* Masks a field as bench/work.h says. */

#include "transform_guest.h"
#include "work.h"

static void on_record(const tg_record *record, void *context) {
  (void)context;
  static tg_buffer buffer;
  static tg_buffer masked;
  const tg_slice value = record->value;
  tg_reserve(&masked, value.size + WORK_MORE);
  tg_slice text = {masked.data, work_redact(value.data, value.size, masked.data)};
  tg_record changed = *record;
  changed.value = text;
  if (tg_write_payload(tg_encode(&buffer, &changed)) < 0) tg_fail(TG_STR("redact: write failed"));
}

void _start(void) { tg_run(on_record, NULL); }
