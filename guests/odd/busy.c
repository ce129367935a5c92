/* Takes its time, or more of anything than a host wants to give. What it does with a record, its value says:
 *
 *   work N    copies it after N million rounds of a loop
 *   spin      loops for ever
 *   trap      traps
 *   say       writes its key to stderr and copies it
 *   stamp     copies it with one more header: `key` with the record's key
 *   badstamp  copies it with a header whose value is not UTF-8
 *   rekey X   copies it with the key X
 *   flood     writes empty records for ever
 *   large N   writes one record with N KiB of the letter x
 *   null      writes a record with the value null
 *
 * Others are copied. */

#include "report.h"

/* Whether the value starts with the word. The number behind it goes to *number. */
static bool begins(tg_slice value, tg_slice word, int64_t *number) {
  tg_slice rest;
  if (!starts_with(value, word, &rest)) return false;
  *number = 0;
  for (; rest.size > 0 && *rest.data >= '0' && *rest.data <= '9'; rest.data++, rest.size--) {
    *number = *number * 10 + (*rest.data - '0');
  }
  return true;
}

static void work(int64_t millions) {
  volatile uint32_t rounds = 0;
  for (int64_t i = 0; i < millions * 1000000; i++) rounds++;
}

static void spin(void) {
  volatile uint32_t rounds = 0;
  for (;;) rounds++;
}

/* The record's own headers and one more. */
static tg_slice stamped(const tg_record *record, tg_slice key, tg_slice value) {
  static tg_buffer buffer;
  tg_header headers[17];
  size_t count = 0;
  tg_slice rest = record->headers;
  for (int64_t left = tg_header_count(&rest); left > 0 && count < 16; left--) {
    if (!tg_next_header(&rest, &headers[count++])) tg_fail(TG_STR("busy: malformed header"));
  }
  headers[count].key = key;
  headers[count++].value = value;
  return tg_encode_headers(&buffer, headers, count);
}

static void on_record(const tg_record *record, void *context) {
  (void)context;
  static tg_buffer large;
  tg_record out = *record;
  int64_t number;
  if (begins(record->value, TG_STR("work "), &number)) {
    work(number);
  } else if (equals(record->value, TG_STR("spin"))) {
    spin();
  } else if (equals(record->value, TG_STR("trap"))) {
    __builtin_trap();
  } else if (equals(record->value, TG_STR("say"))) {
    tg_log(2, record->key);
    tg_log(2, TG_STR("\n"));
  } else if (equals(record->value, TG_STR("stamp"))) {
    out.headers = stamped(record, TG_STR("key"), record->key);
  } else if (equals(record->value, TG_STR("badstamp"))) {
    out.headers = stamped(record, TG_STR("bad"), TG_STR("\xff"));
  } else if (starts_with(record->value, TG_STR("rekey "), &out.key)) {
    /* the key is set */
  } else if (equals(record->value, TG_STR("null"))) {
    out.value.data = NULL;
    out.value.size = 0;
  } else if (equals(record->value, TG_STR("flood"))) {
    out.value = TG_STR("");
    for (;;) tg_write(&out);
  } else if (begins(record->value, TG_STR("large "), &number)) {
    const size_t size = (size_t)number * 1024;
    tg_reserve(&large, size);
    for (size_t i = 0; i < size; i++) large.data[i] = 'x';
    out.value.data = large.data;
    out.value.size = size;
  }
  if (tg_write(&out) < 0) tg_fail(TG_STR("busy: write failed"));
}

void _start(void) { tg_run(on_record, NULL); }
