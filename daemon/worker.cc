// SPDX-License-Identifier: Apache-2.0
#include "worker.hh"

#include "client_settings.hh"
#include "final_failure.hh"

#include <wasm_engine/asio.hh>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <utility>

namespace transformd {

namespace {

using std::chrono::milliseconds;

/// Delays before a worker begins again.
constexpr milliseconds shortest_retry{100};
constexpr milliseconds longest_retry{10'000};

}  // namespace

std::string_view name_of(worker_state state) noexcept {
  switch (state) {
    case worker_state::starting: return "starting";
    case worker_state::running: return "running";
    case worker_state::paused: return "paused";
    case worker_state::retrying: return "retrying";
    case worker_state::failed: return "failed";
    case worker_state::stopped: return "stopped";
  }
  return "unknown";
}

worker::worker(worker_context& context, asio::io_context& loop, std::size_t index, module_ptr module)
    : _context(context),
      _loop(loop),
      _index(index),
      _label(context.file.name),
      _client_log{context.log, _label},
      _wake(loop.get_executor()),
      _module(std::move(module)) {}

asio::awaitable<void> worker::run() {
  auto retry = shortest_retry;
  while (!_stopping) {
    std::string why;
    bool final = false;
    std::optional<milliseconds> pause;
    const auto began = clock::now();
    try {
      co_await session();
      break;
    } catch (const final_failure& e) {
      why = e.what();
      final = true;
    } catch (const too_many_lost& e) {
      why = e.what();
      pause = _context.file.max_errors->retry_after;
      final = !pause;
    } catch (const std::exception& e) {
      why = e.what();
    }
    if (final) {
      _context.log.write(severity::error, _label, why);
      set_state(worker_state::failed, why);
      _context.on_failed();
      co_return;
    }
    if (_stopping) {
      break;
    }
    if (clock::now() - began > longest_retry) {
      retry = shortest_retry;
    }
    const auto delay = pause.value_or(retry);
    _context.log.write(severity::warn, _label, fmt::format("begins again in {} ms: {}", delay.count(), why));
    set_state(worker_state::retrying, why);
    const auto until = clock::now() + delay;
    // Another module or another position may be the cure.
    const auto cured = [&] { return _module_is_new || (pause && !_seeks.empty()); };
    while (!_stopping && !cured() && clock::now() < until) {
      co_await _wake.wait_until(until);
    }
    retry = std::min(retry * 2, longest_retry);
  }
  set_state(worker_state::stopped);
}

void worker::stop() {
  _stopping = true;
  _wake.notify();
}

void worker::pause(bool paused) {
  _pause_asked = paused;
  _wake.notify();
}

void worker::deploy(module_ptr module) {
  _module = std::move(module);
  _module_is_new = true;
  _wake.notify();
}

void worker::seek(seek_request to) {
  _seeks.push_back(to);
  _wake.notify();
}

worker_status worker::status() const {
  std::unique_lock lock(_mutex);
  auto out = _status;
  lock.unlock();
  // A call that waits for the cluster waits for a minute and then says no more than that.
  if (out.state == worker_state::starting || out.state == worker_state::retrying) {
    if (const auto why = _client_log.last_error(); !why.empty()) {
      out.error += (out.error.empty() ? "" : ". ") + why;
    }
  }
  return out;
}

/// From joining the group to leaving it.
asio::awaitable<void> worker::session() {
  std::exception_ptr thrown;
  try {
    co_await serve();
  } catch (...) {
    thrown = std::current_exception();
  }
  if (_consumer) {
    _client_log.forget();  // It was connected: what came before is not the reason.
  }
  co_await close();
  if (thrown) {
    std::rethrow_exception(thrown);
  }
}

asio::awaitable<void> worker::serve() {
  set_state(worker_state::starting);
  co_await begin_guest();
  _producer.emplace(producer_settings(_context.file, _context.instance, _index), _context.file.written_topics(), _client_log);
  co_await _producer->initialize(_context.blocking, _stopping);
  _consumer.emplace(_loop.get_executor(), consumer_settings(_context.file), _context.file.input_topic, _wake, _client_log);
  _paused = false;
  keep_alive();
  _client_log.forget();
  set_state(worker_state::running);
  while (!_stopping) {
    const bool drained = co_await take_events();
    co_await seek_as_asked();
    co_await transform_waiting();
    if (clock::now() >= _commit_at) {
      co_await commit();
    }
    co_await obey();
    // librdkafka wakes the loop only when an empty queue gets something.
    if (drained) {
      co_await _wake.wait_until(std::min(_commit_at, clock::now() + std::chrono::seconds(1)));
      publish_partitions();
    }
  }
  co_await commit();
}

/// Does what others have asked for. It falls between two transactions.
asio::awaitable<void> worker::obey() {
  if (_pause_asked != _paused) {
    co_await commit();
    _pause_asked ? _consumer->pause() : _consumer->resume();
    _paused = _pause_asked;
    set_state(_paused ? worker_state::paused : worker_state::running);
  }
  if (_module_is_new) {
    co_await commit();
    co_await begin_guest();
    _context.log.write(severity::info, _label, fmt::format("worker {} runs the module {}", _index, _module->sha256));
  }
}

/// Before records that wait for the guest: it may be meant to pass over them.
asio::awaitable<void> worker::seek_as_asked() {
  // Before the group has said what this member has, nothing could be sought.
  while (!_seeks.empty() && _consumer->joined()) {
    const auto next = _seeks.front();
    co_await commit();
    const bool done = co_await seek_now(next);
    if (!done) {
      co_return;
    }
    _seeks.erase(_seeks.begin());
  }
}

/// Goes on somewhere else. The new position is committed: the next member begins there, too.
/// False if the cluster does not allow it now: it is tried again.
asio::awaitable<bool> worker::seek_now(seek_request to) {
  const auto found = co_await _consumer->find(_context.blocking, to.to, to.partition);
  if (found.empty()) {
    _context.log.write(severity::info, _label, fmt::format("worker {} has no partition to seek in", _index));
    co_return true;
  }
  const bool committed = co_await try_commit(found);
  if (!committed) {
    co_return false;
  }
  for (const auto& [name, offset] : found) {
    _committed[name] = offset;
    _context.log.write(severity::info, _label, fmt::format("{}/{} goes on at {}", name.topic, name.partition, offset));
  }
  // All partitions: records of the others wait for the guest, too.
  _waiting.clear();
  co_await _consumer->seek(_context.blocking, _committed);
  publish_partitions();
  co_return true;
}

/// While a transaction takes its time the group must not take the worker for dead.
void worker::keep_alive() {
  // A new timer each time: its handler may be on its way when the session ends.
  _alive = std::make_shared<asio::steady_timer>(_loop, std::chrono::seconds(1));
  _alive->async_wait([this, timer = std::weak_ptr(_alive)](const boost::system::error_code& e) {
    if (!e && !timer.expired()) {
      _consumer->keep_alive();
      keep_alive();
    }
  });
}

asio::awaitable<void> worker::close() {
  _alive.reset();
  if (_producer && _producer->in_transaction()) {
    try {
      co_await _producer->abort(_context.blocking);
    } catch (const kafka_error& e) {
      // The cluster aborts it when its time is over.
      _context.log.write(severity::warn, _label, e.what());
    }
  }
  _waiting.clear();
  _committed.clear();
  _next.clear();
  _commit_at = clock::time_point::max();
  _pending_in = _pending_out = _pending_skipped = _pending_letters = 0;
  if (_consumer) {
    co_await _consumer->close(_context.blocking);
    _consumer.reset();
  }
  if (_producer) {
    co_await _producer->close(_context.blocking);
    _producer.reset();
  }
  _engine = {};
  publish_partitions();
}

/// Starts a guest of the current module in place of the one that there was.
asio::awaitable<void> worker::begin_guest() {
  const auto module = _module;
  _module_is_new = false;
  _engine = co_await start_guest(_loop, *module, _context.file);
  _seen_skipped = _seen_letters = 0;
  const std::lock_guard lock(_mutex);
  _status.module_sha256 = module->sha256;
}

void worker::set_state(worker_state state, std::string error) {
  const std::lock_guard lock(_mutex);
  _status.state = state;
  _status.error = std::move(error);
}

void worker::publish_partitions() {
  std::vector<partition_status> all;
  if (_consumer) {
    for (const auto& name : _consumer->assigned()) {
      const auto at = _committed.find(name);
      if (at == _committed.end()) {
        all.push_back({name, -1, std::nullopt});
      } else {
        all.push_back({name, at->second, _consumer->lag(name, at->second)});
      }
    }
  }
  const std::lock_guard lock(_mutex);
  _status.partitions = std::move(all);
}

}  // namespace transformd
