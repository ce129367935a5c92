// SPDX-License-Identifier: Apache-2.0
#include "client_settings.hh"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>

namespace transformd {

namespace {

/// What the file says wins.
void add_client(const transform_file& file, client_settings& to) {
  for (const auto& [name, value] : file.client) {
    to[name] = value;
  }
}

}  // namespace

client_settings consumer_settings(const transform_file& file) {
  client_settings out{{"partition.assignment.strategy", "cooperative-sticky"}, {"queued.max.messages.kbytes", "16384"}};
  add_client(file, out);
  out["group.id"] = file.group;
  out["enable.auto.commit"] = "false";
  out["enable.auto.offset.store"] = "false";
  out["isolation.level"] = "read_committed";
  out["auto.offset.reset"] = file.start.at == position::kind::latest ? "latest" : "earliest";
  return out;
}

client_settings producer_settings(const transform_file& file, const std::string& instance, std::size_t index) {
  // The partitioner of Kafka's own client: equal keys stay together whoever writes them.
  client_settings out{{"partitioner", "murmur2_random"}, {"linger.ms", "5"}, {"delivery.report.only.error", "true"},
                      {"queue.buffering.max.kbytes", "65536"}};
  const bool transactional = file.delivery == guarantee::exactly_once;
  if (transactional) {
    // A worker that is killed leaves its transaction open for so long, and readers wait for it.
    out["transaction.timeout.ms"] = fmt::format("{}", std::max(std::chrono::milliseconds(15'000), 4 * file.commit_interval).count());
  }
  add_client(file, out);
  out["enable.idempotence"] = "true";
  if (transactional) {
    out["transactional.id"] = fmt::format("{}.{}.{}.{}", file.group, file.name, instance, index);
  }
  return out;
}

client_settings log_producer_settings(const transform_file& file) {
  client_settings out{{"linger.ms", "50"}, {"queue.buffering.max.kbytes", "4096"}};
  add_client(file, out);
  out["enable.idempotence"] = "false";
  out.erase("transaction.timeout.ms");
  return out;
}

std::size_t largest_message(const transform_file& file) {
  std::size_t out = 1'000'000;  // librdkafka's default
  if (const auto found = file.client.find("message.max.bytes"); found != file.client.end()) {
    const auto& text = found->second;
    std::from_chars(text.data(), text.data() + text.size(), out);
  }
  return out;
}

}  // namespace transformd
