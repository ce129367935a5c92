/* SPDX-License-Identifier: Apache-2.0
 *
 * engine_states GUESTS: goes through the states of an engine, and writes each change as docs/diagrams/engine.dot does. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wasm_engine.h>
#define TEXT(s) {(const uint8_t *)s, sizeof s - 1}

static const char *const names[] = {"STOPPED", "STARTING", "IDLE", "TRANSFORMING"};
static wasm_runtime *runtime;
static wasm_engine *engine;
static wasm_engine_state last;
static wasm_batch_builder *builder;

static void check(bool ok, const char *what) {
  if (ok) return;
  fprintf(stderr, "failed: %s\n", what);
  exit(1);
}

static wasm_engine_state now(void) {
  wasm_engine_state state;
  check(wasm_engine_get_state(engine, &state, NULL) == WASM_STATUS_OK, "get_state");
  return state;
}

static void changed(void) {
  const wasm_engine_state state = now();
  if (state != last) printf("%s -> %s\n", names[last], names[state]);
  last = state;
}

/* Polls to the end. */
static wasm_status finish(wasm_future *future, wasm_factory **factory) {
  wasm_poll state = WASM_POLL_PENDING;
  wasm_status status;
  while ((status = wasm_future_poll(future, NULL, &state, NULL)) == WASM_STATUS_OK && state != WASM_POLL_READY) {
    if (state == WASM_POLL_PENDING) usleep(1000);
  }
  if (factory != NULL) check(wasm_future_take_factory(future, factory, NULL) == WASM_STATUS_OK, "take_factory");
  check(wasm_future_release(future, NULL) == WASM_STATUS_OK, "release");
  return status;
}

static wasm_factory *compile(const char *guests, const char *name) {
  static uint8_t bytes[1 << 20];
  char path[4096];
  wasm_future *future;
  wasm_factory *factory;
  snprintf(path, sizeof path, "%s/%s.wasm", guests, name);
  FILE *file = fopen(path, "rb");
  check(file != NULL, path);
  const wasm_slice topic = TEXT("out"), module = {bytes, fread(bytes, 1, sizeof bytes, file)};
  fclose(file);
  const wasm_factory_config config = {.size = sizeof config, .module = module, .name = TEXT("states"),
                                      .output_topics = &topic, .output_topic_count = 1};
  check(wasm_factory_create(runtime, &config, &future, NULL) == WASM_STATUS_OK, "factory_create");
  check(finish(future, &factory) == WASM_STATUS_OK, "compilation");
  return factory;
}

static void begin(wasm_factory *factory) {
  check(wasm_engine_release(engine, NULL) == WASM_STATUS_OK, "release");
  check(wasm_engine_create(factory, NULL, &engine, NULL) == WASM_STATUS_OK, "create");
  last = now();
  printf("create -> %s\n", names[last]);
}

static wasm_future *start(void) {
  wasm_future *future;
  check(wasm_engine_start(engine, &future, NULL) == WASM_STATUS_OK, "start");
  changed();
  return future;
}

static wasm_callback_result take(void *data, const wasm_output_record *records, size_t count, wasm_call *call) {
  (void)data, (void)records, (void)count, (void)call;
  wasm_engine_stats stats = {.size = sizeof stats};
  check(wasm_engine_get_stats(engine, &stats, NULL) == WASM_STATUS_OK, "stats");
  if (stats.skipped == 1) printf("TRANSFORMING -> %s\n", names[now()]);
  return WASM_CALLBACK_RESULT_DONE;
}

/* A letter is a record of wat_traps. Without any the batch is none. */
static wasm_future *transform(const char *letters) {
  static const wasm_batch_config settings = {.size = sizeof settings};
  static const wasm_output_sink sink = {.size = sizeof sink, .records = take};
  wasm_transform_args args = {.size = sizeof args, .sink = &sink, .batch = TEXT("no batch")};
  wasm_future *future;
  check(wasm_batch_builder_reset(builder, &settings, NULL) == WASM_STATUS_OK, "reset");
  for (; *letters != '\0'; letters++) {
    const wasm_payload record = {.key = {.size = -1}, .value = {(const uint8_t *)letters, 1}};
    check(wasm_batch_builder_add(builder, -1, 0, &record, NULL) == WASM_STATUS_OK, "add");
    check(wasm_batch_builder_finish(builder, &args.batch, NULL) == WASM_STATUS_OK, "finish");
  }
  check(wasm_engine_transform(engine, &args, &future, NULL) == WASM_STATUS_OK, "transform");
  changed();
  return future;
}

static void end(wasm_future *future, wasm_status expected) {
  check(finish(future, NULL) == expected, wasm_status_name(expected));
  changed();
}

static void stop(void) {
  wasm_future *future;
  check(wasm_engine_stop(engine, &future, NULL) == WASM_STATUS_OK, "stop");
  changed();
  end(future, WASM_STATUS_OK);
}

int main(int argc, char **argv) {
  const wasm_engine_policy skip = {.size = sizeof skip, .on_error = WASM_ON_ERROR_SKIP};
  wasm_future *future;
  check(argc == 2, "usage: engine_states GUESTS");
  check(wasm_runtime_create(NULL, &runtime, NULL) == WASM_STATUS_OK, "runtime_create");
  check(wasm_batch_builder_create(NULL, &builder, NULL) == WASM_STATUS_OK, "builder_create");
  wasm_factory *traps = compile(argv[1], "wat_traps"), *never = compile(argv[1], "wat_start_trap");
  begin(never);
  end(start(), WASM_STATUS_GUEST_TRAP);
  begin(traps);
  future = start();
  stop();
  end(future, WASM_STATUS_CANCELLED);
  check(wasm_future_release(start(), NULL) == WASM_STATUS_OK, "release a start");
  changed();
  end(start(), WASM_STATUS_OK);
  end(transform("-"), WASM_STATUS_OK);
  end(transform(""), WASM_STATUS_BATCH_TRUNCATED);
  future = transform("-");
  stop();
  end(future, WASM_STATUS_CANCELLED);
  end(start(), WASM_STATUS_OK);
  stop();
  end(start(), WASM_STATUS_OK);
  end(transform("-u"), WASM_STATUS_GUEST_TRAP);
  check(wasm_engine_replace(engine, traps, &future, NULL) == WASM_STATUS_OK, "replace");
  changed();
  end(future, WASM_STATUS_OK);
  stop();
  check(wasm_engine_set_policy(engine, &skip, NULL) == WASM_STATUS_OK, "set_policy");
  end(start(), WASM_STATUS_OK);
  end(transform("u-"), WASM_STATUS_OK);
  check(wasm_engine_release(engine, NULL) == WASM_STATUS_OK, "release");
  wasm_batch_builder_release(builder);
  wasm_factory_release(traps);
  wasm_factory_release(never);
  wasm_runtime_release(runtime);
}
