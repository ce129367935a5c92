// What the C++ fragments of docs/ find around them: a host with an event loop.
#include <wasm_engine/dummy_engine.hh>
#include <wasm_engine/wasm_engine.hh>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace we = wasmengine;

struct event_loop {
  void post(void (*function)(void*) noexcept, void* argument) noexcept;
};
struct event_loop_timer {
  std::chrono::nanoseconds now() noexcept;
  void sleep(std::chrono::nanoseconds time, we::promise done);
};
struct geo_database {
  std::int32_t country(std::uint32_t address) const;
};
void log(std::string_view text);
we::task<int> ask(std::string question);

extern event_loop loop;
extern event_loop_timer timer;
extern geo_database database;
extern we::runtime runtime;
extern we::factory factory, new_factory;
extern we::engine engine;
extern we::transform_config transform;
extern std::vector<std::uint8_t> module_bytes;
extern std::span<const std::uint8_t> batch;
extern void (*sink)(we::output_block);

we::task<void> fragment() {
  {
    // SNIPPET
  }
  co_return;
}
