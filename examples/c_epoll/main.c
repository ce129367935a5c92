/* SPDX-License-Identifier: Apache-2.0
 *
 * A host in C on epoll: c_epoll GUEST.wasm VALUE...
 *
 * Each value becomes a batch of one record. What the guest writes goes to standard output.
 *
 *   eventfd    wakers write to it, on whatever thread they are called; the loop then polls the future
 *   timerfd    lets one batch begin each 10 ms: back-pressure towards whoever sends batches
 *   signalfd   SIGINT and SIGTERM stop the engine, and the operation in progress ends with CANCELLED
 *   a thread   writes the output, as a disk would, and settles the promise that the sink has taken
 *
 * c_epoll is linked with the library. c_epoll_dlopen is the same source with USE_DLOPEN: it loads the library.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>
#ifdef USE_DLOPEN
#define WASM_LIBRARY library /* wasm_engine_start(…) calls library.engine_start(…) and so on */
#include <wasm_engine_dlopen.h>
static wasm_library library;
#else
#include <wasm_engine.h>
#endif

static int wake_fd, tick_fd, signal_fd, epoll_fd;
static wasm_error *error;

/* ---- Errors ---- */

static void check(wasm_status status) {
  if (status == WASM_STATUS_OK) return;
  fprintf(stderr, "%s: %s\n", wasm_status_name(status), wasm_error_message(error));
  exit(1);
}

static int checked(int result, const char *what) {
  if (result >= 0) return result;
  perror(what);
  exit(1);
}

/* ---- The thread that writes ---- */

static struct {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  const wasm_output_record *records; /* lent by the sink until the promise is settled */
  size_t count;
  wasm_promise *promise;
  bool ends;
} writer = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL, 0, NULL, false};

static void write_block(const wasm_output_record *records, size_t count) {
  for (size_t i = 0; i < count; i++) {
    wasm_payload payload;
    if (wasm_payload_read((wasm_slice){records[i].payload, records[i].payload_size}, &payload, NULL, 0, NULL) ==
        WASM_STATUS_OK) {
      printf("%lld: %.*s\n", (long long)records[i].input_offset, (int)payload.value.size,
             payload.value.size > 0 ? (const char *)payload.value.data : "");
    }
  }
  fflush(stdout);
}

static void *write_output(void *unused) {
  pthread_mutex_lock(&writer.lock);
  for (;;) {
    while (writer.promise == NULL && !writer.ends) pthread_cond_wait(&writer.changed, &writer.lock);
    if (writer.promise == NULL) break;
    write_block(writer.records, writer.count);
    /* Wakes the waker of the transform's future, which writes to the eventfd. */
    wasm_promise_resolve(writer.promise, NULL);
    wasm_promise_release(writer.promise);
    writer.promise = NULL;
    pthread_cond_broadcast(&writer.changed);
  }
  pthread_mutex_unlock(&writer.lock);
  return unused;
}

static wasm_callback_result sink_records(void *data, const wasm_output_record *records, size_t count, wasm_call *call) {
  (void)data;
  wasm_promise *promise = NULL;
  if (wasm_call_promise(call, &promise, NULL) != WASM_STATUS_OK) return WASM_CALLBACK_RESULT_FAILED;
  pthread_mutex_lock(&writer.lock);
  writer.records = records;
  writer.count = count;
  writer.promise = promise;
  pthread_cond_broadcast(&writer.changed);
  pthread_mutex_unlock(&writer.lock);
  return WASM_CALLBACK_RESULT_PENDING;
}

/* The operation is over, at its end or early. The writer must not read the records any more. */
static void sink_drop(void *data) {
  (void)data;
  pthread_mutex_lock(&writer.lock);
  while (writer.promise != NULL) pthread_cond_wait(&writer.changed, &writer.lock);
  pthread_mutex_unlock(&writer.lock);
}

/* ---- The loop ---- */

static void wake(void *data) {
  (void)data;
  (void)!write(wake_fd, &(uint64_t){1}, sizeof(uint64_t));
}

/* Polls once. Whether the operation has completed. */
static bool poll_once(wasm_future *future, wasm_status *status) {
  const wasm_waker waker = {.wake = wake};
  wasm_poll state = WASM_POLL_PENDING;
  *status = wasm_future_poll(future, &waker, &state, &error);
  if (*status == WASM_STATUS_OK && state == WASM_POLL_YIELDED) wake(NULL); /* again, after what else is ready */
  return *status != WASM_STATUS_OK || state == WASM_POLL_READY;
}

/* What is ready, as the descriptor's number. */
static int next_event(void) {
  struct epoll_event event;
  int n;
  do n = epoll_wait(epoll_fd, &event, 1, -1);
  while (n < 0 && errno == EINTR);
  checked(n, "epoll_wait");
  uint64_t count;
  struct signalfd_siginfo info;
  if (event.data.fd == signal_fd) (void)!read(signal_fd, &info, sizeof info);
  else (void)!read(event.data.fd, &count, sizeof count);
  return event.data.fd;
}

