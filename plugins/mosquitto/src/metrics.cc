// SPDX-License-Identifier: Apache-2.0
#include "metrics.hh"

#include "message.hh"
#include "transform.hh"

namespace mosquitto_wasm {

namespace {

const std::string root = "$SYS/broker/wasm/";

}  // namespace

void metrics::begin(clock::time_point now) {
  _next = now + _interval;
  set(root + "version", std::string(we::version()));
}

void metrics::add(const transform& t) {
  const auto& count = t.count();
  const std::pair<const char*, std::uint64_t> values[] = {
      {"messages/received", count.received},
      {"messages/deferred", count.deferred},
      {"messages/transformed", count.transformed},
      {"messages/published", count.published},
      {"messages/failed", count.failed},
      {"messages/overflowed", count.overflowed},
      {"messages/dropped", count.dropped},
      {"messages/passed", count.passed},
      {"messages/denied", count.denied},
      {"messages/dead_lettered", count.dead_lettered},
      {"queue/messages", t.queued_messages()},
      {"queue/bytes", t.queued_bytes()},
      {"guest/restarts", count.restarts},
      {"guest/loads", count.loads},
      {"guest/time_us", count.guest_ns / 1000},
      {"guest/memory_bytes", t.memory()},
  };
  for (const auto& [name, value] : values) {
    set(root + t.name() + "/" + name, std::to_string(value));
  }
}

void metrics::remove(const std::string& name) {
  const auto below = root + name + "/";
  for (auto at = _published.lower_bound(below); at != _published.end() && at->first.starts_with(below);) {
    publish(at->first, {}, 0, true, nullptr);
    at = _published.erase(at);
  }
}

void metrics::set(const std::string& topic, const std::string& value) {
  auto& last = _published[topic];
  if (last != value) {
    publish(topic, value, 0, true, nullptr);
    last = value;
  }
}

}  // namespace mosquitto_wasm
