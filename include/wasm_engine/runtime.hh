// SPDX-License-Identifier: Apache-2.0
//
// Runtimes and factories: configuration, modules and compilation.
#pragma once

#include "code_cache.hh"
#include "future.hh"

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace wasmengine {

/// A line that a guest wrote to its standard output (info) or error (warn) or a line of the library about it.
struct log_line {
  wasm_log_severity severity;
  bool continues;  ///< The line was too long. The next one of this severity and transform continues it.
  std::string_view transform;
  std::string_view text;
  wasm_log_source source;
  std::uint32_t shard;        ///< The label of the engine's thread.
  const wasm_engine* engine;  ///< To tell several engines apart. See `engine::get`.
  void* user_data;            ///< The engine's.
};

/// Takes log lines. Called on the engines' threads, several at once. Exceptions are swallowed.
using log_function = std::function<void(const log_line&)>;

/// A transform: what a guest may know about itself in addition to its module.
struct transform_config {
  std::string name;
  std::string input_topic;
  std::vector<std::string> output_topics;
  std::vector<std::pair<std::string, std::string>> env;
};

/// A compiled module from which engines are made. Any thread. Copies share one.
class factory {
 public:
  factory() noexcept = default;
  explicit factory(wasm_factory* raw) noexcept : _raw(raw) {}
  factory(const factory& other) noexcept : _raw(wasm_factory_clone(other.get())) {}
  factory(factory&&) noexcept = default;
  factory& operator=(factory other) noexcept {
    _raw = std::move(other._raw);
    return *this;
  }
  ~factory() = default;

  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(_raw); }
  [[nodiscard]] wasm_factory* get() const noexcept { return _raw.get(); }
  [[nodiscard]] wasm_factory** out() noexcept { return _raw.out(); }

 private:
  handle<wasm_factory, wasm_factory_release> _raw;
};

/// A factory that is being compiled on a thread of the runtime. Poll or await it. Then take.
class compilation : public future {
 public:
  using future::future;

  /// The factory. Once, after the future was ready.
  [[nodiscard]] result<factory> take() noexcept {
    return detail::make<factory>(
        [this](wasm_factory** out, wasm_error** e) { return wasm_future_take_factory(get(), out, e); });
  }
};

namespace detail {

/// Calls `f` with a description for C that lives as long as the call.
template <typename F>
auto with_raw(const transform_config& t, std::span<const std::uint8_t> module, F&& f) {
  std::vector<wasm_slice> topics;
  for (const auto& topic : t.output_topics) {
    topics.push_back(as_slice(topic));
  }
  std::vector<wasm_env> env;
  for (const auto& [name, value] : t.env) {
    env.push_back({as_slice(name), as_slice(value)});
  }
  const wasm_factory_config config{sizeof(config), as_slice(module), as_slice(t.name), as_slice(t.input_topic),
                                   topics.data(),  topics.size(),    env.data(),       env.size()};
  return f(config);
}

/// Begins to make a factory. `begin` gets the description for C and the place for the future.
template <typename F>
[[nodiscard]] result<compilation> make_factory(std::span<const std::uint8_t> module, const transform_config& t,
                                               F begin) {
  return with_raw(t, module, [&](const wasm_factory_config& config) {
    return make<compilation>([&](wasm_future** out, wasm_error** e) { return begin(config, out, e); });
  });
}

}  // namespace detail

class host_module;

/// Configuration and compiler. Any thread.
class runtime {
 public:
  runtime() noexcept = default;

  /// Makes a runtime. `config.size` and `config.log` are set here. `log` gets the guests' output unless it is empty.
  [[nodiscard]] static result<runtime> create(wasm_runtime_config config = {}, log_function log = {}) {
    config.size = sizeof(config);
    if (log) {
      config.log = {new log_function(std::move(log)), drop_log, log_trampoline};
    }
    return detail::make<runtime>(
        [&](wasm_runtime** out, wasm_error** e) { return wasm_runtime_create(&config, out, e); });
  }

