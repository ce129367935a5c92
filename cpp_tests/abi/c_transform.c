/* SPDX-License-Identifier: Apache-2.0 */
#include "c_transform.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static wasm_slice text(const char *s) { return (wasm_slice){(const uint8_t *)s, strlen(s)}; }

/* Tells why a call failed, and frees the error. By pointer, because a call that is an argument may come last. */
static wasm_status complain(wasm_status status, wasm_error **error) {
  if (status != WASM_STATUS_OK) {
    fprintf(stderr, "%s: %s\n", wasm_status_name(status), wasm_error_message(*error));
  }
  wasm_error_release(*error);
  *error = NULL;
  return status;
}

static void set_flag(void *data) { atomic_store((atomic_bool *)data, true); }

/* Polls to the end; frees the future. */
static wasm_status finish(wasm_future *future, wasm_factory **factory) {
  wasm_status status;
  wasm_error *error = NULL;
  for (;;) {
    atomic_bool woken = false;
    const wasm_waker waker = {&woken, set_flag, NULL};
    wasm_poll state = WASM_POLL_READY;
    status = wasm_future_poll(future, &waker, &state, &error);
    if (status != WASM_STATUS_OK || state == WASM_POLL_READY) break;
    while (state == WASM_POLL_PENDING && !atomic_load(&woken)) sched_yield();
  }
  if (status == WASM_STATUS_OK && factory != NULL) status = wasm_future_take_factory(future, factory, &error);
  wasm_future_release(future, NULL);
  return complain(status, &error);
}

struct count {
  size_t records, bytes;
};

static wasm_callback_result count_records(void *data, const wasm_output_record *records, size_t count, wasm_call *call) {
  struct count *c = data;
  (void)call;
  for (size_t i = 0; i < count; i++) {
    wasm_payload payload;
    if (wasm_payload_read((wasm_slice){records[i].payload, records[i].payload_size}, &payload, NULL, 0, NULL) !=
        WASM_STATUS_OK) {
      return WASM_CALLBACK_RESULT_FAILED;
    }
    c->bytes += (size_t)payload.value.size;
  }
  c->records += count;
  return WASM_CALLBACK_RESULT_DONE;
}

static wasm_status make_batch(wasm_batch_builder *builder, wasm_slice *batch) {
  static const char *const values[] = {"0 none", "1 one", "2 two"};
  wasm_error *error = NULL;
  wasm_status status = WASM_STATUS_OK;
  for (int i = 0; i < 3 && status == WASM_STATUS_OK; i++) {
    const wasm_slice value = text(values[i]);
    const wasm_payload payload = {{NULL, -1}, {value.data, (int64_t)value.size}, NULL, 0};
    status = wasm_batch_builder_add(builder, -1, 1700000000000 + i, &payload, &error);
  }
  if (status == WASM_STATUS_OK) status = wasm_batch_builder_finish(builder, batch, &error);
  return complain(status, &error);
}

static wasm_status run(wasm_engine *engine, wasm_slice batch, struct count *count) {
  wasm_error *error = NULL;
  wasm_future *future = NULL;
  wasm_status status = complain(wasm_engine_start(engine, &future, &error), &error);
  if (status == WASM_STATUS_OK) status = finish(future, NULL);
  if (status != WASM_STATUS_OK) return status;
  const wasm_output_sink sink = {sizeof sink, count, NULL, count_records, NULL};
  const wasm_transform_args args = {.size = sizeof args, .batch = batch, .sink = &sink};
  status = complain(wasm_engine_transform(engine, &args, &future, &error), &error);
  return status == WASM_STATUS_OK ? finish(future, NULL) : status;
}

wasm_status c_transform(wasm_slice module, size_t *records, size_t *bytes) {
  wasm_runtime *runtime = NULL;
  wasm_factory *factory = NULL;
  wasm_engine *engine = NULL;
  wasm_batch_builder *builder = NULL;
  wasm_future *future = NULL;
  wasm_slice batch = {NULL, 0};
  struct count count = {0, 0};
  const wasm_slice topics[] = {text("out")};
  const wasm_batch_config batch_config = {.size = sizeof batch_config};
  wasm_factory_config config = {.size = sizeof config};
  config.module = module;
  config.name = text("c");
  config.input_topic = text("in");
  config.output_topics = topics;
  config.output_topic_count = 1;

  wasm_status status = wasm_runtime_create(NULL, &runtime, NULL);
  if (status == WASM_STATUS_OK) status = wasm_factory_create(runtime, &config, &future, NULL);
  if (status == WASM_STATUS_OK) status = finish(future, &factory);
  if (status == WASM_STATUS_OK) status = wasm_engine_create(factory, NULL, &engine, NULL);
  if (status == WASM_STATUS_OK) status = wasm_batch_builder_create(&batch_config, &builder, NULL);
  if (status == WASM_STATUS_OK) status = make_batch(builder, &batch);
  if (status == WASM_STATUS_OK) status = run(engine, batch, &count);
  wasm_batch_builder_release(builder);
  wasm_engine_release(engine, NULL);
  wasm_factory_release(factory);
  wasm_runtime_release(runtime);
  *records = count.records;
  *bytes = count.bytes;
  return status;
}
