// SPDX-License-Identifier: Apache-2.0
#include "log_topic.hh"

#include "client_settings.hh"

#include <nlohmann/json.hpp>

namespace transformd {

namespace {

constexpr int patience_ms = 2000;

/// https://opentelemetry.io/docs/specs/otel/logs/data-model/#field-severitynumber
int severity_number(severity level) {
  switch (level) {
    case severity::debug: return 5;
    case severity::info: return 9;
    case severity::warn: return 13;
    case severity::error: return 17;
  }
  return 0;
}

std::string as_json(const log_entry& line) {
  using nlohmann::json;
  json name;
  name["key"] = "transform_name";
  name["value"]["stringValue"] = line.transform;
  json record;
  record["body"]["stringValue"] = line.text;
  record["timeUnixNano"] = line.time_ms * 1'000'000;
  record["severityNumber"] = severity_number(line.level);
  record["attributes"] = json::array({name});
  return record.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace

log_topic::log_topic(const transform_file& file, logger& log)
    : _client_log{log, file.name},
      _key(file.name),
      _client(make_client(RD_KAFKA_PRODUCER, log_producer_settings(file), 0, _client_log)),
      _topic(rd_kafka_topic_new(_client.get(), file.log_topic.c_str(), nullptr)) {
  if (!_topic) {
    throw kafka_error(rd_kafka_last_error(), "topic " + file.log_topic + ": " + rd_kafka_err2str(rd_kafka_last_error()));
  }
}

log_topic::~log_topic() {
  (void)rd_kafka_flush(_client.get(), patience_ms);
  (void)rd_kafka_purge(_client.get(), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
  _topic.reset();
}

void log_topic::write(const log_entry& line) {
  auto value = as_json(line);
  if (rd_kafka_produce(_topic.get(), RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, value.data(), value.size(), _key.data(),
                       _key.size(), nullptr) != 0) {
    ++_dropped;
  }
}

}  // namespace transformd
