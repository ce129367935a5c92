/* Sends a record whose value is "t:NAME\nREST" to the output topic NAME, and all others to the first output topic.
 * The record is written as it came. A topic that the host refuses is reported on stderr, and the guest goes on. */

#include "transform_guest.h"

/* Finds NAME in the value. False: the value is of another form. */
static bool topic_of(tg_slice value, tg_slice *topic) {
  if (value.size < 3 || value.data[0] != 't' || value.data[1] != ':') return false;
  for (size_t i = 2; i < value.size; i++) {
    if (value.data[i] == '\n') {
      topic->data = value.data + 2;
      topic->size = i - 2;
      return true;
    }
  }
  return false;
}

static void on_record(const tg_record *record, void *context) {
  (void)context;
  tg_slice topic;
  if (!topic_of(record->value, &topic)) {
    if (tg_write(record) < 0) tg_fail(TG_STR("route: write failed"));
    return;
  }
  const int32_t result = tg_write_to(topic, record);
  if (result >= 0) return;
  tg_log(2, TG_STR("route: topic \""));
  tg_log(2, topic);
  tg_log(2, TG_STR("\" refused: "));
  tg_log_int(2, result);
  tg_log(2, TG_STR("\n"));
}

void _start(void) { tg_run(on_record, NULL); }
