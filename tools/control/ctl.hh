// SPDX-License-Identifier: Apache-2.0
//
// `wasm-transform ctl`: looks at a wasm-transformd and commands it.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace tool {

enum class ctl_action { list, status, logs, start, stop, pause, resume, seek, deploy, rollback };

struct ctl_options {
  ctl_action action = ctl_action::list;
  std::string transform;             ///< Of all but `list`.
  std::string module;                ///< Of `deploy`.
  std::vector<std::string> daemons;  ///< Each gets the request, in this order.
  bool json = false;
  // Of `logs`
  bool follow = false;
  std::optional<std::chrono::milliseconds> since;  ///< So long ago.
  // Of `seek`: one of these
  bool earliest = false;
  bool latest = false;
  std::optional<std::int64_t> offset;
  std::optional<std::string> timestamp;
  std::optional<std::int32_t> partition;  ///< Only this one.
};

/// Throws `failure`.
void ctl(const ctl_options& o);

}  // namespace tool
