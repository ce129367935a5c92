/* Makes a host call with one pointer that is out of bounds, and reports what the call returned.
 *
 * The first character of a record's value says which pointer (see below), the second which way it is wrong:
 *
 *     0   0xFFFFFFF0, far beyond the end of memory
 *     1   close to the end of memory, so that what should be there straddles it
 *
 * Other records are copied. A read_batch_header (a-j) ends the record and the batch like any other: send no record
 * after it in that batch. A read_next_record (k-n) needs one more record in the batch, else it returns -1. */

#include "report.h"

#define REGISTRY(name) __attribute__((import_module("redpanda_schema_registry"), import_name(#name))) name

void REGISTRY(check_abi_version_0)(void);
int32_t REGISTRY(get_schema_definition_len)(int32_t id, uint32_t *size);
int32_t REGISTRY(get_schema_definition)(int32_t id, uint8_t *buffer, int32_t size);
int32_t REGISTRY(get_subject_schema_len)(
    const uint8_t *subject, int32_t subject_size, int32_t version, uint32_t *size);
int32_t REGISTRY(get_subject_schema)(
    const uint8_t *subject, int32_t subject_size, int32_t version, uint8_t *buffer, int32_t size);
int32_t REGISTRY(create_subject_schema)(
    const uint8_t *subject, int32_t subject_size, const uint8_t *schema, int32_t schema_size, int32_t *id);

/* A pointer argument: bad if it is the chosen one. */
#define ARG(letter, good) (which == (letter) ? bad : (void *)(good))

/* Everything a call fills in, when its pointer is a good one. */
static struct {
  int64_t base_offset, base_timestamp, max_timestamp, producer_id, timestamp, offset;
  int32_t record_count, leader_epoch, last_offset_delta, base_sequence, id;
  int16_t batch_attributes, producer_epoch;
  uint8_t attributes;
  uint32_t size;
  size_t written;
  uint8_t buffer[64];
} out;

/* A valid record: no key, the value "x", no headers. And a valid schema: Avro, "{}", no references. */
static const uint8_t payload[] = {1, 2, 'x', 0};
static const uint8_t options[] = {1, 2, 't'};
static const uint8_t schema[] = {0, 4, '{', '}', 0};
static const uint8_t subject[] = {'s'};

static int32_t call(char which, void *bad) {
  if (which >= 'a' && which <= 'j') {
    return read_batch_header(
        ARG('a', &out.base_offset), ARG('b', &out.record_count), ARG('c', &out.leader_epoch),
        ARG('d', &out.batch_attributes), ARG('e', &out.last_offset_delta), ARG('f', &out.base_timestamp),
        ARG('g', &out.max_timestamp), ARG('h', &out.producer_id), ARG('i', &out.producer_epoch),
        ARG('j', &out.base_sequence));
  }
  if (which >= 'k' && which <= 'n') {
    return read_next_record(
        ARG('k', &out.attributes), ARG('l', &out.timestamp), ARG('m', &out.offset), ARG('n', out.buffer),
        sizeof out.buffer);
  }
  switch (which) {
    case 'o':
      return write_record(bad, sizeof payload);
    case 'p':
    case 'q':
      /* No options beside the bad payload, lest their topic be refused first. */
      return write_record_with_options(
          ARG('p', payload), sizeof payload, ARG('q', options), which == 'q' ? sizeof options : 0);
    case 'r':
      return get_schema_definition_len(1, bad);
    case 's':
      return get_schema_definition(1, bad, sizeof out.buffer);
    case 't':
    case 'u':
      return get_subject_schema_len(ARG('t', subject), which == 't' ? 8 : 1, -1, ARG('u', &out.size));
    case 'v':
    case 'w':
      return get_subject_schema(
          ARG('v', subject), which == 'v' ? 8 : 1, -1, ARG('w', out.buffer), sizeof out.buffer);
    case 'x':
    case 'y':
    case 'z':
      return create_subject_schema(
          ARG('x', subject), which == 'x' ? 8 : 1, ARG('y', schema), sizeof schema, ARG('z', &out.id));
    case 'A': /* WASI: the list of parts */
      return tg_fd_write(1, bad, 1, &out.written);
    case 'B': { /* WASI: the text of a part */
      tg_iovec part = {bad, 8};
      return tg_fd_write(1, &part, 1, &out.written);
    }
    default: { /* 'C', WASI: where the number of bytes goes */
      tg_iovec part = {subject, sizeof subject};
      return tg_fd_write(1, &part, 1, bad);
    }
  }
}

static bool is_call(char which) { return (which >= 'a' && which <= 'z') || (which >= 'A' && which <= 'C'); }

static void on_record(const tg_record *record, void *context) {
  (void)context;
  const tg_slice value = record->value;
  if (value.size != 2 || !is_call((char)value.data[0]) || (value.data[1] != '0' && value.data[1] != '1')) {
    if (tg_write_payload(record->payload) < 0) tg_fail(TG_STR("bad_pointer: write failed"));
    return;
  }
  const char which = (char)value.data[0];
  uintptr_t bad = 0xFFFFFFF0;
  if (value.data[1] == '1') {
    const uintptr_t memory_end = __builtin_wasm_memory_size(0) * 64 * 1024;
    bad = memory_end - (which == 'k' ? 0 : 1); /* a single byte cannot straddle */
  }
  report(call(which, (void *)bad));
}

void _start(void) {
  check_abi_version_0();
  tg_run(on_record, NULL);
}
