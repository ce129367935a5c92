/* SPDX-License-Identifier: Apache-2.0 */
/* A plug-in host in C: it loads the library with dlopen(RTLD_LOCAL) and knows it by dlsym only. */
#ifndef DLOPEN_HOST_H
#define DLOPEN_HOST_H

#include <wasm_engine.h>

#include <stdbool.h>
#include <stddef.h>

/* The functions that a host of one guest needs. */
#define DLOPEN_HOST_FUNCTIONS(X) \
  X(wasm_runtime_create)         \
  X(wasm_runtime_register_function)       \
  X(wasm_runtime_release)        \
  X(wasm_factory_create)         \
  X(wasm_factory_release)        \
  X(wasm_future_poll)            \
  X(wasm_future_take_factory)    \
  X(wasm_future_release)         \
  X(wasm_engine_create)          \
  X(wasm_engine_start)           \
  X(wasm_engine_transform)       \
  X(wasm_engine_release)         \
  X(wasm_call_promise)           \
  X(wasm_promise_resolve_values) \
  X(wasm_promise_release)        \
  X(wasm_batch_builder_create)   \
  X(wasm_batch_builder_add)      \
  X(wasm_batch_builder_finish)   \
  X(wasm_batch_builder_release)

/* The library, loaded. */
struct library {
  void *handle;
#define X(name) __typeof__(name) *name;
  DLOPEN_HOST_FUNCTIONS(X)
#undef X
};

/* One guest, which asks the host for a number when a record's value begins with w. */
struct world {
  struct library lib;
  wasm_runtime *runtime;
  wasm_factory *factory;
  wasm_engine *engine;
  wasm_batch_builder *builder;
  wasm_future *transform;
  wasm_promise *asked;
  size_t records;
};

struct module {
  uint8_t bytes[1 << 16];
  size_t size;
};

/* Ends the program with 1 if `ok` is false. */
void check(bool ok, const char *what);

void read_module(struct module *module, const char *path);
void load(struct library *library, const char *path);

/* Loads the library, compiles the module, starts an engine. */
void begin_world(struct world *w, const char *library, const struct module *module);
/* A new engine in place of the one that there is. */
void renew_engine(struct world *w);
/* Begins to transform a record, polls once, and leaves the guest suspended. */
void ask(struct world *w);
/* Releases the engine and makes another, which cannot start: the thread is at its very end. */
void refuse_to_renew(struct world *w);
/* Answers, and polls to the end. */
void answer(struct world *w);
/* Releases what there is, and closes the library. */
void end_world(struct world *w);

#endif
