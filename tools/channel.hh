// SPDX-License-Identifier: Apache-2.0
//
// A bounded queue from a thread that may block to a coroutine that must not.
#pragma once

#include "event_loop.hh"

#include <condition_variable>
#include <coroutine>
#include <cstddef>
#include <deque>
#include <mutex>
#include <utility>

namespace tool {

/// One producer thread and one consumer coroutine on `consumer`.
template <typename T>
class channel {
 public:
  channel(event_loop& consumer, std::size_t capacity) : _consumer(consumer), _capacity(capacity) {}
  channel(channel&&) = delete;

  /// Waits for room. False if no items are taken any more. The item is dropped then.
  bool push(T item) {
    std::unique_lock lock(_mutex);
    _room.wait(lock, [this] { return _items.size() < _capacity || _abandoned; });
    if (_abandoned) {
      return false;
    }
    _items.push_back(std::move(item));
    wake_consumer();
    return true;
  }

  /// The producer has finished: after the last item `pop_all` returns nothing.
  void close() {
    const std::lock_guard lock(_mutex);
    _closed = true;
    wake_consumer();
  }

  /// The consumer has finished.
  void abandon() {
    const std::lock_guard lock(_mutex);
    _abandoned = true;
    _items.clear();
    _room.notify_one();
  }

  /// `std::deque<T> items = co_await channel.pop_all()`: what waits, at least one item. None when it is closed.
  auto pop_all() noexcept {
    struct awaiter {
      channel& from;
      bool await_ready() noexcept { return false; }
      bool await_suspend(std::coroutine_handle<> waiter) noexcept {
        const std::lock_guard lock(from._mutex);
        if (!from._items.empty() || from._closed) {
          return false;
        }
        from._waiter = waiter;
        return true;
      }
      std::deque<T> await_resume() {
        const std::lock_guard lock(from._mutex);
        from._room.notify_one();
        return std::exchange(from._items, {});
      }
    };
    return awaiter{*this};
  }

 private:
  void wake_consumer() noexcept {
    if (auto waiter = std::exchange(_waiter, nullptr)) {
      _consumer.post([](void* address) noexcept { std::coroutine_handle<>::from_address(address).resume(); },
                     waiter.address());
    }
  }

  event_loop& _consumer;
  const std::size_t _capacity;
  std::mutex _mutex;
  std::condition_variable _room;
  std::deque<T> _items;
  std::coroutine_handle<> _waiter;
  bool _closed = false;
  bool _abandoned = false;
};

}  // namespace tool
