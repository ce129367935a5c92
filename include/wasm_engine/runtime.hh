// SPDX-License-Identifier: Apache-2.0
//
// Runtimes and factories: configuration, modules and compilation.
#pragma once

#include "code_cache.hh"
#include "future.hh"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
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

/// Limits of one transform within those of its runtime, which are the defaults.
struct transform_limits {
  std::uint64_t memory = 0;                 ///< Bytes of linear memory of one guest.
  std::uint64_t table = 0;                  ///< Elements of all tables of one guest.
  std::chrono::nanoseconds record_time{};   ///< Processor time for one record or for the start.
  std::uint64_t output_buffer = 0;          ///< Bytes of output that one engine holds.
  std::uint32_t log_lines_per_second = 0;
  std::uint32_t log_burst_lines = 0;
};

/// A function that a module may import, or with an empty `function` all of a host module.
struct allowed_import {
  std::string module;
  std::string function;
};

class host_module;

namespace detail {

class shared_function;

/// A host function with what keeps it alive. `host_module` makes them.
struct host_function_entry {
  std::string module;
  std::string name;
  std::vector<wasm_value_type> params;
  std::vector<wasm_value_type> results;
  bool may_wait;
  std::shared_ptr<shared_function> function;
  void (*keep)(shared_function*);
  void (*drop)(void*);
  wasm_callback_result (*call)(void*, wasm_call*, const wasm_value*, wasm_value*);

  /// For C. The library owns a reference only if `keep` is called before it gets this.
  [[nodiscard]] wasm_host_function raw() const noexcept {
    return {sizeof(wasm_host_function), as_slice(module), as_slice(name), params.data(), params.size(), results.data(),
            results.size(), may_wait ? 1U : 0U, function.get(), drop, call};
  }
};

}  // namespace detail

/// A transform: what a guest may know about itself in addition to its module and what it may do.
struct transform_config {
  std::string name;
  std::string input_topic;
  std::vector<std::string> output_topics;
  std::vector<std::pair<std::string, std::string>> env;
  transform_limits limits{};
  /// What the module may import of host modules and of the schema registry. Without a list everything. An empty list
  /// allows nothing of them.
  std::optional<std::vector<allowed_import>> allowed_imports{};
  std::uint32_t wasi_rights = 0;  ///< Bits of `wasm_wasi_right`. 0: all.
  std::vector<detail::host_function_entry> functions{};

  /// Adds to the list of what the module may import. Without a function all of a host module.
  transform_config& allow(std::string module, std::string function = {}) {
    if (!allowed_imports) {
      allowed_imports.emplace();
    }
    allowed_imports->push_back({std::move(module), std::move(function)});
    return *this;
  }
  /// Host functions of this transform in addition to those of the runtime. host.hh must be included.
  transform_config& add(const host_module& module);
};

/// What holds for a factory. Members as in the C header. `name` is valid as long as the factory.
using factory_info = wasm_factory_info;

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

  /// What holds: limits, rights and code.
  [[nodiscard]] result<factory_info> info() const noexcept {
    factory_info info{};
    info.size = sizeof(info);
    auto got = detail::call([&](wasm_error** e) { return wasm_factory_get_info(get(), &info, e); });
    if (!got) {
      return got.err();
    }
    return info;
  }

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

/// Whether a call takes the data of a transform's host functions over.
enum class functions_are { taken, looked_at };

/// Calls `f` with a description for C that lives as long as the call.
template <functions_are Are = functions_are::taken, typename F>
auto with_raw(const transform_config& t, std::span<const std::uint8_t> module, F&& f) {
  std::vector<wasm_slice> topics;
  for (const auto& topic : t.output_topics) {
    topics.push_back(as_slice(topic));
  }
  std::vector<wasm_env> env;
  for (const auto& [name, value] : t.env) {
    env.push_back({as_slice(name), as_slice(value)});
  }
  std::vector<wasm_allowed_import> imports;
  if (t.allowed_imports) {
    for (const auto& import : *t.allowed_imports) {
      imports.push_back({as_slice(import.module), as_slice(import.function)});
    }
    if (imports.empty()) {
      // Which is allowed anyway.
      imports.push_back({as_slice("redpanda_transform"), {}});
    }
  }
  std::vector<wasm_host_function> functions;
  for (const auto& function : t.functions) {
    functions.push_back(function.raw());
  }
  std::vector<const wasm_host_function*> pointers;
  for (const auto& function : functions) {
    pointers.push_back(&function);
  }
  wasm_factory_config config{};
  config.size = sizeof(config);
  config.module = as_slice(module);
  config.name = as_slice(t.name);
  config.input_topic = as_slice(t.input_topic);
  config.output_topics = topics.data();
  config.output_topic_count = topics.size();
  config.env = env.data();
  config.env_count = env.size();
  config.memory_limit = t.limits.memory;
  config.table_limit = t.limits.table;
  config.record_time_limit_ns =
      t.limits.record_time.count() > 0 ? static_cast<std::uint64_t>(t.limits.record_time.count()) : 0;
  config.output_buffer_limit = t.limits.output_buffer;
  config.log_lines_per_second = t.limits.log_lines_per_second;
  config.log_burst_lines = t.limits.log_burst_lines;
  config.allowed_imports = imports.data();
  config.allowed_import_count = imports.size();
  config.wasi_rights = t.wasi_rights;
  config.functions = pointers.data();
  config.function_count = pointers.size();
  if constexpr (Are == functions_are::taken) {
    for (const auto& function : t.functions) {
      function.keep(function.function.get());
    }
  }
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

  /// Validates a module for a transform, with its limits, its rights and its host functions too.
  [[nodiscard]] result<void> validate(std::span<const std::uint8_t> module, const transform_config& t) const {
    return detail::with_raw<detail::functions_are::looked_at>(t, module, [&](const wasm_factory_config& config) {
      return detail::call([&](wasm_error** e) { return wasm_factory_validate(get(), &config, e); });
    });
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

  /// The same for a module that may import what `t` allows and has.
  [[nodiscard]] result<precompilation> precompile(std::span<const std::uint8_t> module, const transform_config& t) const {
    return detail::with_raw<detail::functions_are::looked_at>(t, module, [&](const wasm_factory_config& config) {
      return detail::make<precompilation>(
          [&](wasm_future** out, wasm_error** e) { return wasm_factory_precompile(get(), &config, out, e); });
    });
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
