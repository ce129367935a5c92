/* Copies every record, after logging something that is hard to log:
 *
 *     flood   10 MiB on stdout, without a newline
 *     utf8    a line on stdout with bytes that are not UTF-8
 *     open    a few words on stderr without a newline */

#include "report.h"

static void flood(void) {
  static uint8_t chunk[64 * 1024];
  for (size_t i = 0; i < sizeof chunk; i++) chunk[i] = (uint8_t)('a' + i % 26);
  const tg_slice text = {chunk, sizeof chunk};
  for (int i = 0; i < 160; i++) tg_log(1, text);
}

static void on_record(const tg_record *record, void *context) {
  (void)context;
  if (equals(record->value, TG_STR("flood"))) flood();
  /* 0xff and 0xfe occur nowhere in UTF-8, 0xc3 wants a second byte, ed a0 80 is half a surrogate pair. */
  if (equals(record->value, TG_STR("utf8"))) tg_log(1, TG_STR("not \xff\xfe UTF-8 \xc3( nor \xed\xa0\x80\n"));
  if (equals(record->value, TG_STR("open"))) tg_log(2, TG_STR("no newline here"));
  if (tg_write_payload(record->payload) < 0) tg_fail(TG_STR("log_flood: write failed"));
}

void _start(void) { tg_run(on_record, NULL); }
