// SPDX-License-Identifier: Apache-2.0
//
// Servers in this process and in others, and hosts of them.
#pragma once

#include "server/server.hh"
#include "support/bench.hh"

#include <wasm_engine/remote_engine.hh>

#include <gmock/gmock.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <sys/types.h>
#include <thread>
#include <vector>

namespace remote_tests {

namespace we = wasmengine;
using namespace testing_support;
using we::remote::server;
using we::remote::server_config;
using namespace std::chrono_literals;

/// Waits for something that another thread does.
inline bool eventually(const std::function<bool()>& holds, std::chrono::milliseconds limit = 20s) {
  const auto until = std::chrono::steady_clock::now() + limit;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > until) {
      return false;
    }
    std::this_thread::sleep_for(2ms);
  }
  return true;
}

/// What a server says.
class lines {
 public:
  void add(std::string_view line) {
    const std::lock_guard lock(_mutex);
    _all += std::string(line) + "\n";
  }
  [[nodiscard]] std::string text() const {
    const std::lock_guard lock(_mutex);
    return _all;
  }

 private:
  mutable std::mutex _mutex;
  std::string _all;
};

inline server_config on_loopback() {
  server_config c;
  c.listen = {"127.0.0.1:0"};
  c.uploads = true;
  c.threads = 2;
  return c;
}

/// A server in this process.
struct served {
  explicit served(server_config c = on_loopback()) : running(with_log(std::move(c))) {}
  [[nodiscard]] const std::string& address() const { return running.addresses().front(); }

  std::shared_ptr<lines> log = std::make_shared<lines>();
  server running;

 private:
  server_config with_log(server_config c) {
    c.log = [l = log](std::string_view line) { l->add(line); };
    return c;
  }
};

/// A server in a process of its own, which uploads modules.
class server_process {
 public:
  explicit server_process(const std::string& listen = "127.0.0.1:0", std::vector<std::string> options = {});
  server_process(const server_process&) = delete;
  server_process& operator=(const server_process&) = delete;
  ~server_process();

  [[nodiscard]] const std::string& address() const { return _address; }
  void send(int signal) const;
  /// Waits for its end and gives the status of `waitpid`.
  int wait();
  void kill();

 private:
  pid_t _pid = -1;
  std::string _address;
};

/// A host with an engine on a server.
struct remote_bench {
  remote_bench(we::remote_config config, we::remote_module module, we::transform_config transform = with_topics({"out"}),
               const wasm_runtime_config& local = {})
      : runtime(we::runtime::create(local).value()) {
    config.log = [l = log](const we::log_line& line) { l->add(line); };
    config.on_failure = [f = failures](const we::remote_failure& failure) { f->push_back(failure); };
    connection = we::remote_connection::create(config).value();
    factory = connection.create_factory(runtime, transform, std::move(module)).value();
    engine = we::engine::create(factory).value();
  }
  remote_bench(const std::string& address, std::string_view guest, we::transform_config transform = with_topics({"out"}))
      : remote_bench({.address = address}, {.bytes = module(guest)}, std::move(transform)) {}

  outcome start() { return finish(engine.start()); }
  template <typename S>
  outcome transform(kafka::view batch, S& sink, std::uint32_t from = 0) {
    return finish(engine.transform_from(batch, from, sink));
  }
  [[nodiscard]] wasm_engine_state state() { return engine.state().value(); }

  std::shared_ptr<log_lines> log = std::make_shared<log_lines>();
  std::shared_ptr<std::vector<we::remote_failure>> failures = std::make_shared<std::vector<we::remote_failure>>();
  we::runtime runtime;
  we::remote_connection connection;
  we::factory factory;
  we::engine engine;
};

/// A sink that does not go on behind its first block until `open` is called.
class gate_sink {
 public:
  wasm_callback_result operator()(we::output_block block, we::output_call call) {
    out(block);
    if (_blocks++ > 0) {
      return WASM_CALLBACK_RESULT_DONE;
    }
    auto later = call.later().value();
    const std::lock_guard lock(_mutex);
    _held = std::move(later);
    _waits = true;
    return WASM_CALLBACK_RESULT_PENDING;
  }
  [[nodiscard]] bool waits() const { return _waits; }
  void open() {
    we::promise held;
    {
      const std::lock_guard lock(_mutex);
      held = std::move(_held);
    }
    held.resolve().value();
  }

  recorder out;

 private:
  std::mutex _mutex;
  we::promise _held;
  std::atomic<bool> _waits = false;
  int _blocks = 0;
};

/// Values `v000000`, … with `size` bytes.
inline std::vector<std::string> numbered(std::size_t count, std::size_t size = 7) {
  std::vector<std::string> all;
  for (std::size_t i = 0; i < count; ++i) {
    auto digits = std::to_string(1'000'000 + i);
    all.push_back("v" + digits.substr(1) + std::string(size > 7 ? size - 7 : 0, 'x'));
  }
  return all;
}

/// Transforms a batch whose sink waits, does `meanwhile` in that time, and lets it go on.
template <typename F>
outcome interrupted(remote_bench& b, const kafka::bytes& batch, gate_sink& sink, F meanwhile) {
  std::thread other([&] {
    EXPECT_TRUE(eventually([&] { return sink.waits(); }));
    meanwhile();
    sink.open();
  });
  auto end = b.transform(batch, sink);
  other.join();
  return end;
}

}  // namespace remote_tests
