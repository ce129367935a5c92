/* SPDX-License-Identifier: Apache-2.0
 *
 * A host that is compiled against another version of the header than the library's: host GUEST.wasm, for a guest that
 * copies each record and logs it.
 *
 * It uses every kind of struct that may grow: those that the library reads, those that it writes and those that it
 * passes to callbacks. What it writes has guard bytes behind it. With NEWER each of these structs has a last field
 * `appended`, which no library knows.
 */
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wasm_engine.h>

static wasm_error *error;

static void require(bool ok, const char *what) {
  if (ok) return;
  fprintf(stderr, "failed: %s\n", what);
  exit(1);
}

static void check(wasm_status status) {
  if (status == WASM_STATUS_OK) return;
  fprintf(stderr, "%s: %s\n", wasm_status_name(status), wasm_error_message(error));
  exit(1);
}

static wasm_slice text(const char *s) { return (wasm_slice){(const uint8_t *)s, strlen(s)}; }

/* ---- Structs that the library writes ---- */

enum { GUARD = 256 };

static void guard(void *bytes, size_t size) { memset(bytes, 0xa5, size); }

static bool is_guard(const unsigned char *bytes) {
  for (int i = 0; i < GUARD; i++) {
    if (bytes[i] != 0xa5) return false;
  }
  return true;
}

/* GUARDED(type, x): the struct `x.value`, with its size set, and bytes behind it that are not its own. */
#define GUARDED(type, x)         \
  struct {                       \
    type value;                  \
    unsigned char behind[GUARD]; \
  } x;                           \
  guard(&x, sizeof x);           \
  x.value.size = sizeof x.value

/* A field that the library does not know reads as zero. */
#ifdef NEWER
#define APPENDED_IS_ZERO(x) require((x).appended == 0, "a field that no library knows is zero")
#else
#define APPENDED_IS_ZERO(x) (void)0
#endif

