// SPDX-License-Identifier: Apache-2.0
#include "output_queue.hh"

#include <exception>
#include <utility>

namespace tool {

namespace {
constexpr std::size_t enough = 4U << 20;
}  // namespace

bool output_queue::submit(std::size_t file, std::string lines) {
  const std::lock_guard lock(_mutex);
  if (_error) {
    throw *_error;
  }
  _bytes += lines.size();
  _items.push_back(chunk{file, std::move(lines)});
  _changed.notify_one();
  return _bytes <= enough;
}

void output_queue::mark(const run_progress& p) {
  const std::lock_guard lock(_mutex);
  if (_checkpoint == nullptr) {
    return;
  }
  // Of two without output between them the later one says all.
  if (!_items.empty() && std::holds_alternative<run_progress>(_items.back())) {
    _items.pop_back();
  }
  _items.push_back(p);
  _changed.notify_one();
}

void output_queue::when_room(wasmengine::promise waiting) {
  bool failed = false;
  {
    const std::lock_guard lock(_mutex);
    failed = _error.has_value();
    if (!failed && _bytes > enough) {
      _waiting.promises.push_back(std::move(waiting));
      return;
    }
  }
  all_waiting one;
  one.promises.push_back(std::move(waiting));
  settle(std::move(one), !failed);
}

/// False if there is room.
bool output_queue::wait(event_loop& loop, std::coroutine_handle<> coroutine) {
  const std::lock_guard lock(_mutex);
  if (_error || _bytes <= enough) {
    return false;
  }
  _waiting.coroutines.push_back({&loop, coroutine});
  return true;
}

void output_queue::close() {
  const std::lock_guard lock(_mutex);
  _closed = true;
  _changed.notify_one();
}

void output_queue::run() noexcept {
  std::unique_lock lock(_mutex);
  for (;;) {
    _changed.wait(lock, [this] { return !_items.empty() || _closed; });
    if (_items.empty()) {
      return;
    }
    const auto items = std::exchange(_items, {});
    std::optional<failure> failed;
    if (!_error) {
      lock.unlock();
      try {
        write(items);
      } catch (const failure& e) {
        failed = e;
      } catch (const std::exception& e) {
        failed = failure(exit_code::other, e.what());
      }
      lock.lock();
    }
    for (const auto& i : items) {
      if (const auto* c = std::get_if<chunk>(&i)) {
        _bytes -= c->lines.size();
      }
    }
    if (failed) {
      _error = std::move(failed);
      lock.unlock();
      _on_failure();
      lock.lock();
    }
    if (_bytes <= enough || _error) {
      auto waiting = std::exchange(_waiting, {});
      const bool written = !_error;
      lock.unlock();
      settle(std::move(waiting), written);
      lock.lock();
    }
  }
}

void output_queue::write(const std::vector<item>& items) {
  for (const auto& i : items) {
    if (const auto* c = std::get_if<chunk>(&i)) {
      _files.write(c->file, c->lines);
    } else {
      _state.emplace(checkpoint_state{std::get<run_progress>(i), _files.get(), {}, false});
    }
  }
  if (_state && _checkpoint->is_due(*_state)) {
    write_checkpoint(false);
  }
}

void output_queue::write_checkpoint(bool complete) {
  if (_checkpoint != nullptr && _state) {
    _state->columns = _columns();
    _state->complete = complete;
    if (complete) {
      _state->files = _files.complete();
    }
    _checkpoint->write(*_state, _files);
  }
}

/// Outside of the lock: a promise wakes the loop that waits for it.
void output_queue::settle(all_waiting waiting, bool written) noexcept {
  for (auto& promise : waiting.promises) {
    // A stopped engine ignores the promise.
    (void)(written ? promise.resolve() : promise.reject("the output cannot be written"));
  }
  for (const auto& w : waiting.coroutines) {
    w.loop->post([](void* address) noexcept { std::coroutine_handle<>::from_address(address).resume(); },
                 w.coroutine.address());
  }
}

}  // namespace tool
