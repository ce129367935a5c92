/* A transform in JavaScript: QuickJS, the scripts, and the module "@redpanda-data/transform-sdk" between both.
 *
 * Licensed under the Apache License, Version 2.0. SPDX-License-Identifier: Apache-2.0
 */
#include "scripts.h"
#include "transform_guest.h"

#include <quickjs.h>
#include <string.h>
#include <unistd.h>

static const char sdk_name[] = "@redpanda-data/transform-sdk";

/* What scripts import. `native` is made below. Bytes are ArrayBuffers here. */
static const char sdk_text[] =
    "const native = globalThis.__native;\n"
    "delete globalThis.__native;\n"
    "class RecordData {\n"
    "  #bytes;\n"
    "  constructor(bytes) { this.#bytes = bytes; }\n"
    "  text() { return native.decode(this.#bytes); }\n"
    "  json() { return JSON.parse(this.text()); }\n"
    "  array() { return new Uint8Array(this.#bytes); }\n"
    "}\n"
    "const wrap = (bytes) => bytes === null ? null : new RecordData(bytes);\n"
    "const unwrap = (data) => data instanceof RecordData ? data.array() : data;\n"
    "class RecordWriter {\n"
    "  write(record, options) {\n"
    "    const headers = [];\n"
    "    for (const header of record.headers ?? []) headers.push(unwrap(header.key) ?? '', unwrap(header.value));\n"
    "    native.write(unwrap(record.key), unwrap(record.value), headers, options?.topic);\n"
    "  }\n"
    "}\n"
    "const writer = new RecordWriter();\n"
    "export function onRecordWritten(callback) {\n"
    "  if (typeof callback !== 'function') throw new TypeError('onRecordWritten takes a function');\n"
    "  native.onRecord((key, value, headers, timestamp) => {\n"
    "    const list = [];\n"
    "    for (let i = 0; i < headers.length; i += 2) list.push({ key: wrap(headers[i]), value: wrap(headers[i + 1]) });\n"
    "    return callback({ record: { key: wrap(key), value: wrap(value), headers: list, timestamp } }, writer);\n"
    "  });\n"
    "}\n";

static JSContext *js;
static JSValue callback; /* of onRecordWritten */

static void log_text(int fd, const char *text) {
  const tg_slice slice = {(const uint8_t *)text, strlen(text)};
  tg_log(fd, slice);
}

/* Ends the guest with the exception's message and stack. */
__attribute__((noreturn)) static void fail_with(JSValueConst thrown) {
  const char *message = JS_ToCString(js, thrown);
  log_text(2, message != NULL ? message : "the transform threw something that has no text");
  log_text(2, "\n");
  if (JS_IsError(thrown)) {
    JSValue stack = JS_GetPropertyStr(js, thrown, "stack");
    const char *text = JS_ToCString(js, stack);
    if (text != NULL) log_text(2, text);
  }
  __builtin_trap();
}

static JSValue checked(JSValue value) {
  if (JS_IsException(value)) fail_with(JS_GetException(js));
  return value;
}

/* ---- What the module calls ----------------------------------------------------------------------------------- */

/* Bytes of a string, an ArrayBuffer, a view of one, or null. They are valid until `held` is freed. */
static bool borrow(JSContext *ctx, JSValueConst from, tg_slice *bytes, const char **held) {
  *held = NULL;
  bytes->data = NULL;
  bytes->size = 0;
  if (JS_IsNull(from) || JS_IsUndefined(from)) return true;
  if (JS_IsString(from)) {
    *held = JS_ToCStringLen(ctx, &bytes->size, from);
    bytes->data = (const uint8_t *)*held;
    return *held != NULL;
  }
  size_t offset = 0, length = 0, element = 0, size = 0;
  if (JS_IsArrayBuffer(from)) {
    bytes->data = JS_GetArrayBuffer(ctx, &bytes->size, from);
  } else {
    JSValue buffer = JS_GetTypedArrayBuffer(ctx, from, &offset, &length, &element);
    if (JS_IsException(buffer)) return false;
    bytes->data = JS_GetArrayBuffer(ctx, &size, buffer);
    bytes->size = length;
    JS_FreeValue(ctx, buffer);
  }
  /* An empty buffer may have no address, which a slice takes for null. */
  bytes->data = bytes->data == NULL ? (const uint8_t *)"" : bytes->data + offset;
  return true;
}

static void give_back(JSContext *ctx, const char *held) {
  if (held != NULL) JS_FreeCString(ctx, held);
}

