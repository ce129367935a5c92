/* SPDX-License-Identifier: Apache-2.0
 *
 * exit_while_compiling HOW < GUEST.wasm: the process ends while a module is compiled, with exit code 42. HOW: `return`
 * from main, `exit` there, `exit` on another `thread`, `quick_exit`, or `release` of everything before the return. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wasm_engine.h>

static void *leave(void *unused) {
  (void)unused;
  exit(42);
}

int main(int argc, char **argv) {
  static uint8_t bytes[32 << 20];
  const wasm_slice module = {bytes, fread(bytes, 1, sizeof bytes, stdin)};
  const wasm_factory_config config = {.size = sizeof config, .module = module, .name = {(const uint8_t *)"faq", 3}};
  wasm_runtime *runtime;
  wasm_future *future;
  wasm_poll state;
  wasm_runtime_metrics metrics = {.size = sizeof metrics};
  pthread_t thread;
  if (argc != 2 || module.size == 0) return 1;
  if (wasm_runtime_create(NULL, &runtime, NULL) != WASM_STATUS_OK) return 2;
  if (wasm_factory_create(runtime, &config, &future, NULL) != WASM_STATUS_OK) return 3;
  usleep(50000); /* the compile thread is at work */
  if (wasm_future_poll(future, NULL, &state, NULL) != WASM_STATUS_OK || state != WASM_POLL_PENDING) return 4;
  if (wasm_runtime_get_metrics(runtime, &metrics, NULL) != WASM_STATUS_OK || metrics.compilations != 0) return 5;
  if (strcmp(argv[1], "exit") == 0) exit(42);
  if (strcmp(argv[1], "quick_exit") == 0) quick_exit(42);
  if (strcmp(argv[1], "thread") == 0) {
    if (pthread_create(&thread, NULL, leave, NULL) != 0) return 6;
    for (;;) pause();
  }
  if (strcmp(argv[1], "release") == 0) {
    if (wasm_future_release(future, NULL) != WASM_STATUS_OK) return 7;
    wasm_runtime_release(runtime);
  }
  return 42;
}
