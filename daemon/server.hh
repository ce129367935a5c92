// SPDX-License-Identifier: Apache-2.0
//
// All transforms of this process.
#pragma once

#include "event_loop.hh"
#include "log.hh"
#include "transform.hh"

#include "../tools/options/registry.hh"

#include <boost/asio/thread_pool.hpp>

#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace transformd {

/// Of a process.
struct server_options {
  std::size_t threads = 1;  ///< Event loops.
  std::string instance;     ///< Different in each process of a group.
  std::optional<std::filesystem::path> state_directory;
  tool::registry_choice registry;
};

/// Any thread. The set of transforms does not change.
class server {
 public:
  /// Throws what the library throws.
  server(std::vector<transform_file> files, const server_options& options, logger& log);
  server(server&&) = delete;
  /// After `stop` has completed.
  ~server();

  void start();
  /// Ends all transforms. `done` is called once, on any thread.
  void stop(std::function<void()> done);

  /// NULL if there is none of this name.
  [[nodiscard]] transform* find(const std::string& name) const;
  [[nodiscard]] std::vector<transform_status> status() const;
  [[nodiscard]] const wasmengine::runtime& runtime() const noexcept { return _runtime; }

 private:
  std::optional<directory_lock> _state_lock;
  std::optional<tool::http_registry> _registry;  // Outlives the runtime.
  wasmengine::runtime _runtime;
  asio::thread_pool _blocking;
  std::map<std::string, std::unique_ptr<transform>, std::less<>> _transforms;
  std::deque<event_loop> _loops;  // Last, so that their threads have ended before the transforms go.
};

}  // namespace transformd
