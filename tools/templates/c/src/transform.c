/* Writes each record with its value in capitals. Records without a value are dropped. */
#include "transform_guest.h"

static void on_record(const tg_record *record, void *context) {
  tg_buffer *text = context;
  if (record->value.size == 0) return;
  tg_reserve(text, record->value.size);
  for (size_t i = 0; i < record->value.size; i++) {
    const uint8_t c = record->value.data[i];
    text->data[i] = c >= 'a' && c <= 'z' ? (uint8_t)(c - 'a' + 'A') : c;
  }
  tg_record out = *record;
  out.value.data = text->data;
  if (tg_write(&out) < 0) tg_fail(TG_STR("the record was not written"));
}

static tg_buffer text;
TG_MAIN(on_record, &text)
