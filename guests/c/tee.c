/* Writes each record as many times as the first character of its value says: '0' to '9', anything else is once. */

#include "transform_guest.h"

static void on_record(const tg_record *record, void *context) {
  (void)context;
  int copies = 1;
  if (record->value.size > 0) {
    const uint8_t first = record->value.data[0];
    if (first >= '0' && first <= '9') copies = first - '0';
  }
  while (copies-- > 0) {
    if (tg_write_payload(record->payload) < 0) tg_fail(TG_STR("tee: write failed"));
  }
}

void _start(void) { tg_run(on_record, NULL); }