#define INTACT(x)                                                             \
  do {                                                                        \
    require(is_guard((x).behind), "nothing is written behind the struct " #x); \
    require((x).value.size == sizeof(x).value, "the size is the caller's " #x); \
    APPENDED_IS_ZERO((x).value);                                              \
  } while (0)

/* ---- Structs that the library reads ---- */

#ifdef NEWER
static int refused;

/* A field that is not zero asks for something that the library cannot do. */
#define REFUSED(config, call)                                                                   \
  do {                                                                                          \
    (config).appended = 1;                                                                      \
    require((call) == WASM_STATUS_INVALID_STRUCT_SIZE, "a field that no library knows is refused"); \
    wasm_error_release(error);                                                                  \
    error = NULL;                                                                               \
    (config).appended = 0;                                                                      \
    refused++;                                                                                  \
  } while (0)
#else
#define REFUSED(config, call) (void)0
#endif

/* ---- The host ---- */

static void set_flag(void *data) { atomic_store((atomic_bool *)data, true); }

/* Polls to the end. Frees the future. */
static wasm_status finish(wasm_future *future, wasm_factory **factory) {
  wasm_status status = WASM_STATUS_OK;
  wasm_poll state = WASM_POLL_YIELDED;
  while (status == WASM_STATUS_OK && state != WASM_POLL_READY) {
    atomic_bool woken = false;
    const wasm_waker waker = {&woken, set_flag, NULL};
    status = wasm_future_poll(future, &waker, &state, &error);
    while (status == WASM_STATUS_OK && state == WASM_POLL_PENDING && !atomic_load(&woken)) sched_yield();
  }
  if (status == WASM_STATUS_OK && factory != NULL) check(wasm_future_take_factory(future, factory, &error));
  check(wasm_future_release(future, NULL));
  return status;
}

static size_t lines, records;

static void take_line(void *data, const wasm_log_line *line) {
  (void)data;
  /* The library's size. A host of a newer header looks at it before it reads a field that this library may not have. */
  require(line->size >= offsetof(wasm_log_line, user_data) + sizeof line->user_data, "the line is a whole one");
  require(line->text.size > 0, "the line has a text");
  lines++;
}

static wasm_callback_result take_records(void *data, const wasm_output_record *output, size_t count, wasm_call *call) {
  (void)data;
  (void)output;
  (void)call;
  records += count;
  return WASM_CALLBACK_RESULT_DONE;
}

static wasm_callback_result never(void *data, wasm_call *call, const wasm_value *args, wasm_value *results) {
  (void)data;
  (void)call;
  (void)args;
  (void)results;
  return WASM_CALLBACK_RESULT_FAILED;
}

static wasm_runtime *make_runtime(void) {
  wasm_runtime *runtime = NULL;
  wasm_runtime_config config = {.size = sizeof config, .memory_limit = 16 << 20, .log = {.line = take_line}};
  config.memory_mode = WASM_MEMORY_MODE_THREAD_POOL;
  config.core_dumps = 1;
  REFUSED(config, wasm_runtime_create(&config, &runtime, &error));
  check(wasm_runtime_create(&config, &runtime, &error));

  const wasm_value_type i32 = WASM_VALUE_TYPE_I32;
  const wasm_host_function function = {.size = sizeof function, .module = text("host"), .name = text("never"),
                                       .params = &i32, .param_count = 1, .call = never};
  check(wasm_runtime_register_function(runtime, &function, &error));
  const wasm_thread_config thread = {.size = sizeof thread, .engines = 2};
  check(wasm_thread_prepare(runtime, &thread, &error));
  GUARDED(wasm_thread_pool, pool);
  check(wasm_thread_get_pool(runtime, &pool.value, &error));
  INTACT(pool);
  require(pool.value.engines == 2, "the pool has two places");
  return runtime;
}

static wasm_factory *make_factory(wasm_runtime *runtime, wasm_slice module) {
  wasm_factory_cache *cache = NULL;
  wasm_factory *factory = NULL;
  wasm_future *future = NULL;
  const wasm_factory_cache_config settings = {.size = sizeof settings};
  check(wasm_factory_cache_create(runtime, &settings, &cache, &error));
  const wasm_slice topic = text("out");
  wasm_factory_config config = {.size = sizeof config, .module = module, .name = text("old"), .input_topic = text("in"),
                                .output_topics = &topic, .output_topic_count = 1};
  REFUSED(config, wasm_factory_cache_get(cache, text("key"), &config, &future, &error));
  check(wasm_factory_cache_get(cache, text("key"), &config, &future, &error));
  check(finish(future, &factory));
  GUARDED(wasm_factory_cache_stats, stats);
  check(wasm_factory_cache_get_stats(cache, &stats.value, &error));
  INTACT(stats);
  require(stats.value.entries == 1 && stats.value.compilations == 1, "one was compiled");
  wasm_factory_cache_release(cache);
  return factory;
}

/* Transforms one batch of one record. */
static wasm_status transform(wasm_engine *engine, const char *value) {
  const wasm_batch_config settings = {.size = sizeof settings, .base_offset = 7};
  wasm_batch_builder *builder = NULL;
  wasm_future *future = NULL;
  const wasm_slice bytes = text(value);
  const wasm_payload payload = {.key = {.size = -1}, .value = {bytes.data, (int64_t)bytes.size}};
  const wasm_output_sink sink = {.size = sizeof sink, .records = take_records};
  wasm_transform_args args = {.size = sizeof args, .sink = &sink};
  check(wasm_batch_builder_create(&settings, &builder, &error));
  check(wasm_batch_builder_add(builder, -1, 0, &payload, &error));
  check(wasm_batch_builder_finish(builder, &args.batch, &error));
  REFUSED(args, wasm_engine_transform(engine, &args, &future, &error));
  check(wasm_engine_transform(engine, &args, &future, &error));
  const wasm_status status = finish(future, NULL);
  wasm_batch_builder_release(builder);
  return status;
}

/* What is known about a batch that is none. */
static void read_error(wasm_engine *engine) {
  const wasm_output_sink sink = {.size = sizeof sink, .records = take_records};
  const wasm_transform_args args = {.size = sizeof args, .batch = text("no batch"), .sink = &sink};
  wasm_future *future = NULL;
  check(wasm_engine_transform(engine, &args, &future, &error));
  const wasm_status status = finish(future, NULL);
  require(status == WASM_STATUS_BATCH_TRUNCATED, wasm_status_name(status));
  GUARDED(wasm_error_info, info);
  check(wasm_error_get_info(error, &info.value));
  INTACT(info);
  require(info.value.status == status && info.value.message.size > 0, "the error says what happened");
  wasm_error_release(error);
  error = NULL;
}

static void read_metrics(wasm_runtime *runtime, wasm_engine *engine) {
  GUARDED(wasm_engine_stats, stats);
  check(wasm_engine_get_stats(engine, &stats.value, &error));
  INTACT(stats);
  GUARDED(wasm_runtime_metrics, numbers);
  check(wasm_runtime_get_metrics(runtime, &numbers.value, &error));
  INTACT(numbers);
  require(numbers.value.engines == 1 && numbers.value.compilations == 1, "one engine of one module");
  wasm_metrics *metrics = NULL;
  check(wasm_metrics_create(runtime, &metrics, &error));
  GUARDED(wasm_transform_metrics, of_transform);
  check(wasm_metrics_get(metrics, 0, &of_transform.value, &error));
  INTACT(of_transform);
  require(of_transform.value.input_records == 1 && of_transform.value.output_records == 1, "a record was copied");
  wasm_metrics_release(metrics);
}

int main(int argc, char **argv) {
  static uint8_t module[1 << 20];
  FILE *file = argc == 2 ? fopen(argv[1], "rb") : NULL;
  require(file != NULL, "usage: host GUEST.wasm");
  const size_t size = fread(module, 1, sizeof module, file);
  fclose(file);

  wasm_runtime *runtime = make_runtime();
  wasm_factory *factory = make_factory(runtime, (wasm_slice){module, size});
  wasm_engine *engine = NULL;
  wasm_future *future = NULL;
  const wasm_engine_config config = {.size = sizeof config};
  check(wasm_engine_create(factory, &config, &engine, &error));
  const wasm_engine_policy policy = {.size = sizeof policy, .on_error = WASM_ON_ERROR_FAIL};
  check(wasm_engine_set_policy(engine, &policy, &error));
  check(wasm_engine_start(engine, &future, &error));
  check(finish(future, NULL));
  check(transform(engine, "a record"));
  require(records == 1, "one record came out");
  require(lines > 0, "the guest has logged");
  read_error(engine);
  read_metrics(runtime, engine);
  check(wasm_engine_release(engine, &error));
  wasm_factory_release(factory);
  check(wasm_thread_release(runtime, &error));
  wasm_runtime_release(runtime);
#ifdef NEWER
  printf("host: ok, %d refused\n", refused);
#else
  printf("host: ok\n");
#endif
  return 0;
}
