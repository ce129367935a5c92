/* SPDX-License-Identifier: Apache-2.0
 *
 * A host for test_monitoring: metrics_host GUEST.wasm. For each line of standard input it transforms a batch of three
 * records, at the last of which wat_traps fails. Then it writes the metrics' text and a line "# end". */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <wasm_engine.h>
#define TEXT(s) {(const uint8_t *)s, sizeof s - 1}

static wasm_error *error;
static wasm_runtime *runtime;

static void check(wasm_status status) {
  if (status == WASM_STATUS_OK) return;
  fprintf(stderr, "%s: %s\n", wasm_status_name(status), wasm_error_message(error));
  exit(1);
}

static wasm_status complete(wasm_future *future, wasm_factory **factory) {
  const struct timespec moment = {0, 1000000};
  wasm_poll state = WASM_POLL_PENDING;
  wasm_status status;
  while ((status = wasm_future_poll(future, NULL, &state, NULL)) == WASM_STATUS_OK && state != WASM_POLL_READY) {
    if (state == WASM_POLL_PENDING) nanosleep(&moment, NULL);
  }
  if (status == WASM_STATUS_OK && factory != NULL) check(wasm_future_take_factory(future, factory, &error));
  check(wasm_future_release(future, &error));
  return status;
}

static wasm_callback_result take(void *data, const wasm_output_record *records, size_t count, wasm_call *call) {
  (void)data, (void)records, (void)count, (void)call;
  return WASM_CALLBACK_RESULT_DONE;
}

static void print_metrics(void) {
  wasm_bytes *text;
  check(wasm_runtime_metrics_text(runtime, &text, &error));
  const wasm_slice view = wasm_bytes_view(text);
  fwrite(view.data, 1, view.size, stdout);
  puts("# end");
  fflush(stdout);
  wasm_bytes_release(text);
}

int main(int argc, char **argv) {
  static uint8_t bytes[1 << 20];
  static const char *const values[] = {"-", "-", "u"};
  char line[16];
  FILE *file = argc == 2 ? fopen(argv[1], "rb") : NULL;
  if (file == NULL) return 2;
  const wasm_slice module = {bytes, fread(bytes, 1, sizeof bytes, file)}, topic = TEXT("out");
  wasm_factory_config config = {.size = sizeof config, .name = TEXT("watched"), .module = TEXT("not Wasm"),
                                .output_topics = &topic, .output_topic_count = 1};
  const wasm_engine_policy policy = {.size = sizeof policy, .on_error = WASM_ON_ERROR_SKIP};
  const wasm_batch_config settings = {.size = sizeof settings};
  wasm_factory *factory;
  wasm_engine *engine;
  wasm_future *future;
  wasm_batch_builder *builder;
  fclose(file);
  check(wasm_runtime_create(NULL, &runtime, &error));
  check(wasm_factory_create(runtime, &config, &future, &error));
  if (complete(future, &factory) != WASM_STATUS_MODULE_NOT_WASM) return 3;
  config.module = module;
  check(wasm_factory_create(runtime, &config, &future, &error));
  check(complete(future, &factory));
  check(wasm_engine_create(factory, NULL, &engine, &error));
  check(wasm_engine_set_policy(engine, &policy, &error));
  check(wasm_engine_start(engine, &future, &error));
  check(complete(future, NULL));
  check(wasm_batch_builder_create(&settings, &builder, &error));
  while (fgets(line, sizeof line, stdin) != NULL) {
    const wasm_output_sink sink = {.size = sizeof sink, .records = take};
    wasm_transform_args args = {.size = sizeof args, .sink = &sink};
    check(wasm_batch_builder_reset(builder, &settings, &error));
    for (size_t i = 0; i < 3; i++) {
      const wasm_payload record = {.key = {.size = -1}, .value = {(const uint8_t *)values[i], 1}};
      check(wasm_batch_builder_add(builder, -1, 0, &record, &error));
    }
    check(wasm_batch_builder_finish(builder, &args.batch, &error));
    check(wasm_engine_set_end_offset(engine, 0, 10, &error));
    check(wasm_engine_transform(engine, &args, &future, &error));
    check(complete(future, NULL));
    print_metrics();
  }
  wasm_batch_builder_release(builder);
  check(wasm_engine_release(engine, &error));
  wasm_factory_release(factory);
  wasm_runtime_release(runtime);
}
