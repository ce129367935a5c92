// SPDX-License-Identifier: Apache-2.0
//
// One thread of the host: its loop, its pool and its engines.
#pragma once

#include "loop.hh"

#include <wasm_engine/wasm_engine.hh>

#include <pthread.h>
#include <sched.h>

#include <chrono>
#include <cstdint>
#include <iostream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace we = wasmengine;
using namespace std::chrono_literals;

inline void log(const std::string& line) { std::cout << line + '\n' << std::flush; }

/// One thread and what it owns. All but `post_swap`, `post_stop` and `join` happens on it.
class shard {
 public:
  shard(const we::runtime& runtime, we::factory factory, std::uint32_t number, unsigned engines)
      : _runtime(runtime),
        _factory(std::move(factory)),
        _number(number),
        _engines(engines),
        _thread([this] { run(); }) {}

  void post_swap(const we::factory& factory) {
    _loop.call([this, factory] { we::start(swap(factory)); });
  }
  void post_stop() {
    _loop.call([this] {
      _stopping = true;
      for (auto& engine : _engines) {
        (void)engine.stop();  // What is in progress ends with CANCELLED.
      }
    });
  }
  void join() { _thread.join(); }

 private:
  void run() {
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(_number % std::thread::hardware_concurrency(), &cpus);
    pthread_setaffinity_np(pthread_self(), sizeof cpus, &cpus);
    // One more: a hot swap has both guests for a moment.
    we::prepare_thread(_runtime, _engines.size() + 1, _number).value();
    for (auto& engine : _engines) {
      engine = we::engine::create(_factory).value();
      engine.set_policy({.on_error = WASM_ON_ERROR_SKIP, .backoff_min = 100ms}, restart_timer{_loop}).value();
      we::start(work(engine));
    }
    _loop.run([this] { return we::reclaim_thread(_runtime, 1 << 20).value(); });
    _engines.clear();
    we::release_thread(_runtime).value();
  }

  /// Gives an engine one batch after the other.
  we::task<void> work(we::engine& engine) {
    ++_coroutines;
    auto builder = we::batch_builder::create().value();
    auto sink = [](we::output_block) {};  // A broker would write the records to a partition.
    auto done = co_await we::on(_loop, engine.start().value());
    for (std::int64_t offset = 0; !_stopping; offset += 100) {
      builder.reset({.base_offset = offset}).value();
      for (int i = 0; i < 100; ++i) {
        builder.add(0, {std::nullopt, "1 of many", {}}).value();
      }
      if (done) {
        done = co_await we::on(_loop, engine.transform(builder.finish().value(), sink).value());
      } else {
        report(done.err());  // The batch is lost here. A broker would continue behind the record that the error names.
        done = co_await we::on(_loop, engine.start().value());
      }
      co_await _loop.sleep(1ms);
    }
    end();
  }

  /// One engine after the other, so that there is room for the new guests. The old code is freed with its last guest.
  we::task<void> swap(we::factory factory) {
    ++_coroutines;
    _factory = factory;
    for (auto& engine : _engines) {
      auto replacing = engine.replace(factory);
      if (!replacing) {
        report(replacing.err());  // Another swap is in progress.
        break;
      }
      const auto done = co_await we::on(_loop, std::move(replacing.value()));
      if (!done) {
        report(done.err());  // The new guest does not start. The old one stays.
        break;
      }
    }
    say("hot swap has ended");
    end();
  }

  void say(const std::string& what) const { log("shard " + std::to_string(_number) + ": " + what); }
  void report(const we::error& failure) const { say(failure.what()); }

  void end() {
    if (--_coroutines == 0) {
      _loop.stop();
    }
  }

  const we::runtime& _runtime;
  we::factory _factory;
  const std::uint32_t _number;
  std::vector<we::engine> _engines;
  event_loop _loop;
  unsigned _coroutines = 0;
  bool _stopping = false;
  std::thread _thread;  // The last one: it uses the others.
};
