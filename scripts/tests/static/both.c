/* Compresses with Debian's libraries. Then a guest gets batches that the library compresses and decompresses. */
#include <lz4.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wasm_engine.h>
#include <xxhash.h>
#include <zstd.h>

#define TEXT(s) {(const uint8_t *)s, sizeof s - 1}
static wasm_error *error;
static sem_t woken;
static char value[4096];
static int came_back;

static void check(wasm_status status) {
  if (status == WASM_STATUS_OK) return;
  fprintf(stderr, "%s\n", wasm_error_message(error));
  exit(1);
}

static void wake(void *data) { sem_post(data); }

static void complete(wasm_future *future, wasm_factory **factory) {
  for (wasm_poll state = WASM_POLL_PENDING; state != WASM_POLL_READY;) {
    const wasm_waker waker = {.data = &woken, .wake = wake};
    check(wasm_future_poll(future, &waker, &state, &error));
    if (state == WASM_POLL_PENDING) sem_wait(&woken);
  }
  if (factory != NULL) check(wasm_future_take_factory(future, factory, &error));
  check(wasm_future_release(future, &error));
}

static wasm_callback_result compare(void *data, const wasm_output_record *records, size_t count, wasm_call *call) {
  (void)data, (void)call;
  for (size_t i = 0; i < count; i++) {
    wasm_payload payload;
    check(wasm_payload_read((wasm_slice){records[i].payload, records[i].payload_size}, &payload, NULL, 0, &error));
    came_back += payload.value.size == sizeof value && memcmp(payload.value.data, value, sizeof value) == 0;
  }
  return WASM_CALLBACK_RESULT_DONE;
}

static void system_libraries(void) {
  static char packed[2 * sizeof value], unpacked[sizeof value];
  const size_t zstd = ZSTD_compress(packed, sizeof packed, value, sizeof value, 3);
  const int zstd_ok = ZSTD_decompress(unpacked, sizeof unpacked, packed, zstd) == sizeof value &&
                      memcmp(value, unpacked, sizeof value) == 0;
  const int lz4 = LZ4_compress_default(value, packed, sizeof value, sizeof packed);
  const int lz4_ok = LZ4_decompress_safe(packed, unpacked, lz4, sizeof unpacked) == sizeof value &&
                     memcmp(value, unpacked, sizeof value) == 0;
  printf("zstd %s: %s, LZ4: %s, xxHash: %s\n", ZSTD_versionString(), zstd_ok ? "ok" : "wrong", lz4_ok ? "ok" : "wrong",
         XXH32("", 0, 0) == 0x02cc5d05 ? "ok" : "wrong");
}

int main(int argc, char **argv) {
  static uint8_t bytes[1 << 20];
  FILE *file = argc == 2 ? fopen(argv[1], "rb") : NULL;
  if (file == NULL) return 2;
  for (size_t i = 0; i < sizeof value; i++) value[i] = (char)(i / 64 + i % 7);
  system_libraries();

  const wasm_slice module = {bytes, fread(bytes, 1, sizeof bytes, file)}, output = TEXT("out");
  wasm_runtime *runtime;
  wasm_factory *factory;
  wasm_engine *engine;
  wasm_future *future;
  sem_init(&woken, 0, 0);
  check(wasm_runtime_create(NULL, &runtime, &error));
  const wasm_factory_config config = {.size = sizeof config, .module = module, .name = TEXT("identity"),
                                      .input_topic = TEXT("in"), .output_topics = &output, .output_topic_count = 1};
  check(wasm_factory_create(runtime, &config, &future, &error));
  complete(future, &factory);
  check(wasm_engine_create(factory, NULL, &engine, &error));
  check(wasm_engine_start(engine, &future, &error));
  complete(future, NULL);

  static const struct { const char *name; wasm_compression codec; } codecs[] = {
      {"none", WASM_COMPRESSION_NONE}, {"gzip", WASM_COMPRESSION_GZIP}, {"snappy", WASM_COMPRESSION_SNAPPY},
      {"lz4", WASM_COMPRESSION_LZ4}, {"zstd", WASM_COMPRESSION_ZSTD}};
  for (size_t i = 0; i < sizeof codecs / sizeof *codecs; i++) {
    const wasm_batch_config settings = {.size = sizeof settings, .compression = codecs[i].codec};
    const wasm_payload record = {.key = {.size = -1}, .value = {(const uint8_t *)value, sizeof value}};
    const wasm_output_sink sink = {.size = sizeof sink, .records = compare};
    wasm_transform_args args = {.size = sizeof args, .sink = &sink};
    wasm_batch_builder *builder;
    check(wasm_batch_builder_create(&settings, &builder, &error));
    check(wasm_batch_builder_add(builder, -1, 0, &record, &error));
    check(wasm_batch_builder_finish(builder, &args.batch, &error));
    came_back = 0;
    check(wasm_engine_transform(engine, &args, &future, &error));
    complete(future, NULL);
    printf("%s: %s\n", codecs[i].name, came_back == 1 ? "the record came back" : "wrong");
    wasm_batch_builder_release(builder);
  }
  check(wasm_engine_release(engine, &error));
  wasm_factory_release(factory);
  wasm_runtime_release(runtime);
}
