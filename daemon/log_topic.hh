// SPDX-License-Identifier: Apache-2.0
//
// A topic for the lines that guests write.
#pragma once

#include "config.hh"
#include "kafka.hh"
#include "log.hh"

#include <atomic>
#include <cstdint>
#include <string>

namespace transformd {

/// Writes log lines as records in the format of Redpanda's `_redpanda.transform_logs`: the key is the transform's name,
/// the value a log record of OpenTelemetry in JSON. Not part of a transaction. Any thread.
class log_topic {
 public:
  /// `log` outlives this. Throws `kafka_error`.
  log_topic(const transform_file& file, logger& log);
  log_topic(log_topic&&) = delete;
  /// Waits a moment for the lines that are on their way. Blocks.
  ~log_topic();

  /// Does not block: a line for which there is no room is dropped and counted.
  void write(const log_entry& line);

  [[nodiscard]] std::uint64_t dropped() const noexcept { return _dropped; }

 private:
  client_log _client_log;  // Outlives the client.
  const std::string _key;
  kafka_client _client;
  kafka_topic _topic;
  std::atomic<std::uint64_t> _dropped = 0;
};

}  // namespace transformd
