// SPDX-License-Identifier: Apache-2.0
#include "server.hh"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <utility>
#include <variant>

namespace transformd {

namespace {

/// Limits of a transform whose file has none: those of the library.
const wasmengine::transform_limits usual_limits{
    .memory = 64U << 20,
    .table = 1U << 20,
    .record_time = std::chrono::seconds(3),
    .output_buffer = 1U << 20,
    .log_lines_per_second = 1000,
    .log_burst_lines = 5000,
};

template <typename T>
void use_default(T& value, const T& usual) {
  if (value == T{}) {
    value = usual;
  }
}

/// The runtime allows what any file wants. So each transform gets limits of its own.
wasm_runtime_config limits_of(std::vector<transform_file>& files) {
  auto most = usual_limits;
  for (auto& file : files) {
    auto& l = file.limits;
    use_default(l.memory, usual_limits.memory);
    use_default(l.table, usual_limits.table);
    use_default(l.record_time, usual_limits.record_time);
    use_default(l.output_buffer, usual_limits.output_buffer);
    use_default(l.log_lines_per_second, usual_limits.log_lines_per_second);
    use_default(l.log_burst_lines, usual_limits.log_burst_lines);
    most.memory = std::max(most.memory, l.memory);
    most.table = std::max(most.table, l.table);
    most.record_time = std::max(most.record_time, l.record_time);
    most.output_buffer = std::max(most.output_buffer, l.output_buffer);
    most.log_lines_per_second = std::max(most.log_lines_per_second, l.log_lines_per_second);
    most.log_burst_lines = std::max(most.log_burst_lines, l.log_burst_lines);
  }
  wasm_runtime_config out{};
  out.memory_limit = most.memory;
  out.table_limit = most.table;
  out.record_time_limit_ns = static_cast<std::uint64_t>(most.record_time.count());
  out.output_buffer_limit = most.output_buffer;
  out.log_lines_per_second = most.log_lines_per_second;
  out.log_burst_lines = most.log_burst_lines;
  return out;
}

wasmengine::runtime make_runtime(std::vector<transform_file>& files, logger& log) {
  return wasmengine::runtime::create(limits_of(files), [&log](const wasmengine::log_line& line) {
           log.write(line.severity == WASM_LOG_SEVERITY_WARN ? severity::warn : severity::info, line.transform, line.text,
                     line.source == WASM_LOG_SOURCE_GUEST);
         })
      .value();
}

void set_registry(const wasmengine::runtime& runtime, const tool::registry_choice& choice,
                  std::optional<tool::http_registry>& http) {
  if (const auto* address = std::get_if<tool::registry_address>(&choice.which)) {
    runtime.set_schema_registry(http.emplace(*address, choice.timeout, choice.retry).table()).value();
  } else if (std::holds_alternative<tool::memory_registry>(choice.which)) {
    runtime.set_schema_registry_in_memory().value();
  }
}

/// Each worker has at most one blocking call in progress, and one more while it waits for room. Modules are read on one.
std::size_t blocking_threads(const std::vector<transform_file>& files, std::size_t loops) {
  std::size_t workers = 0;
  for (const auto& file : files) {
    workers += file.workers != 0 ? file.workers : loops;
  }
  return 2 * workers + 1;
}

}  // namespace

server::server(std::vector<transform_file> files, const server_options& options, logger& log)
    : _runtime(make_runtime(files, log)), _blocking(blocking_threads(files, options.threads)) {
  if (options.state_directory) {
    _state_lock.emplace(*options.state_directory);
  }
  set_registry(_runtime, options.registry, _registry);
  for (std::uint32_t shard = 0; shard < options.threads; ++shard) {
    _loops.emplace_back(_runtime, shard);
  }
  for (auto& file : files) {
    const auto name = file.name;
    const auto path = file.path.string();
    std::optional<state_directory> state;
    if (options.state_directory) {
      state.emplace(*options.state_directory, name);
    }
    auto made = std::make_unique<transform>(std::move(file), _runtime, _loops, _blocking, log, options.instance, std::move(state));
    if (!_transforms.emplace(name, std::move(made)).second) {
      throw config_error(fmt::format("{}: there is another transform with the name {}", path, name));
    }
  }
}

server::~server() = default;

void server::start() {
  for (const auto& [name, t] : _transforms) {
    (void)t->start();
  }
}

void server::stop(std::function<void()> done) {
  const auto left = std::make_shared<std::atomic<std::size_t>>(_transforms.size());
  for (const auto& [name, t] : _transforms) {
    t->close([left, done] {
      if (--*left == 0) {
        done();
      }
    });
  }
}

transform* server::find(const std::string& name) const {
  const auto found = _transforms.find(name);
  return found == _transforms.end() ? nullptr : found->second.get();
}

std::vector<transform_status> server::status() const {
  std::vector<transform_status> all;
  for (const auto& [name, t] : _transforms) {
    all.push_back(t->status());
  }
  return all;
}

}  // namespace transformd
