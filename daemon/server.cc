// SPDX-License-Identifier: Apache-2.0
#include "server.hh"

#include <fmt/format.h>

#include <atomic>
#include <utility>

namespace transformd {

namespace {

wasmengine::runtime make_runtime(logger& log) {
  return wasmengine::runtime::create({}, [&log](const wasmengine::log_line& line) {
           log.write(line.severity == WASM_LOG_SEVERITY_WARN ? severity::warn : severity::info, line.transform, line.text,
                     line.source == WASM_LOG_SOURCE_GUEST);
         })
      .value();
}

/// Each worker has at most one blocking call in progress, and one more while it waits for room.
std::size_t blocking_threads(const std::vector<transform_file>& files, std::size_t loops) {
  std::size_t workers = 0;
  for (const auto& file : files) {
    workers += file.workers != 0 ? file.workers : loops;
  }
  return 2 * workers;
}

}  // namespace

server::server(std::vector<transform_file> files, std::size_t threads, std::string instance, logger& log)
    : _runtime(make_runtime(log)), _blocking(blocking_threads(files, threads)) {
  for (std::uint32_t shard = 0; shard < threads; ++shard) {
    _loops.emplace_back(_runtime, shard);
  }
  for (auto& file : files) {
    const auto name = file.name;
    const auto path = file.path.string();
    auto made = std::make_unique<transform>(std::move(file), _runtime, _loops, _blocking, log, instance);
    if (!_transforms.emplace(name, std::move(made)).second) {
      throw config_error(fmt::format("{}: there is another transform with the name {}", path, name));
    }
  }
}

server::~server() = default;

void server::start() {
  for (const auto& [name, t] : _transforms) {
    t->start();
  }
}

void server::stop(std::function<void()> done) {
  const auto left = std::make_shared<std::atomic<std::size_t>>(_transforms.size());
  for (const auto& [name, t] : _transforms) {
    t->stop([left, done] {
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
