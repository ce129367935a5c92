// SPDX-License-Identifier: Apache-2.0
//
// A queue of librdkafka that wakes an event loop.
#pragma once

#include "kafka.hh"
#include "notification.hh"

#include <boost/asio/posix/stream_descriptor.hpp>

#include <memory>

namespace transformd {

/// Notifies when the queue gets events. librdkafka writes to a descriptor that the loop watches: nothing polls. On the
/// loop's thread.
class event_queue {
 public:
  /// `on_events` must outlive this.
  event_queue(const asio::any_io_executor& loop, kafka_queue queue, notification& on_events);
  event_queue(event_queue&&) = delete;
  ~event_queue();

  /// The next event. Empty if there is none now.
  [[nodiscard]] kafka_event poll() noexcept { return kafka_event(rd_kafka_queue_poll(_queue.get(), 0)); }
  [[nodiscard]] rd_kafka_queue_t* get() const noexcept { return _queue.get(); }

 private:
  struct watch;

  kafka_queue _queue;
  std::shared_ptr<watch> _watch;
};

}  // namespace transformd