/* For what comes before the loop: nothing else is to be done meanwhile. */
static void complete(wasm_future *future, wasm_factory **factory) {
  wasm_status status;
  while (!poll_once(future, &status)) {
    while (next_event() != wake_fd) {}
  }
  check(status);
  if (factory != NULL) check(wasm_future_take_factory(future, factory, &error));
  check(wasm_future_release(future, &error));
}

static void watch(int fd) {
  struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
  checked(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
}

static void make_loop(void) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, NULL); /* never SIGSEGV, SIGILL, SIGFPE: guests' traps */
  epoll_fd = checked(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
  wake_fd = checked(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd");
  tick_fd = checked(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK), "timerfd_create");
  signal_fd = checked(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK), "signalfd");
  const struct itimerspec often = {{0, 10000000}, {0, 10000000}};
  checked(timerfd_settime(tick_fd, 0, &often, NULL), "timerfd_settime");
  watch(wake_fd);
  watch(tick_fd);
  watch(signal_fd);
}

static wasm_slice read_file(const char *path) {
  FILE *file = fopen(path, "rb");
  if (file == NULL || fseek(file, 0, SEEK_END) != 0) checked(-1, path);
  const long size = ftell(file);
  rewind(file);
  uint8_t *bytes = malloc((size_t)size + 1);
  if (bytes == NULL || fread(bytes, 1, (size_t)size, file) != (size_t)size) checked(-1, path);
  fclose(file);
  return (wasm_slice){bytes, (size_t)size};
}

/* A broker has batches. This host packs one. The slice is the builder's. */
static wasm_slice make_batch(wasm_batch_builder *builder, const char *value) {
  wasm_slice batch;
  const wasm_payload record = {.key = {.size = -1}, .value = {(const uint8_t *)value, (int64_t)strlen(value)}};
  check(wasm_batch_builder_add(builder, -1, 0, &record, &error));
  check(wasm_batch_builder_finish(builder, &batch, &error));
  return batch;
}

/* Gives the guest one batch after the other. Whether all have been transformed. */
static bool run(wasm_engine *engine, char **values, int count) {
  wasm_batch_builder *builder = NULL;
  wasm_future *transform = NULL;
  bool stopped = false;
  for (int done = 0; done < count && !stopped;) {
    const int ready = next_event();
    if (ready == signal_fd) {
      /* Ends what is in progress. Its future then completes with CANCELLED. */
      wasm_future *stop;
      check(wasm_engine_stop(engine, &stop, &error));
      complete(stop, NULL);
      stopped = true;
    } else if (ready == tick_fd && transform == NULL) {
      const wasm_batch_config config = {.size = sizeof config, .base_offset = done};
      const wasm_output_sink sink = {.size = sizeof sink, .drop = sink_drop, .records = sink_records};
      check(wasm_batch_builder_create(&config, &builder, &error));
      const wasm_transform_args args = {.size = sizeof args, .batch = make_batch(builder, values[done]), .sink = &sink};
      check(wasm_engine_transform(engine, &args, &transform, &error));
      wake(NULL);
    }
    wasm_status status;
    if (transform != NULL && poll_once(transform, &status)) {
      if (!stopped) check(status);
      check(wasm_future_release(transform, &error));
      transform = NULL;
      wasm_batch_builder_release(builder); /* the batch was borrowed until here */
      done++;
    }
  }
  return !stopped;
}

int main(int argc, char **argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: c_epoll GUEST.wasm VALUE...\n");
    return 2;
  }
#ifdef USE_DLOPEN
  const char *fault = wasm_library_open(&library, NULL);
  if (fault != NULL) {
    fprintf(stderr, "%s%s\n", fault, library.handle != NULL ? " is not in the library, which is too old" : "");
    return 1;
  }
#endif
  wasm_runtime *runtime;
  wasm_factory *factory;
  wasm_engine *engine;
  wasm_future *future;
  pthread_t thread;
  make_loop();
  errno = pthread_create(&thread, NULL, write_output, NULL);
  if (errno != 0) checked(-1, "pthread_create");

  check(wasm_runtime_create(NULL, &runtime, &error));
  const wasm_slice module = read_file(argv[1]), name = {(const uint8_t *)"example", 7};
  const wasm_factory_config config = {.size = sizeof config, .module = module, .name = name, .input_topic = name,
                                      .output_topics = &name, .output_topic_count = 1};
  check(wasm_factory_create(runtime, &config, &future, &error));
  free((void *)module.data); /* it was copied */
  complete(future, &factory);
  check(wasm_thread_prepare(runtime, NULL, &error));
  check(wasm_engine_create(factory, NULL, &engine, &error));
  check(wasm_engine_start(engine, &future, &error));
  complete(future, NULL);

  const bool all = run(engine, argv + 2, argc - 2);

  check(wasm_engine_release(engine, &error));
  wasm_factory_release(factory);
  wasm_runtime_release(runtime);
  pthread_mutex_lock(&writer.lock);
  writer.ends = true;
  pthread_cond_broadcast(&writer.changed);
  pthread_mutex_unlock(&writer.lock);
  pthread_join(thread, NULL);
  return all ? 0 : 130;
}
