/* SPDX-License-Identifier: Apache-2.0
 *
 * An engine that is no guest: custom_engine VALUE...
 *
 * All values become one batch. A service on another thread, as it might be on another machine, turns each of them to
 * upper case. The host uses the engine as it would use a guest: sinks, policies and metrics are the same.
 *
 *   steps      `transform` asks the service, takes a promise and returns pending; it is called again with the answer
 *   output     when the output is full, `transform` returns again and the host's sink gets it first
 *   failures   a value that is empty fails its record, and the engine's policy skips that
 *   stopping   at the end the engine is stopped while the service works; its late answer has no effect
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wasm_engine.h>

static wasm_error *error;
static sem_t woken;

static wasm_slice text(const char *s) { return (wasm_slice){(const uint8_t *)s, strlen(s)}; }

static void check(wasm_status status) {
  if (status == WASM_STATUS_OK) return;
  fprintf(stderr, "%s: %s\n", wasm_status_name(status), wasm_error_message(error));
  exit(1);
}

/* ---- The service ---- */

/* A question and its answer. The engine and the service have a reference each: either may end first. */
struct request {
  atomic_int references;
  wasm_promise *promise;
  struct request *next;
  size_t size;
  uint8_t text[];
};

static struct {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  struct request *first, **last;
  bool ends;
} service = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL, &service.first, false};

static void request_release(struct request *r) {
  if (r != NULL && atomic_fetch_sub(&r->references, 1) == 1) free(r);
}

static void *serve(void *unused) {
  pthread_mutex_lock(&service.lock);
  for (;;) {
    while (service.first == NULL && !service.ends) pthread_cond_wait(&service.changed, &service.lock);
    struct request *r = service.first;
    if (r == NULL) break;
    service.first = r->next;
    if (r->next == NULL) service.last = &service.first;
    pthread_mutex_unlock(&service.lock);

    usleep(2000); /* it is far away */
    for (size_t i = 0; i < r->size; i++) r->text[i] = (uint8_t)toupper(r->text[i]);
    wasm_promise_resolve(r->promise, NULL); /* wakes the transform's future; without effect if the engine has stopped */
    wasm_promise_release(r->promise);
    request_release(r);
    pthread_mutex_lock(&service.lock);
  }
  pthread_mutex_unlock(&service.lock);
  return unused;
}

/* ---- The engine ---- */

/* What one engine owns: the question whose answer it waits for. */
struct upper {
  struct request *asked;
};

static wasm_callback_result create(void *data, void **engine, wasm_call *call) {
  (void)data, (void)call;
  *engine = calloc(1, sizeof(struct upper));
  return *engine != NULL ? WASM_CALLBACK_RESULT_DONE : WASM_CALLBACK_RESULT_FAILED;
}

static wasm_callback_result fail(wasm_call *call, const char *why) {
  wasm_call_fail(call, text(why), NULL);
  return WASM_CALLBACK_RESULT_FAILED;
}

/* Sends the value to the service, with the promise of this step. */
static wasm_callback_result ask(struct upper *self, wasm_field value, wasm_call *call) {
  struct request *r = malloc(sizeof *r + (size_t)value.size);
  if (r == NULL) return fail(call, "there is no memory");
  if (wasm_call_promise(call, &r->promise, NULL) != WASM_STATUS_OK) {
    free(r);
    return fail(call, "there is no promise");
  }
  atomic_init(&r->references, 2);
  r->next = NULL;
  r->size = (size_t)value.size;
  memcpy(r->text, value.data, r->size);
  self->asked = r;
  pthread_mutex_lock(&service.lock);
  *service.last = r;
  service.last = &r->next;
  pthread_cond_signal(&service.changed);
  pthread_mutex_unlock(&service.lock);
  return WASM_CALLBACK_RESULT_PENDING;
}

static uint8_t *put_varint(uint8_t *to, int64_t value) {
  uint64_t rest = ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
  for (; rest > 127; rest >>= 7) *to++ = (uint8_t)(rest | 128);
  *to++ = (uint8_t)rest;
  return to;
}

/* Writes an output record: no key, the answer as its value, no headers. */
static wasm_status answer(wasm_work *work, const struct request *r) {
  uint8_t *payload = malloc(r->size + 12), *end = payload;
  if (payload == NULL) return WASM_STATUS_OUT_OF_MEMORY;
  end = put_varint(end, -1);
  end = put_varint(end, (int64_t)r->size);
  memcpy(end, r->text, r->size);
  end = put_varint(end + r->size, 0);
  const wasm_status status = wasm_work_write(work, (wasm_slice){payload, (size_t)(end - payload)}, 0, NULL);
  free(payload); /* it was copied */
  return status;
}

