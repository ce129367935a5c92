/* SPDX-License-Identifier: Apache-2.0
 *
 * The work that every contender of `make bench` does, in C11 and C++20, without a C library: the native one, the guests of
 * Extism and Wasmer and the C guests of the transform ABI include this file. guests/rust/bench_work.rs is the same in Rust.
 *
 * A value is a JSON object. What is looked for are fields at its top level whose value is a string; strings are compared as
 * they are written, without decoding escapes.
 *
 *   identity   the value as it is
 *   filter     only values whose "level" is "error"
 *   redact     the text of "email" becomes ***
 *   route      values whose "region" is "eu" go to the second output topic, all others to the first
 */
#ifndef WASM_ENGINE_BENCH_WORK_H
#define WASM_ENGINE_BENCH_WORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where a string lies in a text, without its quotes. */
typedef struct work_span {
  size_t begin;
  size_t end;
} work_span;

/* The position behind the string that begins with the quote at `at`; `size` if it does not end. */
static inline size_t work_skip_string(const uint8_t *json, size_t size, size_t at) {
  for (at++; at < size; at++) {
    if (json[at] == '\\') {
      at++;
    } else if (json[at] == '"') {
      return at + 1;
    }
  }
  return size;
}

static inline bool work_equal(const uint8_t *text, work_span span, const char *other, size_t size) {
  if (span.end - span.begin != size) return false;
  for (size_t i = 0; i < size; i++) {
    if (text[span.begin + i] != (uint8_t)other[i]) return false;
  }
  return true;
}

/* Finds the text of a field at the top level. False: there is none, or its value is no string. */
static inline bool work_field(
    const uint8_t *json, size_t size, const char *name, size_t name_size, work_span *found) {
  int depth = 0;
  bool named = false; /* the last string was the name that is looked for */
  bool wanted = false; /* and a colon followed */
  for (size_t at = 0; at < size;) {
    const uint8_t c = json[at];
    if (c == '"') {
      const size_t next = work_skip_string(json, size, at);
      const work_span text = {at + 1, next > at + 1 ? next - 1 : at + 1};
      if (wanted) {
        *found = text;
        return true;
      }
      named = depth == 1 && work_equal(json, text, name, name_size);
      at = next;
      continue;
    }
    if (c == ':') {
      wanted = named;
    } else if (c != ' ' && c != '\t' && c != '\r' && c != '\n') {
      if (wanted) return false;
      named = false;
      if (c == '{' || c == '[') depth++;
      if (c == '}' || c == ']') depth--;
    }
    at++;
  }
  return false;
}

#define WORK_FIELD(json, size, name, found) work_field(json, size, "" name, sizeof(name) - 1, found)
#define WORK_EQUAL(json, span, text) work_equal(json, span, "" text, sizeof(text) - 1)

/* Whether filter keeps the value. */
static inline bool work_keeps(const uint8_t *json, size_t size) {
  work_span level;
  return WORK_FIELD(json, size, "level", &level) && WORK_EQUAL(json, level, "error");
}

/* The index of the output topic to which route sends the value. */
static inline uint32_t work_topic(const uint8_t *json, size_t size) {
  work_span region;
  return WORK_FIELD(json, size, "region", &region) && WORK_EQUAL(json, region, "eu");
}

enum { WORK_MORE = 3 }; /* bytes by which redact makes a value longer at most */

/* Writes the value as redact has it to `out`, which has room for size + WORK_MORE bytes. Returns how many they are. */
static inline size_t work_redact(const uint8_t *json, size_t size, uint8_t *out) {
  work_span email;
  if (!WORK_FIELD(json, size, "email", &email)) {
    __builtin_memcpy(out, json, size);
    return size;
  }
  __builtin_memcpy(out, json, email.begin);
  __builtin_memcpy(out + email.begin, "***", 3);
  __builtin_memcpy(out + email.begin + 3, json + email.end, size - email.end);
  return size - (email.end - email.begin) + 3;
}

#endif /* WASM_ENGINE_BENCH_WORK_H */