/* write(key, value, [headerKey, headerValue, …], topic) */
static JSValue native_write(JSContext *ctx, JSValueConst self, int count, JSValueConst *arguments) {
  (void)self, (void)count;
  enum { HEADERS = 64 };
  tg_header headers[HEADERS];
  const char *held[2 + 2 * HEADERS] = {0}, *topic = NULL;
  static tg_buffer encoded;
  tg_record record = {0};
  int64_t length = 0;
  if (JS_GetLength(ctx, arguments[2], &length) < 0) return JS_EXCEPTION;
  if (length > 2 * HEADERS) return JS_ThrowRangeError(ctx, "a record has at most %d headers here", HEADERS);
  bool fits = borrow(ctx, arguments[0], &record.key, &held[0]) && borrow(ctx, arguments[1], &record.value, &held[1]);
  for (int64_t i = 0; fits && i < length; i++) {
    JSValue one = JS_GetPropertyInt64(ctx, arguments[2], i);
    tg_header *header = &headers[i / 2];
    fits = borrow(ctx, one, i % 2 == 0 ? &header->key : &header->value, &held[2 + i]);
    JS_FreeValue(ctx, one); /* the array still has it */
  }
  int32_t written = 0;
  if (fits) {
    if (length > 0) record.headers = tg_encode_headers(&encoded, headers, (size_t)length / 2);
    if (JS_IsString(arguments[3])) {
      tg_slice name;
      fits = borrow(ctx, arguments[3], &name, &topic);
      if (fits) written = tg_write_to(name, &record);
    } else {
      written = tg_write(&record);
    }
  }
  give_back(ctx, topic);
  for (int64_t i = 0; i < 2 + length; i++) give_back(ctx, held[i]);
  if (!fits) return JS_EXCEPTION;
  return written < 0 ? JS_ThrowInternalError(ctx, "the record was not written: the host returned %d", written) : JS_UNDEFINED;
}

/* Whether the bytes are UTF-8, without surrogates and overlong forms. */
static bool is_utf8(const uint8_t *at, size_t size) {
  const uint8_t *const end = at + size;
  while (at < end) {
    const uint8_t c = *at++;
    if (c < 0x80) continue;
    const int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
    if (c < 0xc2 || c > 0xf4 || end - at < more) return false;
    const uint8_t low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80, high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    if (at[0] < low || at[0] > high) return false;
    for (int i = 1; i < more; i++) {
      if ((at[i] & 0xc0) != 0x80) return false;
    }
    at += more;
  }
  return true;
}

static JSValue native_decode(JSContext *ctx, JSValueConst self, int count, JSValueConst *arguments) {
  (void)self, (void)count;
  size_t size = 0;
  const uint8_t *bytes = JS_GetArrayBuffer(ctx, &size, arguments[0]);
  if (bytes == NULL && size != 0) return JS_EXCEPTION;
  if (!is_utf8(bytes, size)) return JS_ThrowTypeError(ctx, "the bytes are not UTF-8");
  return JS_NewStringLen(ctx, (const char *)bytes, size);
}

static JSValue native_on_record(JSContext *ctx, JSValueConst self, int count, JSValueConst *arguments) {
  (void)self, (void)count;
  if (!JS_IsUndefined(callback)) return JS_ThrowInternalError(ctx, "onRecordWritten was called twice");
  callback = JS_DupValue(ctx, arguments[0]);
  return JS_UNDEFINED;
}

/* console.log and console.error, by `fd`. */
static JSValue native_log(JSContext *ctx, JSValueConst self, int count, JSValueConst *arguments, int fd) {
  (void)self;
  for (int i = 0; i < count; i++) {
    size_t size = 0;
    const char *text = JS_ToCStringLen(ctx, &size, arguments[i]);
    if (text == NULL) return JS_EXCEPTION;
    const tg_slice slice = {(const uint8_t *)text, size};
    if (i > 0) log_text(fd, " ");
    tg_log(fd, slice);
    JS_FreeCString(ctx, text);
  }
  log_text(fd, "\n");
  return JS_UNDEFINED;
}

/* Math.random. QuickJS seeds its own from the time, which is the same for all transforms when they start. */
static JSValue native_random(JSContext *ctx, JSValueConst self, int count, JSValueConst *arguments) {
  (void)self, (void)count, (void)arguments;
  uint64_t bits = 0;
  if (getentropy(&bits, sizeof bits) != 0) return JS_ThrowInternalError(ctx, "there are no random numbers");
  return JS_NewFloat64(ctx, (double)(bits >> 11) / 9007199254740992.0);
}

static void set_function(JSValue of, const char *name, JSValue function) {
  JS_DefinePropertyValueStr(js, of, name, checked(function), JS_PROP_C_W_E);
}

