/* Sends each record to one of two topics, as bench/work.h says. The options for both are written down once. */

#include "transform_guest.h"
#include "work.h"

static void on_record(const tg_record *record, void *context) {
  (void)context;
  static const uint8_t second[] = {1, 2 * 2, 'e', 'u'}; /* a varint of 2 is 4: zigzag */
  const tg_slice payload = record->payload;
  const uint32_t topic = work_topic(record->value.data, record->value.size);
  const int32_t result = topic == 0 ? tg_write_payload(payload)
                                    : write_record_with_options(
                                          payload.data, (int32_t)payload.size, second, (int32_t)sizeof(second));
  if (result < 0) tg_fail(TG_STR("route: write failed"));
}

void _start(void) { tg_run(on_record, NULL); }
