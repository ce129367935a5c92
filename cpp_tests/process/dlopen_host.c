/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "dlopen_host.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void check(bool ok, const char *what) {
  if (!ok) {
    fprintf(stderr, "failed: %s\n", what);
    exit(1);
  }
}

void read_module(struct module *module, const char *path) {
  FILE *file = fopen(path, "rb");
  check(file != NULL, "open the guest");
  module->size = fread(module->bytes, 1, sizeof module->bytes, file);
  check(module->size > 0 && module->size < sizeof module->bytes, "read the guest");
  fclose(file);
}

static wasm_slice text(const char *s) { return (wasm_slice){(const uint8_t *)s, strlen(s)}; }

static void set_flag(void *data) { atomic_store((atomic_bool *)data, true); }

/* Polls to the end; frees the future. */
static void finish(wasm_library *lib, wasm_future *future, wasm_factory **factory) {
  wasm_poll state = WASM_POLL_YIELDED;
  while (state != WASM_POLL_READY) {
    atomic_bool woken = false;
    const wasm_waker waker = {&woken, set_flag, NULL};
    check(lib->future_poll(future, &waker, &state, NULL) == WASM_STATUS_OK, "poll");
    while (state == WASM_POLL_PENDING && !atomic_load(&woken)) sched_yield();
  }
  if (factory != NULL) check(lib->future_take_factory(future, factory, NULL) == WASM_STATUS_OK, "take");
  check(lib->future_release(future, NULL) == WASM_STATUS_OK, "release a future");
}

static wasm_callback_result later(void *data, wasm_call *call, const wasm_value *args, wasm_value *results) {
  struct world *w = data;
  (void)args;
  (void)results;
  const bool taken = w->lib.call_promise(call, &w->asked, NULL) == WASM_STATUS_OK;
  return taken ? WASM_CALLBACK_RESULT_PENDING : WASM_CALLBACK_RESULT_FAILED;
}

void begin_world(struct world *w, const char *library, const struct module *module) {
  *w = (struct world){0};
  const char *fault = wasm_library_open(&w->lib, library);
  check(fault == NULL, fault);
  check(w->lib.runtime_create(NULL, &w->runtime, NULL) == WASM_STATUS_OK, "create a runtime");
  const wasm_value_type i64 = WASM_VALUE_TYPE_I64;
  const wasm_host_function function = {
      .size = sizeof function, .module = text("host"), .name = text("later"), .params = &i64, .param_count = 1,
      .results = &i64,         .result_count = 1,      .may_wait = 1,         .data = w,      .call = later};
  check(w->lib.runtime_register_function(w->runtime, &function, NULL) == WASM_STATUS_OK, "register a function");
  const wasm_slice topics[] = {text("out")};
  const wasm_factory_config config = {.size = sizeof config,
                                      .module = {module->bytes, module->size},
                                      .name = text("plugged in"),
                                      .output_topics = topics,
                                      .output_topic_count = 1};
  wasm_future *future = NULL;
  check(w->lib.factory_create(w->runtime, &config, &future, NULL) == WASM_STATUS_OK, "compile");
  finish(&w->lib, future, &w->factory);
  renew_engine(w);
}

void renew_engine(struct world *w) {
  wasm_future *future = NULL;
  check(w->lib.engine_release(w->engine, NULL) == WASM_STATUS_OK, "release the engine");
  check(w->lib.engine_create(w->factory, NULL, &w->engine, NULL) == WASM_STATUS_OK, "create an engine");
  check(w->lib.engine_start(w->engine, &future, NULL) == WASM_STATUS_OK, "start");
  finish(&w->lib, future, NULL);
}

void refuse_to_renew(struct world *w) {
  wasm_future *future = NULL;
  check(w->lib.engine_release(w->engine, NULL) == WASM_STATUS_OK, "release the engine");
  check(w->lib.engine_create(w->factory, NULL, &w->engine, NULL) == WASM_STATUS_OK, "create an engine");
  check(w->lib.engine_start(w->engine, &future, NULL) == WASM_STATUS_INVALID_STATE, "a start is refused");
  check(future == NULL, "without a future");
}

static wasm_callback_result count_records(void *data, const wasm_output_record *records, size_t count, wasm_call *call) {
  (void)records;
  (void)call;
  ((struct world *)data)->records += count;
  return WASM_CALLBACK_RESULT_DONE;
}

void ask(struct world *w) {
  const wasm_batch_config batch_config = {.size = sizeof batch_config};
  check(w->lib.batch_builder_create(&batch_config, &w->builder, NULL) == WASM_STATUS_OK, "create a builder");
  const wasm_payload payload = {{NULL, -1}, {(const uint8_t *)"wait", 4}, NULL, 0};
  check(w->lib.batch_builder_add(w->builder, -1, 0, &payload, NULL) == WASM_STATUS_OK, "add a record");
  wasm_slice batch = {NULL, 0};
  check(w->lib.batch_builder_finish(w->builder, &batch, NULL) == WASM_STATUS_OK, "finish the batch");
  const wasm_output_sink sink = {sizeof sink, w, NULL, count_records, NULL};
  const wasm_transform_args args = {.size = sizeof args, .batch = batch, .sink = &sink};
  check(w->lib.engine_transform(w->engine, &args, &w->transform, NULL) == WASM_STATUS_OK, "transform");
  wasm_poll state = WASM_POLL_YIELDED;
  while (state == WASM_POLL_YIELDED) {
    check(w->lib.future_poll(w->transform, NULL, &state, NULL) == WASM_STATUS_OK, "poll");
  }
  check(state == WASM_POLL_PENDING && w->asked != NULL, "the guest asks");
}

void answer(struct world *w) {
  const wasm_value value = {.i64 = 42};
  check(w->lib.promise_resolve_values(w->asked, &value, 1, NULL) == WASM_STATUS_OK, "answer");
  w->lib.promise_release(w->asked);
  w->asked = NULL;
  finish(&w->lib, w->transform, NULL);
  w->transform = NULL;
  w->lib.batch_builder_release(w->builder);
  w->builder = NULL;
  check(w->records == 1, "one record came out");
  w->records = 0;
}

void end_world(struct world *w) {
  check(w->lib.future_release(w->transform, NULL) == WASM_STATUS_OK, "release the future");
  w->lib.promise_release(w->asked);
  w->lib.batch_builder_release(w->builder);
  check(w->lib.engine_release(w->engine, NULL) == WASM_STATUS_OK, "release the engine");
  w->lib.factory_release(w->factory);
  w->lib.runtime_release(w->runtime);
  check(dlclose(w->lib.handle) == 0, "dlclose");
}