static wasm_callback_result transform(void *data, wasm_slice batch, uint32_t first, wasm_work *work, wasm_call *call) {
  (void)batch, (void)first;
  struct upper *self = data;
  if (self->asked != NULL) { /* the promise was resolved, or the output was full */
    const wasm_status status = answer(work, self->asked);
    if (status == WASM_STATUS_OUTPUT_FULL) return WASM_CALLBACK_RESULT_AGAIN;
    request_release(self->asked);
    self->asked = NULL;
    if (status != WASM_STATUS_OK) return fail(call, wasm_status_name(status));
  }
  wasm_input_record record;
  wasm_payload payload;
  if (wasm_work_next(work, &record, NULL) != WASM_STATUS_OK) return WASM_CALLBACK_RESULT_FAILED;
  if (record.payload == NULL) return WASM_CALLBACK_RESULT_DONE;
  const wasm_slice bytes = {record.payload, record.payload_size};
  if (wasm_payload_read(bytes, &payload, NULL, 0, NULL) != WASM_STATUS_OK) return WASM_CALLBACK_RESULT_FAILED;
  if (payload.value.size <= 0) return fail(call, "the record has no value");
  return ask(self, payload.value, call);
}

/* The engine is stopped, at any moment. The service may still have the question. */
static void stop(void *data) {
  struct upper *self = data;
  request_release(self->asked);
  self->asked = NULL;
}

/* ---- The host ---- */

static void wake(void *data) { sem_post(data); }

/* Polls to the end. An event loop would run other tasks instead of waiting. */
static wasm_status complete(wasm_future *future) {
  wasm_poll state = WASM_POLL_PENDING;
  wasm_status status = WASM_STATUS_OK;
  while (status == WASM_STATUS_OK && state != WASM_POLL_READY) {
    const wasm_waker waker = {.data = &woken, .wake = wake};
    status = wasm_future_poll(future, &waker, &state, &error);
    if (status == WASM_STATUS_OK && state == WASM_POLL_PENDING) sem_wait(&woken);
  }
  wasm_future_release(future, NULL);
  return status;
}

static wasm_callback_result print(void *data, const wasm_output_record *records, size_t count, wasm_call *call) {
  (void)data, (void)call;
  for (size_t i = 0; i < count; i++) {
    wasm_payload payload;
    check(wasm_payload_read((wasm_slice){records[i].payload, records[i].payload_size}, &payload, NULL, 0, &error));
    printf("%lld: %.*s\n", (long long)records[i].input_offset, (int)payload.value.size,
           (const char *)payload.value.data);
  }
  return WASM_CALLBACK_RESULT_DONE;
}

int main(int argc, char **argv) {
  wasm_runtime *runtime;
  wasm_factory *factory;
  wasm_engine *engine;
  wasm_future *future;
  wasm_batch_builder *builder;
  pthread_t thread;
  sem_init(&woken, 0, 0);
  if (pthread_create(&thread, NULL, serve, NULL) != 0) return 1;

  check(wasm_runtime_create(NULL, &runtime, &error));
  const wasm_slice topic = text("out");
  const wasm_factory_config config = {.size = sizeof config, .name = text("upper"), .input_topic = text("in"),
                                      .output_topics = &topic, .output_topic_count = 1};
  const wasm_custom_engine table = {.size = sizeof table, .create = create, .transform = transform, .stop = stop,
                                    .release = free};
  check(wasm_factory_create_custom(runtime, &config, &table, &factory, &error));
  check(wasm_engine_create(factory, NULL, &engine, &error));
  const wasm_engine_policy policy = {.size = sizeof policy, .on_error = WASM_ON_ERROR_SKIP};
  check(wasm_engine_set_policy(engine, &policy, &error));
  check(wasm_engine_start(engine, &future, &error));
  check(complete(future));

  const wasm_output_sink sink = {.size = sizeof sink, .records = print};
  wasm_transform_args args = {.size = sizeof args, .sink = &sink};
  check(wasm_batch_builder_create(NULL, &builder, &error));
  for (int i = 1; i < argc; i++) {
    const wasm_payload record = {.key = {.size = -1}, .value = {(const uint8_t *)argv[i], (int64_t)strlen(argv[i])}};
    check(wasm_batch_builder_add(builder, -1, 0, &record, &error));
  }
  check(wasm_batch_builder_finish(builder, &args.batch, &error));
  check(wasm_engine_transform(engine, &args, &future, &error));
  check(complete(future));
  wasm_engine_stats stats = {.size = sizeof stats};
  check(wasm_engine_get_stats(engine, &stats, &error));
  printf("skipped: %llu\n", (unsigned long long)stats.skipped);

  /* The same batch again. The service has the first question when the engine is stopped. */
  wasm_poll state;
  wasm_future *stopping;
  check(wasm_engine_transform(engine, &args, &future, &error));
  check(wasm_future_poll(future, NULL, &state, &error));
  check(wasm_engine_stop(engine, &stopping, &error));
  check(complete(stopping));
  printf("stopped: %s\n", wasm_status_name(complete(future)));
  wasm_error_release(error);

  wasm_batch_builder_release(builder);
  check(wasm_engine_release(engine, &error));
  wasm_factory_release(factory);
  wasm_runtime_release(runtime);
  pthread_mutex_lock(&service.lock);
  service.ends = true;
  pthread_cond_signal(&service.changed);
  pthread_mutex_unlock(&service.lock);
  pthread_join(thread, NULL);
  sem_destroy(&woken);
  return 0;
}
