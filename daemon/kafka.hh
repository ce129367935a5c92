// SPDX-License-Identifier: Apache-2.0
//
// librdkafka's C types with owners, and its errors as exceptions.
#pragma once

#include "log.hh"

#include <librdkafka/rdkafka.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

namespace transformd {

/// A failure that librdkafka reports.
class kafka_error : public std::runtime_error {
 public:
  kafka_error(rd_kafka_resp_err_t code, const std::string& what)
      : std::runtime_error(what), _code(code) {}
  /// Takes `e` over, which is not NULL. `doing` is in front of its text.
  kafka_error(const std::string& doing, rd_kafka_error_t* e);

  [[nodiscard]] rd_kafka_resp_err_t code() const noexcept { return _code; }
  /// The client cannot be used any more. It was fenced or has lost its place.
  [[nodiscard]] bool fatal() const noexcept { return _fatal; }
  /// The same call may succeed later.
  [[nodiscard]] bool retriable() const noexcept { return _retriable; }
  /// The transaction must be aborted.
  [[nodiscard]] bool requires_abort() const noexcept { return _requires_abort; }

 private:
  rd_kafka_resp_err_t _code;
  bool _fatal = false;
  bool _retriable = false;
  bool _requires_abort = false;
};

/// A topic and one of its partitions.
struct partition_name {
  std::string topic;
  std::int32_t partition = 0;
  auto operator<=>(const partition_name&) const = default;
};

/// The next offset of each partition.
using offsets = std::map<partition_name, std::int64_t>;

template <auto Free>
struct freeing {
  template <typename T>
  void operator()(T* what) const noexcept {
    Free(what);
  }
};

using partition_list = std::unique_ptr<rd_kafka_topic_partition_list_t, freeing<rd_kafka_topic_partition_list_destroy>>;
using group_metadata = std::unique_ptr<rd_kafka_consumer_group_metadata_t,
                                       freeing<rd_kafka_consumer_group_metadata_destroy>>;
using kafka_event = std::unique_ptr<rd_kafka_event_t, freeing<rd_kafka_event_destroy>>;
using kafka_queue = std::unique_ptr<rd_kafka_queue_t, freeing<rd_kafka_queue_destroy>>;
using kafka_topic = std::unique_ptr<rd_kafka_topic_t, freeing<rd_kafka_topic_destroy>>;
/// Destroying it blocks: see `off_loop`.
using kafka_client = std::unique_ptr<rd_kafka_t, freeing<rd_kafka_destroy>>;

/// The list that librdkafka takes.
[[nodiscard]] partition_list as_list(const offsets& of);

/// Settings for librdkafka by their documented names.
using client_settings = std::map<std::string, std::string>;

/// Whether librdkafka has a setting of this name. Throws `kafka_error` if it refuses the value.
void check_setting(const std::string& name, const std::string& value);

/// Where the lines of clients go. Any thread.
class client_log {
 public:
  client_log(logger& to, std::string transform) : _to(to), _transform(std::move(transform)) {}
  client_log(client_log&&) = delete;

  void write(severity level, std::string_view text);
  /// The last error since `forget`: why a client does not get through to the cluster. Empty if there is none.
  [[nodiscard]] std::string last_error() const;
  void forget();

 private:
  logger& _to;
  const std::string _transform;
  mutable std::mutex _mutex;
  std::string _last_error;
};

/// A client. `events` are those that its queues deliver. `log` outlives the client. Throws `kafka_error`.
[[nodiscard]] kafka_client make_client(rd_kafka_type_t type, const client_settings& settings, int events,
                                       client_log& log);

/// Destroys a client. Blocks, but not for ever: librdkafka does not end some clients whose topics or brokers went away. Such
/// a one is left behind with its threads.
void destroy(kafka_client client);

}  // namespace transformd
