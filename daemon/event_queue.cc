// SPDX-License-Identifier: Apache-2.0
#include "event_queue.hh"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>
#include <system_error>
#include <utility>

namespace transformd {

/// Outlives the queue while a handler is on its way.
struct event_queue::watch : std::enable_shared_from_this<watch> {
  watch(const asio::any_io_executor& loop, int fd, notification& n) : descriptor(loop, fd), on_events(&n) {}

  void arm() {
    descriptor.async_wait(asio::posix::stream_descriptor::wait_read,
                          [self = shared_from_this()](const boost::system::error_code& e) {
                            if (e || self->on_events == nullptr) {
                              return;
                            }
                            std::uint64_t count = 0;
                            (void)!::read(self->descriptor.native_handle(), &count, sizeof count);
                            self->on_events->notify();
                            self->arm();
                          });
  }

  asio::posix::stream_descriptor descriptor;
  notification* on_events;
};

event_queue::event_queue(const asio::any_io_executor& loop, kafka_queue queue, notification& on_events)
    : _queue(std::move(queue)) {
  const int fd = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (fd < 0) {
    throw std::system_error(errno, std::generic_category(), "eventfd");
  }
  _watch = std::make_shared<watch>(loop, fd, on_events);
  _watch->arm();
  static constexpr std::uint64_t one = 1;
  rd_kafka_queue_io_event_enable(_queue.get(), fd, &one, sizeof one);
}

event_queue::~event_queue() {
  // First, so that nothing is written to a descriptor that is another file's by then.
  rd_kafka_queue_io_event_enable(_queue.get(), -1, nullptr, 0);
  _watch->on_events = nullptr;
  boost::system::error_code ignored;
  _watch->descriptor.close(ignored);
}

}  // namespace transformd
