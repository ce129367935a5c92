// SPDX-License-Identifier: Apache-2.0
#include "outbox.hh"

#include <utility>

namespace wasmengine::remote {

void outbox::send(std::unique_ptr<wire::ToHost> message) {
  const std::lock_guard lock(_mutex);
  if (_broken || _finished || _end) {
    return;
  }
  _bytes += message->ByteSizeLong();
  _messages.push_back(std::move(message));
  if (!_writing) {
    begin_write();
  }
}

void outbox::finish(const grpc::Status& status) {
  const std::lock_guard lock(_mutex);
  if (_finished || _end) {
    return;
  }
  if (_messages.empty() && !_writing) {
    _finished = true;
    _stream.Finish(status);
  } else {
    _end = status;
  }
}

bool outbox::is_sending() const {
  const std::lock_guard lock(_mutex);
  return _writing;
}

bool outbox::has_room() const {
  const std::lock_guard lock(_mutex);
  return room();
}

void outbox::wait_for_room(promise later) {
  {
    const std::lock_guard lock(_mutex);
    if (!room()) {
      _waiter = std::move(later);
      return;
    }
  }
  (void)later.resolve();
}

void outbox::sent(bool ok) {
  promise waiter;
  {
    const std::lock_guard lock(_mutex);
    _writing = false;
    _bytes -= _messages.front()->ByteSizeLong();
    _messages.pop_front();
    if (!ok) {
      _broken = true;
      _messages.clear();
      _bytes = 0;
    }
    if (!_messages.empty()) {
      begin_write();
    } else if (_end && !std::exchange(_finished, true)) {
      _stream.Finish(*_end);
    }
    if (_bytes <= _window / 2) {
      waiter = std::move(_waiter);
      _waiter = promise();
    }
  }
  if (waiter) {
    (void)waiter.resolve();
  }
}

void outbox::begin_write() {
  _writing = true;
  _stream.StartWrite(_messages.front().get());
}

}  // namespace wasmengine::remote
