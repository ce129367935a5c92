// SPDX-License-Identifier: Apache-2.0
#include "kafka.hh"

#include <algorithm>
#include <array>
#include <chrono>
#include <future>
#include <string_view>
#include <thread>

namespace transformd {

kafka_error::kafka_error(const std::string& doing, rd_kafka_error_t* e)
    : std::runtime_error(doing + ": " + rd_kafka_error_string(e)),
      _code(rd_kafka_error_code(e)),
      _fatal(rd_kafka_error_is_fatal(e) != 0),
      _retriable(rd_kafka_error_is_retriable(e) != 0),
      _requires_abort(rd_kafka_error_txn_requires_abort(e) != 0) {
  rd_kafka_error_destroy(e);
}

partition_list as_list(const offsets& of) {
  partition_list list(rd_kafka_topic_partition_list_new(static_cast<int>(of.size())));
  for (const auto& [name, offset] : of) {
    rd_kafka_topic_partition_list_add(list.get(), name.topic.c_str(), name.partition)->offset = offset;
  }
  return list;
}

namespace {

using settings_handle = std::unique_ptr<rd_kafka_conf_t, freeing<rd_kafka_conf_destroy>>;

void set(rd_kafka_conf_t* to, const std::string& name, const std::string& value) {
  std::array<char, 512> why{};
  switch (rd_kafka_conf_set(to, name.c_str(), value.c_str(), why.data(), why.size())) {
    case RD_KAFKA_CONF_OK: return;
    case RD_KAFKA_CONF_UNKNOWN:
      throw kafka_error(RD_KAFKA_RESP_ERR__INVALID_ARG, "librdkafka has no setting `" + name + "`");
    default: throw kafka_error(RD_KAFKA_RESP_ERR__INVALID_ARG, why.data());
  }
}

/// On any of librdkafka's threads.
void write_line(const rd_kafka_t* client, int level, const char* facility, const char* text) {
  // The settings are for consumer and producer. Each says which it does not know.
  if (std::string_view(facility) == "CONFWARN") {
    return;
  }
  static constexpr std::array<severity, 8> severities{severity::error, severity::error, severity::error, severity::error,
                                                      severity::warn,  severity::info,  severity::info,  severity::debug};
  static_cast<client_log*>(rd_kafka_opaque(client))
      ->write(severities.at(static_cast<std::size_t>(std::clamp(level, 0, 7))),
              std::string("librdkafka: ") + facility + ": " + text);
}

}  // namespace

void client_log::write(severity level, std::string_view text) {
  _to.write(level, _transform, text);
  // "FAIL" is about a connection, whatever its level. "ERROR" only counts brokers: the line before says what is wrong with them.
  const bool tells = level == severity::error || text.starts_with("librdkafka: FAIL");
  if (tells && text.find(" brokers are down") == std::string_view::npos) {
    const std::lock_guard lock(_mutex);
    _last_error = text;
  }
}

std::string client_log::last_error() const {
  const std::lock_guard lock(_mutex);
  return _last_error;
}

void client_log::forget() {
  const std::lock_guard lock(_mutex);
  _last_error.clear();
}

void check_setting(const std::string& name, const std::string& value) {
  const settings_handle scratch(rd_kafka_conf_new());
  set(scratch.get(), name, value);
}

kafka_client make_client(rd_kafka_type_t type, const client_settings& settings, int events, client_log& log) {
  settings_handle raw(rd_kafka_conf_new());
  for (const auto& [name, value] : settings) {
    set(raw.get(), name, value);
  }
  rd_kafka_conf_set_events(raw.get(), events);
  rd_kafka_conf_set_opaque(raw.get(), &log);
  rd_kafka_conf_set_log_cb(raw.get(), write_line);
  std::array<char, 512> why{};
  kafka_client client(rd_kafka_new(type, raw.get(), why.data(), why.size()));
  if (!client) {
    throw kafka_error(rd_kafka_last_error(), why.data());
  }
  (void)raw.release();
  return client;
}

void destroy(kafka_client client) {
  constexpr std::chrono::seconds patience{20};
  // What is left behind has no log to write to.
  rd_kafka_set_log_level(client.get(), 0);
  std::promise<void> done;
  const auto when_done = done.get_future();
  std::thread([client = std::move(client), done = std::move(done)]() mutable {
    client.reset();
    done.set_value();
  }).detach();
  (void)when_done.wait_for(patience);
}

}  // namespace transformd