  /// Registers the functions of a host module. host.hh must be included. To be called before the first `validate`,
  /// `inspect` or `compile`. If one of the functions is refused, those before it stay.
  result<void> add(const host_module& module) const;

  /// Gives guests a schema registry. `registry.size` is set here. Its `data` is taken over in any case.
  result<void> set_schema_registry(wasm_schema_registry registry) const noexcept {
    registry.size = sizeof(registry);
    return detail::call([&](wasm_error** e) { return wasm_runtime_set_schema_registry(get(), &registry, e); });
  }

  /// Gives guests a new, empty schema registry in memory. For tests and tools.
  result<void> set_schema_registry_in_memory() const noexcept {
    wasm_schema_registry registry{};
    auto made = detail::call([&](wasm_error** e) { return wasm_schema_registry_in_memory(&registry, e); });
    return made ? set_schema_registry(registry) : made;
  }

  /// Keeps compiled modules in a directory. To be called before the first `validate`, `inspect`, `compile`,
  /// `precompile` or `load`.
  result<void> set_code_cache(const code_cache_config& cache) const noexcept {
    const wasm_code_cache_config config{sizeof(config), as_slice(cache.directory), cache.max_bytes};
    return detail::call([&](wasm_error** e) { return wasm_runtime_set_code_cache(get(), &config, e); });
  }

  /// Validates a module without compiling it.
  [[nodiscard]] result<void> validate(std::span<const std::uint8_t> module) const noexcept {
    return detail::call([&](wasm_error** e) { return wasm_runtime_validate(get(), as_slice(module), e); });
  }

  /// Describes a module as JSON, also a refused one. The C header lists the members.
  [[nodiscard]] result<std::string> inspect(std::span<const std::uint8_t> module) const {
    handle<wasm_bytes, wasm_bytes_release> text;
    auto done = detail::call(
        [&](wasm_error** e) { return wasm_runtime_inspect(get(), as_slice(module), text.out(), e); });
    if (!done) {
      return done.err();
    }
    return std::string(as_text(wasm_bytes_view(text.get())));
  }

  /// Begins to compile a transform. Everything is copied.
  [[nodiscard]] result<compilation> compile(std::span<const std::uint8_t> module, const transform_config& t) const {
    return make_factory(module, t, wasm_factory_create);
  }

  /// Begins to compile a module to an artifact. The module is copied.
  [[nodiscard]] result<precompilation> precompile(std::span<const std::uint8_t> module) const noexcept {
    return detail::make<precompilation>(
        [&](wasm_future** out, wasm_error** e) { return wasm_runtime_precompile(get(), as_slice(module), out, e); });
  }

  /// Begins to load a transform from the bytes of an artifact. They are trusted and not verified: anyone who could
  /// change them could run any code in this process. Everything is copied.
  [[nodiscard]] result<compilation> load(std::span<const std::uint8_t> artifact, const transform_config& t) const {
    return make_factory(artifact, t, wasm_factory_load);
  }

  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(_raw); }
  [[nodiscard]] wasm_runtime* get() const noexcept { return _raw.get(); }
  [[nodiscard]] wasm_runtime** out() noexcept { return _raw.out(); }

 private:
  [[nodiscard]] result<compilation> make_factory(std::span<const std::uint8_t> module, const transform_config& t,
                                                 decltype(wasm_factory_create)* begin) const {
    return detail::make_factory(module, t, [&](const wasm_factory_config& config, wasm_future** out, wasm_error** e) {
      return begin(get(), &config, out, e);
    });
  }

  static void drop_log(void* data) noexcept { delete static_cast<log_function*>(data); }

  static void log_trampoline(void* data, const wasm_log_line* line) noexcept {
    try {
      (*static_cast<log_function*>(data))({line->severity, line->continues, as_text(line->transform), as_text(line->text),
                                           line->source, line->shard, line->engine, line->user_data});
    } catch (...) {
      // A log that fails must not end the guest that wrote to it.
    }
  }

  handle<wasm_runtime, wasm_runtime_release> _raw;
};

/// The library's version.
[[nodiscard]] inline std::string_view version() noexcept { return wasm_library_version(); }

}  // namespace wasmengine
