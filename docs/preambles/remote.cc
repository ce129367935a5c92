// What the C++ fragments about engines on other computers find around them.
#include <wasm_engine/remote_engine.hh>
#include <wasm_engine/wasm_engine.hh>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace we = wasmengine;

struct event_loop {
  void post(void (*function)(void*) noexcept, void* argument) noexcept;
};

extern event_loop loop;
extern we::runtime runtime;
extern we::engine engine;
extern we::transform_config transform;
extern we::remote_tls tls;
extern std::string token;
extern std::vector<std::uint8_t> module_bytes;
extern std::span<const std::uint8_t> batch;
extern void (*sink)(we::output_block);

we::task<void> fragment() {
  {
    // SNIPPET
  }
  co_return;
}
