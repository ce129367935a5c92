// SPDX-License-Identifier: Apache-2.0
#include "module_version.hh"

#include "client_settings.hh"
#include "final_failure.hh"
#include "module_file.hh"

#include <wasm_engine/asio.hh>

#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace transformd {

namespace {

/// What a record takes beside what the guest wrote: its frame, and the short headers if it becomes a dead letter.
constexpr std::size_t framing = 512;

wasmengine::transform_config config_of(const transform_file& file) {
  wasmengine::transform_config out{file.name, file.input_topic, file.output_topics, file.env, file.limits};
  // A record that the client would not send is refused while its guest can still be told. Its policy decides then.
  const auto largest = largest_message(file);
  out.limits.output_buffer = std::min<std::uint64_t>(out.limits.output_buffer, largest - std::min(largest / 2, framing));
  out.allowed_imports = file.imports;
  out.wasi_rights = file.wasi_rights;
  return out;
}

wasmengine::policy policy_of(const transform_file& file) {
  wasmengine::policy out{.on_error = file.on_error};
  if (file.max_errors) {
    out.lost_max = file.max_errors->records;
    out.lost_window = file.max_errors->of;
  }
  return out;
}

}  // namespace

asio::awaitable<wasmengine::engine> start_guest(asio::io_context& loop, const module_version& module,
                                                const transform_file& file) {
  auto engine = wasmengine::engine::create(module.factory).value();
  engine.set_policy(policy_of(file)).value();
  const auto started = co_await wasmengine::async_wait(engine.start().value(), loop.get_executor(), asio::use_awaitable);
  if (!started) {
    throw final_failure(fmt::format("the guest failed when it was started: {}", started.err().what()));
  }
  co_return engine;
}

module_history::module_history(const transform_file& file, const wasmengine::runtime& runtime, asio::thread_pool& blocking,
                               logger& log, std::optional<state_directory> state)
    : _file(file), _runtime(runtime), _blocking(blocking), _log(log), _state(std::move(state)) {}

asio::awaitable<module_ptr> module_history::load(asio::io_context& loop, const std::atomic<bool>& give_up) {
  struct found {
    std::vector<std::uint8_t> module;
    std::string sha256;
    std::exception_ptr refused;
    std::optional<state_directory::modules> deployed;
  };
  auto work = [this, &give_up] {
    found out;
    try {
      out.module = read_module(_file, give_up);
      out.sha256 = sha256(out.module);
    } catch (const config_error&) {
      out.refused = std::current_exception();
      out.sha256 = _file.module_sha256.value_or("");
    }
    if (_state) {
      out.deployed = _state->load(out.sha256);
    }
    return out;
  };
  auto all = co_await off_loop(_blocking, std::move(work));
  if (all.deployed) {
    _file_sha256 = all.deployed->file_sha256;
    _current = co_await compile(loop, std::move(all.deployed->current));
    if (!all.deployed->previous.empty()) {
      try {
        _previous = co_await compile(loop, std::move(all.deployed->previous));
      } catch (const std::exception& e) {
        _log.write(severity::warn, _file.name, fmt::format("there is no rollback: the module before is refused: {}", e.what()));
      }
    }
    co_return _current;
  }
  _file_sha256 = all.sha256;
  if (all.refused) {
    std::rethrow_exception(all.refused);
  }
  _current = co_await compile(loop, std::move(all.module));
  co_return _current;
}

asio::awaitable<module_ptr> module_history::deploy(asio::io_context& loop, std::vector<std::uint8_t> module) {
  auto made = co_await compile(loop, std::move(module));
  (void)co_await start_guest(loop, *made, _file);
  co_await keep(made, _current);
  co_return _current;
}

asio::awaitable<module_ptr> module_history::rollback() {
  if (!_previous) {
    throw config_error("there is no module before this one");
  }
  co_await keep(_previous, _current);
  co_return _current;
}

asio::awaitable<void> module_history::keep(module_ptr current, module_ptr previous) {
  if (_state) {
    auto work = [this, current, previous] {
      _state->store(current->bytes, previous ? previous->bytes : std::vector<std::uint8_t>(), _file_sha256);
    };
    co_await off_loop(_blocking, std::move(work));
  }
  _current = std::move(current);
  _previous = std::move(previous);
}

asio::awaitable<module_ptr> module_history::compile(asio::io_context& loop, std::vector<std::uint8_t> module) {
  const auto out = std::make_shared<module_version>();
  out->bytes = std::move(module);
  auto digest = [&bytes = out->bytes] { return sha256(bytes); };
  out->sha256 = co_await off_loop(_blocking, std::move(digest));
  auto compilation = _runtime.compile(out->bytes, config_of(_file));
  out->factory = (co_await wasmengine::async_wait(std::move(compilation).value(), loop.get_executor(), asio::use_awaitable)).value();
  if (!_state) {
    out->bytes = {};
  }
  co_return out;
}

}  // namespace transformd
