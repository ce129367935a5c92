/* Writes what a test tells it to, and reports what the host returned. A record's value is one of:
 *
 *     payload:BYTES   write_record(BYTES)
 *     options:BYTES   write_record_with_options(a valid record, BYTES)
 *     payload-size:N  write_record with a size of "-1", "max" (2^31 - 1) or "0"
 *     options-size:N  write_record_with_options with such a size of the options
 *
 * Other records are copied. */

#include "report.h"

/* No key, the value "x", no headers. */
static const uint8_t valid[] = {1, 2, 'x', 0};

static int32_t size_of(tg_slice text) {
  if (equals(text, TG_STR("-1"))) return -1;
  if (equals(text, TG_STR("max"))) return INT32_MAX;
  return 0;
}

static void on_record(const tg_record *record, void *context) {
  (void)context;
  tg_slice rest;
  if (starts_with(record->value, TG_STR("payload:"), &rest)) {
    report(write_record(rest.data, (int32_t)rest.size));
  } else if (starts_with(record->value, TG_STR("options:"), &rest)) {
    report(write_record_with_options(valid, sizeof valid, rest.data, (int32_t)rest.size));
  } else if (starts_with(record->value, TG_STR("payload-size:"), &rest)) {
    report(write_record(valid, size_of(rest)));
  } else if (starts_with(record->value, TG_STR("options-size:"), &rest)) {
    report(write_record_with_options(valid, sizeof valid, valid, size_of(rest)));
  } else if (tg_write_payload(record->payload) < 0) {
    tg_fail(TG_STR("bad_write: write failed"));
  }
}

void _start(void) { tg_run(on_record, NULL); }
