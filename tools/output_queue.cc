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
  _chunks.emplace_back(file, std::move(lines));
  _changed.notify_one();
  return _bytes <= enough;
}

void output_queue::when_room(wasmengine::promise waiting) {
  bool failed = false;
  {
    const std::lock_guard lock(_mutex);
    failed = _error.has_value();
    if (!failed && _bytes > enough) {
      _waiting.push_back(std::move(waiting));
      return;
    }
  }
  std::vector<wasmengine::promise> one;
  one.push_back(std::move(waiting));
  settle(std::move(one), !failed);
}

void output_queue::close() {
  const std::lock_guard lock(_mutex);
  _closed = true;
  _changed.notify_one();
}

void output_queue::run() noexcept {
  std::unique_lock lock(_mutex);
  for (;;) {
    _changed.wait(lock, [this] { return !_chunks.empty() || _closed; });
    if (_chunks.empty()) {
      return;
    }
    const auto chunks = std::exchange(_chunks, {});
    std::optional<failure> failed;
    if (!_error) {
      lock.unlock();
      try {
        write(chunks);
      } catch (const failure& e) {
        failed = e;
      } catch (const std::exception& e) {
        failed = failure(exit_code::other, e.what());
      }
      lock.lock();
    }
    for (const auto& [file, lines] : chunks) {
      _bytes -= lines.size();
    }
    if (failed) {
      _error = std::move(failed);
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

void output_queue::write(const std::vector<chunk>& chunks) {
  for (const auto& [file, lines] : chunks) {
    _files.write(file, lines);
  }
}

/// Outside of the lock: a promise wakes the loop that waits for it.
void output_queue::settle(std::vector<wasmengine::promise> waiting, bool written) noexcept {
  for (auto& promise : waiting) {
    // A stopped engine ignores the promise.
    (void)(written ? promise.resolve() : promise.reject("the output cannot be written"));
  }
}

}  // namespace tool
