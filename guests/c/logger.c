/* Copies every record, and logs two lines for each, in pieces and by turns:
 *
 *     on stdout   record OFFSET: VALUE
 *     on stderr   logger saw OFFSET
 */

#include "transform_guest.h"

static void on_record(const tg_record *record, void *context) {
  (void)context;
  tg_log(1, TG_STR("record "));
  tg_log(2, TG_STR("logger "));
  tg_log_int(1, record->offset);
  tg_log(2, TG_STR("saw "));
  tg_log(1, TG_STR(": "));
  tg_log_int(2, record->offset);
  tg_log(1, record->value);
  tg_log(2, TG_STR("\n"));
  tg_log(1, TG_STR("\n"));
  if (tg_write(record) < 0) tg_fail(TG_STR("logger: write failed"));
}

void _start(void) { tg_run(on_record, NULL); }
