// SPDX-License-Identifier: Apache-2.0
#include "transform.hh"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include <exception>
#include <utility>

namespace transformd {

/// A worker, which lives on its loop.
struct transform::place {
  event_loop& loop;
  const std::size_t index;
  std::unique_ptr<worker> member = {};  ///< Made and destroyed on the loop. The pointer is guarded by the mutex.
  worker_status last = {};              ///< After it has gone.
};

transform::transform(transform_file file, const wasmengine::runtime& runtime, std::deque<event_loop>& loops,
                     asio::thread_pool& blocking, logger& log, std::string instance, std::optional<state_directory> state)
    : _file(std::move(file)),
      _loops(loops),
      _log(log),
      _shared{_file, blocking, log, std::move(instance), [this] { end_workers([] {}); }},
      _modules(_file, runtime, blocking, log, std::move(state)) {
  if (!_file.log_topic.empty()) {
    _log_topic = std::make_shared<log_topic>(_file, _log);
    _log.forward(_file.name, [to = _log_topic](const log_entry& line) { to->write(line); });
  }
}

transform::~transform() {
  if (_log_topic) {
    _log.forward(_file.name, {});
  }
}

bool transform::start() {
  {
    const std::lock_guard lock(_mutex);
    if (_closed || _changing || _going > 0) {
      return false;
    }
    _changing = true;
    _stopping = false;
    _error.clear();
    _state = "compiling";
    _places.clear();  // No coroutine is left that knows them.
    ++_going;
  }
  asio::co_spawn(_loops.front().context(), load_and_run(), asio::detached);
  return true;
}

asio::awaitable<void> transform::load_and_run() {
  try {
    auto module = _modules.current();
    if (!module) {
      module = co_await _modules.load(_loops.front().context(), _give_up);
    }
    begin_workers(module);
  } catch (const std::exception& e) {
    {
      const std::lock_guard lock(_mutex);
      _changing = false;
    }
    fail(e.what());
  }
  leave();
}

/// Starts workers unless the transform is being stopped. The caller is a coroutine that ends.
void transform::begin_workers(const module_ptr& module) {
  const std::lock_guard lock(_mutex);
  _changing = false;
  _sha256 = module->sha256;
  if (_stopping) {
    return;
  }
  _state = "running";
  _error.clear();
  const auto count = _file.workers != 0 ? _file.workers : _loops.size();
  for (std::size_t i = 0; i < count; ++i) {
    auto& at = *_places.emplace_back(std::make_unique<place>(_loops[i % _loops.size()], i));
    ++_going;
    asio::co_spawn(at.loop.context(), run_worker(at, module), asio::detached);
  }
}

asio::awaitable<void> transform::run_worker(place& at, module_ptr module) {
  try {
    auto made = std::make_unique<worker>(_shared, at.loop.context(), at.index, std::move(module));
    worker* member = made.get();
    {
      const std::lock_guard lock(_mutex);
      at.member = std::move(made);
      if (_stopping) {
        member->stop();
      }
      member->pause(_paused);
    }
    co_await member->run();
    const std::lock_guard lock(_mutex);
    at.last = member->status();
    at.member.reset();
  } catch (const std::exception& e) {
    fail(e.what());
  }
  leave();
}

asio::awaitable<void> transform::deploy(std::vector<std::uint8_t> module) {
  auto change = [this, module = std::move(module)]() mutable {
    return _modules.deploy(_loops.front().context(), std::move(module));
  };
  co_await change_module(std::move(change));
}

asio::awaitable<void> transform::rollback() {
  auto change = [this] { return _modules.rollback(); };
  co_await change_module(std::move(change));
}

/// Runs `change` on the first loop and gives its module to the workers. The caller's loop goes on.
asio::awaitable<void> transform::change_module(std::function<asio::awaitable<module_ptr>()> change) {
  std::size_t stops = 0;
  {
    const std::lock_guard lock(_mutex);
    stops = _stops;
    if (_closed || _changing) {
      throw config_error(_closed ? "the daemon stops" : "its module is being changed already");
    }
    _changing = true;
    ++_going;
  }
  std::exception_ptr refused;
  try {
    const auto module = co_await asio::co_spawn(_loops.front().context(), change(), asio::use_awaitable);
    _log.write(severity::info, _file.name, fmt::format("has the module {}", module->sha256));
    bool idle = false;
    {
      const std::lock_guard lock(_mutex);
      _sha256 = module->sha256;
      // Who asked to stop in the meantime meant this, too.
      const bool wanted = !_closed && stops == _stops;
      // Only this coroutine is left: the workers have ended.
      idle = _going == 1 && wanted;
      if (idle) {
        _stopping = false;
        _places.clear();
      } else {
        _changing = false;
        _restart = _stopping && wanted;
      }
    }
    if (idle) {
      begin_workers(module);
    } else {
      on_workers([module](worker& w) { w.deploy(module); });
    }
  } catch (...) {
    refused = std::current_exception();
    const std::lock_guard lock(_mutex);
    _changing = false;
  }
  leave();
  if (refused) {
    std::rethrow_exception(refused);
  }
}

void transform::fail(const std::string& why) {
  _log.write(severity::error, _file.name, why);
  {
    const std::lock_guard lock(_mutex);
    _state = "failed";
    _error = why;
  }
  end_workers([] {});
}

/// A coroutine has ended.
void transform::leave() {
  std::vector<std::function<void()>> told;
  bool restart = false;
  {
    const std::lock_guard lock(_mutex);
    if (--_going > 0 || !_stopping) {
      return;
    }
    if (_state != "failed") {
      _state = "stopped";
    }
    told.swap(_when_stopped);
    restart = std::exchange(_restart, false);
  }
  if (restart) {
    (void)start();
  }
  for (const auto& done : told) {
    done();
  }
}

/// Calls `f` for each worker on its loop. The mutex must not be held.
void transform::on_workers(std::function<void(worker&)> f) {
  const auto shared = std::make_shared<std::function<void(worker&)>>(std::move(f));
  const std::lock_guard lock(_mutex);
  for (const auto& at : _places) {
    ++_going;
    asio::post(at->loop.context(), [this, &at = *at, shared] {
      {
        const std::lock_guard inner(_mutex);
        if (at.member) {
          (*shared)(*at.member);
        }
      }
      leave();
    });
  }
}

void transform::stop(std::function<void()> done) {
  {
    const std::lock_guard lock(_mutex);
    ++_stops;
    _restart = false;
  }
  end_workers(std::move(done));
}

void transform::end_workers(std::function<void()> done) {
  {
    const std::lock_guard lock(_mutex);
    _stopping = true;
  }
  on_workers([](worker& w) { w.stop(); });
  {
    const std::lock_guard lock(_mutex);
    if (_going > 0) {
      _when_stopped.push_back(std::move(done));
      return;
    }
    if (_state != "failed") {
      _state = "stopped";
    }
  }
  done();
}

void transform::close(std::function<void()> done) {
  {
    const std::lock_guard lock(_mutex);
    _closed = true;
  }
  _give_up = true;
  stop(std::move(done));
}

void transform::pause(bool paused) {
  {
    const std::lock_guard lock(_mutex);
    _paused = paused;
  }
  on_workers([paused](worker& w) { w.pause(paused); });
}

bool transform::seek(seek_request to) {
  {
    const std::lock_guard lock(_mutex);
    if (_stopping || _places.empty()) {
      return false;
    }
  }
  on_workers([to](worker& w) { w.seek(to); });
  return true;
}

transform_status transform::status() const {
  const std::lock_guard lock(_mutex);
  transform_status out{_file.name, _state, _error, _sha256, _log_topic ? _log_topic->dropped() : 0, {}};
  for (const auto& at : _places) {
    out.workers.push_back(at->member ? at->member->status() : at->last);
    if (out.workers.back().state == worker_state::failed) {
      out.state = "failed";
      out.error = out.workers.back().error;
    }
  }
  if (out.state == "running" && _paused) {
    out.state = "paused";
  }
  return out;
}

}  // namespace transformd
