/* How the odd guests tell a test what a host call returned. */
#ifndef REPORT_H
#define REPORT_H

#include "transform_guest.h"

/* Writes a record with the key "report" and a decimal number as its value. Needs no memory but its own. */
static inline void report(int64_t number) {
  static const uint8_t key[] = {2 * 6, 'r', 'e', 'p', 'o', 'r', 't'}; /* a length n >= 0 is the varint 2n */
  static uint8_t payload[32];
  uint8_t space[TG_INT_MAX];
  __builtin_memcpy(payload, key, sizeof key);
  uint8_t *end = tg_put_sized(payload + sizeof key, tg_format_int(space, number));
  *end++ = 0; /* no headers */
  if (write_record(payload, (int32_t)(end - payload)) < 0) tg_fail(TG_STR("report: write failed"));
}

/* Whether the value starts with the text. What follows it goes to *rest. */
static inline bool starts_with(tg_slice value, tg_slice text, tg_slice *rest) {
  if (value.size < text.size) return false;
  for (size_t i = 0; i < text.size; i++) {
    if (value.data[i] != text.data[i]) return false;
  }
  rest->data = value.data + text.size;
  rest->size = value.size - text.size;
  return true;
}

static inline bool equals(tg_slice value, tg_slice text) {
  tg_slice rest;
  return value.size == text.size && starts_with(value, text, &rest);
}

#endif
