/* SPDX-License-Identifier: Apache-2.0 */
/* A plug-in host in C: it loads the library with dlopen and calls it through a table only. */
#ifndef DLOPEN_HOST_H
#define DLOPEN_HOST_H

#include <wasm_engine_dlopen.h>

#include <stdbool.h>
#include <stddef.h>

/* One guest, which asks the host for a number when a record's value begins with w. */
struct world {
  wasm_library lib;
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
