/* What the C fragments of docs/ find around them: a host with an event loop. */
#include <stdlib.h>
#include <string.h>
#include <wasm_engine.h>

static inline wasm_slice text(const char *s) { return (wasm_slice){(const uint8_t *)s, strlen(s)}; }
/* Has the loop call `run(argument)` later, on its own thread. Any thread. */
void loop_post(void (*run)(void *argument), void *argument);

// SNIPPET