static void add_globals(void) {
  JSValue global = JS_GetGlobalObject(js), native = JS_NewObject(js), console = JS_NewObject(js);
  set_function(native, "write", JS_NewCFunction(js, native_write, "write", 4));
  set_function(native, "decode", JS_NewCFunction(js, native_decode, "decode", 1));
  set_function(native, "onRecord", JS_NewCFunction(js, native_on_record, "onRecord", 1));
  JS_DefinePropertyValueStr(js, global, "__native", native, JS_PROP_C_W_E);
  static const struct {
    const char *name;
    int fd;
  } levels[] = {{"log", 1}, {"info", 1}, {"debug", 1}, {"warn", 2}, {"error", 2}};
  for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
    JSCFunctionType log = {.generic_magic = native_log};
    set_function(console, levels[i].name,
                 JS_NewCFunction2(js, log.generic, levels[i].name, 1, JS_CFUNC_generic_magic, levels[i].fd));
  }
  JS_DefinePropertyValueStr(js, global, "console", console, JS_PROP_C_W_E);
  JSValue math = JS_GetPropertyStr(js, global, "Math");
  set_function(math, "random", JS_NewCFunction(js, native_random, "random", 0));
  JS_FreeValue(js, math);
  JS_FreeValue(js, global);
}

/* ---- Modules ------------------------------------------------------------------------------------------------- */

static JSModuleDef *compile(JSContext *ctx, const char *name, const char *text, size_t size) {
  JSValue module = JS_Eval(ctx, text, size, name, JS_EVAL_TYPE_MODULE | JS_EVAL_FLAG_COMPILE_ONLY);
  if (JS_IsException(module)) return NULL;
  JSModuleDef *definition = JS_VALUE_GET_PTR(module);
  JS_FreeValue(ctx, module); /* the context keeps it */
  return definition;
}

static const struct script *find_script(const char *name) {
  for (const struct script *one = scripts; one->name != NULL; one++) {
    if (strcmp(one->name, name) == 0) return one;
  }
  return NULL;
}

static JSModuleDef *load(JSContext *ctx, const char *name, void *context) {
  (void)context;
  if (strcmp(name, sdk_name) == 0) return compile(ctx, name, sdk_text, sizeof sdk_text - 1);
  const struct script *found = find_script(name);
  if (found != NULL) return compile(ctx, name, found->text, found->size);
  JS_ThrowReferenceError(ctx, "there is no module \"%s\": it must be %s or a file below src", name, sdk_name);
  return NULL;
}

static void run_jobs(void) {
  for (;;) {
    JSContext *of = NULL;
    const int done = JS_ExecutePendingJob(JS_GetRuntime(js), &of);
    if (done == 0) return;
    if (done < 0) fail_with(JS_GetException(of != NULL ? of : js));
  }
}

/* Runs what waits and fails if the value is a promise that failed or that nothing will settle. */
static void settle(JSValue value, const char *what) {
  run_jobs();
  if (JS_IsPromise(value)) {
    const JSPromiseStateEnum state = JS_PromiseState(js, value);
    if (state == JS_PROMISE_REJECTED) fail_with(JS_PromiseResult(js, value));
    if (state == JS_PROMISE_PENDING) {
      log_text(2, what);
      tg_fail(TG_STR(" waits for something that never comes: there are no timers and nothing to wait for"));
    }
  }
  JS_FreeValue(js, value);
}

/* ---- Records ------------------------------------------------------------------------------------------------- */

static JSValue bytes_or_null(tg_slice bytes) {
  return bytes.data == NULL ? JS_NULL : checked(JS_NewArrayBufferCopy(js, bytes.data, bytes.size));
}

static void on_record(const tg_record *record, void *context) {
  (void)context;
  JSValue headers = checked(JS_NewArray(js));
  tg_slice rest = record->headers;
  int64_t at = 0;
  for (int64_t left = tg_header_count(&rest); left > 0; left--) {
    tg_header header;
    if (!tg_next_header(&rest, &header)) break;
    JS_SetPropertyInt64(js, headers, at++, bytes_or_null(header.key));
    JS_SetPropertyInt64(js, headers, at++, bytes_or_null(header.value));
  }
  JSValue arguments[] = {bytes_or_null(record->key), bytes_or_null(record->value), headers, JS_NewInt64(js, record->timestamp)};
  settle(checked(JS_Call(js, callback, JS_UNDEFINED, 4, arguments)), "the callback");
  for (size_t i = 0; i < sizeof arguments / sizeof *arguments; i++) JS_FreeValue(js, arguments[i]);
}

int main(void) {
  JSRuntime *runtime = JS_NewRuntime();
  js = runtime != NULL ? JS_NewContext(runtime) : NULL;
  if (js == NULL) tg_fail(TG_STR("out of memory"));
  /* The stack of the module is 1 MiB. */
  JS_SetMaxStackSize(runtime, 768 << 10);
  callback = JS_UNDEFINED;
  JS_SetModuleLoaderFunc(runtime, NULL, load, NULL);
  add_globals();
  const struct script *first = find_script("transform.js");
  if (first == NULL) tg_fail(TG_STR("there is no transform.js"));
  settle(checked(JS_Eval(js, first->text, first->size, first->name, JS_EVAL_TYPE_MODULE)), "transform.js");
  if (JS_IsUndefined(callback)) tg_fail(TG_STR("transform.js did not call onRecordWritten"));
  tg_run(on_record, NULL);
}
