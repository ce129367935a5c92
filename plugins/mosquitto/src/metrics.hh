// SPDX-License-Identifier: Apache-2.0
//
// Metrics as topics below $SYS/broker/wasm.
#pragma once

#include "budget.hh"

#include <map>
#include <string>

namespace mosquitto_wasm {

class transform;

/// Publishes what has changed, retained, as the broker does with its own.
class metrics {
 public:
  /// 0: never.
  void set_interval(clock::duration interval) noexcept { _interval = interval; }
  [[nodiscard]] bool due(clock::time_point now) const noexcept { return _interval.count() != 0 && now >= _next; }
  /// Begins with this. Then `add` for each transform.
  void begin(clock::time_point now);
  void add(const transform& t);
  /// Removes the topics of a transform that is gone.
  void remove(const std::string& name);

 private:
  void set(const std::string& topic, const std::string& value);

  clock::duration _interval{};
  clock::time_point _next{};
  std::map<std::string, std::string> _published;
};

}  // namespace mosquitto_wasm
