// SPDX-License-Identifier: Apache-2.0
//
// A host on libuv: cpp_libuv GUEST.wasm VALUE...
//
// Each value becomes a batch of one record. What the guest writes goes to standard output. A record at which the guest
// fails goes there as a dead letter.
//
//   callbacks       each operation calls a function of this host when it has completed
//   back-pressure   the sink's promise is resolved when a thread of libuv has written the block
//   a policy        dead letters; a guest that does not start is tried again, and a uv_timer_t is the clock for that
//   a deadline      a transform that takes longer than two seconds in all is cancelled
//   stopping        SIGINT and SIGTERM cancel what is in progress
#include <wasm_engine/libuv.hh>
#include <wasm_engine/wasm_engine.hh>

#include <uv.h>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <exception>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

namespace {

namespace we = wasmengine;

uv_handle_t* base(auto* handle) { return reinterpret_cast<uv_handle_t*>(handle); }

/// A timer of libuv that resolves a promise: the clock of an engine's policy. An engine has one delay at a time.
class restart_timer {
 public:
  explicit restart_timer(uv_loop_t* loop) {
    uv_timer_init(loop, &_timer);
    _timer.data = this;
  }
  restart_timer(restart_timer&&) = delete;

  std::chrono::nanoseconds now() noexcept { return std::chrono::nanoseconds(uv_hrtime()); }
  void sleep(std::chrono::nanoseconds time, we::promise passed) {
    _passed = std::move(passed);
    const auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(time).count();
    const auto fire = [](uv_timer_t* timer) { (void)static_cast<restart_timer*>(timer->data)->_passed.resolve(); };
    uv_timer_start(&_timer, fire, static_cast<std::uint64_t>(milliseconds), 0);
  }
  void close() { uv_close(base(&_timer), nullptr); }

 private:
  uv_timer_t _timer{};
  we::promise _passed;
};

class host {
 public:
  host(uv_loop_t* loop, std::vector<std::string> values)
      : _values(std::move(values)), _raw(loop), _loop(loop), _restarts(loop), _runtime(we::runtime::create().value()) {
    uv_timer_init(loop, &_deadline);
    _deadline.data = this;
    for (auto* handle : {&_interrupted, &_terminated}) {
      uv_signal_init(loop, handle);
      handle->data = this;
      uv_signal_start(handle, [](uv_signal_t* h, int) { static_cast<host*>(h->data)->stop(); },
                      handle == &_interrupted ? SIGINT : SIGTERM);
    }
    we::prepare_thread(_runtime).value();
  }

  void begin(const std::vector<std::uint8_t>& module) {
    auto compiling = _runtime.compile(module, {"example", "in", {"out"}, {}}).value();
    _operation = _loop.spawn(std::move(compiling), [this](we::result<we::factory> made) {
      made ? start(*made) : end(1, made.err().what());
    });
  }

  [[nodiscard]] int status() const { return _status; }

 private:
  void start(const we::factory& factory) {
    using namespace std::chrono_literals;
    _engine = we::engine::create(factory).value();
    const we::policy policy{.on_error = WASM_ON_ERROR_DEAD_LETTER, .backoff_min = 20ms, .backoff_max = 1s};
    _engine.set_policy(policy, _restarts).value();
    _operation = _loop.spawn(_engine.start().value(), [this](we::result<void> started) {
      started ? next() : end(1, started.err().what());
    });
  }

  /// Gives the guest the next value.
  void next() {
    if (_next == _values.size()) {
      return end(0, "");
    }
    _builder = we::batch_builder::create({.base_offset = static_cast<std::int64_t>(_next)}).value();
    _builder.add(0, {std::nullopt, _values[_next++], {}}).value();
    uv_timer_start(&_deadline, [](uv_timer_t* t) { static_cast<host*>(t->data)->_operation.cancel(); }, 2000, 0);
    // The batch stays the builder's. The sink is this object's, in the shape of a function that the operation owns.
    auto transform = _engine.transform(_builder.finish().value(), [this](we::output_block block, we::output_call call) {
      return write(block, std::move(call));
    }).value();
    _operation = _loop.spawn(std::move(transform), [this](we::result<void> done) {
      uv_timer_stop(&_deadline);
      done ? next() : end(1, done.err().what());
    });
  }

  /// Takes a block of output. A thread of libuv writes it.
  wasm_callback_result write(we::output_block block, we::output_call call) {
    // Lives until it is written, which may be after the engine has gone.
    struct writing {
      uv_fs_t request{};
      std::string lines;
      we::promise written;
    };
    std::string lines;
    for (const auto& raw : block) {
      const we::output_record record(raw);
      const auto payload = we::payload::read(record.payload()).value();
      lines += (record.topic() == 0 ? "" : "dead letter: ") + std::string(payload.value.value_or("null")) + '\n';
    }
    auto* w = new writing{{}, std::move(lines), call.later().value()};
    w->request.data = w;
    const uv_buf_t buffer = uv_buf_init(w->lines.data(), static_cast<unsigned>(w->lines.size()));
    uv_fs_write(_raw, &w->request, 1, &buffer, 1, -1, [](uv_fs_t* request) {
      auto* done = static_cast<writing*>(request->data);
      (void)(request->result < 0 ? done->written.reject(uv_strerror(static_cast<int>(request->result)))
                                 : done->written.resolve());
      uv_fs_req_cleanup(request);
      delete done;
    });
    return WASM_CALLBACK_RESULT_PENDING;
  }

  /// The operation in progress ends with CANCELLED, which ends the program.
  void stop() { _operation.cancel(); }

  void end(int status, const std::string& why) {
    if (status != 0) {
      std::cerr << why << '\n';
    }
    _status = status;
    _engine = {};
    // Nothing keeps the loop running after this.
    uv_close(base(&_deadline), nullptr);
    uv_close(base(&_interrupted), nullptr);
    uv_close(base(&_terminated), nullptr);
    _restarts.close();
    _loop.close();
  }

  std::vector<std::string> _values;
  std::size_t _next = 0;
  int _status = 0;
  uv_loop_t* _raw;
  uv_timer_t _deadline{};
  uv_signal_t _interrupted{}, _terminated{};
  we::libuv_loop _loop;
  restart_timer _restarts;
  we::runtime _runtime;
  we::engine _engine;
  we::batch_builder _builder;
  we::libuv_loop::spawned _operation;
};

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 2) {
    std::cerr << "usage: cpp_libuv GUEST.wasm VALUE...\n";
    return 2;
  }
  std::ifstream file(argv[1], std::ios::binary);
  const std::vector<std::uint8_t> module{std::istreambuf_iterator<char>(file), {}};
  uv_loop_t* loop = uv_default_loop();
  host example(loop, {argv + 2, argv + argc});
  example.begin(module);
  uv_run(loop, UV_RUN_DEFAULT);
  return example.status();
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
