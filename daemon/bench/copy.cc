// SPDX-License-Identifier: Apache-2.0
//
// Copies a topic with librdkafka alone: the limit for whoever reads and writes by librdkafka.
//
//   kafka-copy BROKERS GROUP INPUT OUTPUT THREADS exactly-once|at-least-once COMMIT_INTERVAL_MS
//
// Each thread has its part of the partitions, fixed, and a producer of its own, set as the daemon sets its workers'. Positions are
// the group's, but nobody joins it. Ends at SIGTERM.
#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using clock_type = std::chrono::steady_clock;

std::atomic<bool> stopping{false};

struct arguments {
  std::string brokers, group, input, output;
  int threads;
  bool exactly_once;
  std::chrono::milliseconds interval;
};

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "kafka-copy: %s\n", what.c_str());
  std::_Exit(1);
}

void check(rd_kafka_resp_err_t e, const char* doing) {
  if (e != RD_KAFKA_RESP_ERR_NO_ERROR) {
    die(std::string(doing) + ": " + rd_kafka_err2str(e));
  }
}

void check(rd_kafka_error_t* e, const char* doing) {
  if (e != nullptr) {
    die(std::string(doing) + ": " + rd_kafka_error_string(e));
  }
}

rd_kafka_t* make(rd_kafka_type_t type, std::initializer_list<std::pair<const char*, std::string>> settings) {
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  std::array<char, 512> why{};
  for (const auto& [name, value] : settings) {
    if (rd_kafka_conf_set(conf, name, value.c_str(), why.data(), why.size()) != RD_KAFKA_CONF_OK) {
      die(why.data());
    }
  }
  rd_kafka_t* made = rd_kafka_new(type, conf, why.data(), why.size());
  return made != nullptr ? made : (die(why.data()), nullptr);
}

rd_kafka_t* make_producer(const arguments& a, int index) {
  std::initializer_list<std::pair<const char*, std::string>> common{
      {"bootstrap.servers", a.brokers}, {"partitioner", "murmur2_random"},       {"linger.ms", "5"},
      {"enable.idempotence", "true"},   {"queue.buffering.max.kbytes", "65536"}, {"delivery.report.only.error", "true"}};
  if (!a.exactly_once) {
    return make(RD_KAFKA_PRODUCER, common);
  }
  const auto name = a.group + "." + std::to_string(std::random_device()()) + "." + std::to_string(index);
  auto* made = make(RD_KAFKA_PRODUCER,
                    {{"bootstrap.servers", a.brokers}, {"partitioner", "murmur2_random"}, {"linger.ms", "5"},
                     {"enable.idempotence", "true"}, {"queue.buffering.max.kbytes", "65536"},
                     {"delivery.report.only.error", "true"}, {"transactional.id", name}});
  check(rd_kafka_init_transactions(made, 60'000), "init_transactions");
  return made;
}

class copier {
 public:
  copier(const arguments& a, int index)
      : _arguments(a),
        _producer(make_producer(a, index)),
        _topic(rd_kafka_topic_new(_producer, a.output.c_str(), nullptr)),
        _consumer(make(RD_KAFKA_CONSUMER, {{"bootstrap.servers", a.brokers},
                                           {"group.id", a.group},
                                           {"auto.offset.reset", "earliest"},
                                           {"isolation.level", "read_committed"},
                                           {"enable.auto.commit", "false"},
                                           {"enable.auto.offset.store", "false"},
                                           {"queued.max.messages.kbytes", "16384"}})) {
    check(rd_kafka_poll_set_consumer(_consumer), "poll_set_consumer");
    auto* mine = rd_kafka_topic_partition_list_new(1);
    for (int partition = index; partition < partition_count(); partition += a.threads) {
      rd_kafka_topic_partition_list_add(mine, a.input.c_str(), partition)->offset = RD_KAFKA_OFFSET_STORED;
    }
    check(rd_kafka_assign(_consumer, mine), "assign");
    rd_kafka_topic_partition_list_destroy(mine);
  }
  copier(copier&&) = delete;

  ~copier() {
    rd_kafka_consumer_close(_consumer);
    rd_kafka_destroy(_consumer);
    rd_kafka_topic_destroy(_topic);
    rd_kafka_destroy(_producer);
  }

  void run() {
    auto* queue = rd_kafka_queue_get_consumer(_consumer);
    std::array<rd_kafka_message_t*, 1000> messages{};
    auto commit_at = clock_type::time_point::max();
    while (!stopping) {
      // It waits for as long to fill its array: not longer than the producer lingers.
      const auto left = std::clamp<std::int64_t>(
          std::chrono::duration_cast<std::chrono::milliseconds>(commit_at - clock_type::now()).count(), 0, 5);
      const auto count = rd_kafka_consume_batch_queue(queue, static_cast<int>(left), messages.data(), messages.size());
      for (ssize_t i = 0; i < count; ++i) {
        auto* m = messages.at(static_cast<std::size_t>(i));
        if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
          if (commit_at == clock_type::time_point::max()) {
            commit_at = clock_type::now() + _arguments.interval;
            if (_arguments.exactly_once) {
              check(rd_kafka_begin_transaction(_producer), "begin_transaction");
            }
          }
          copy(*m);
          _next[m->partition] = m->offset + 1;
        }
        rd_kafka_message_destroy(m);
      }
      if (clock_type::now() >= commit_at) {
        commit();
        commit_at = clock_type::time_point::max();
      }
    }
    commit();
    rd_kafka_queue_destroy(queue);
  }

 private:
  [[nodiscard]] int partition_count() const {
    auto* topic = rd_kafka_topic_new(_consumer, _arguments.input.c_str(), nullptr);
    const rd_kafka_metadata_t* found = nullptr;
    check(rd_kafka_metadata(_consumer, 0, topic, &found, 60'000), "metadata");
    const int count = found->topics[0].partition_cnt;
    rd_kafka_metadata_destroy(found);
    rd_kafka_topic_destroy(topic);
    return count;
  }

  void copy(const rd_kafka_message_t& m) {
    rd_kafka_headers_t* headers = nullptr;
    if (rd_kafka_message_headers(&m, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR) {
      headers = rd_kafka_headers_copy(headers);
    }
    rd_kafka_timestamp_type_t kind{};
    const auto timestamp = rd_kafka_message_timestamp(&m, &kind);
    for (;;) {
      const auto code = rd_kafka_producev(
          _producer, RD_KAFKA_V_RKT(_topic), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_TIMESTAMP(timestamp),
          RD_KAFKA_V_KEY(m.key, m.key_len), RD_KAFKA_V_VALUE(m.payload, m.len), RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
      if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
        return check(code, "produce");
      }
      rd_kafka_flush(_producer, 50);
    }
  }

  void commit() {
    if (_next.empty()) {
      return;
    }
    auto* list = rd_kafka_topic_partition_list_new(static_cast<int>(_next.size()));
    for (const auto& [partition, offset] : _next) {
      rd_kafka_topic_partition_list_add(list, _arguments.input.c_str(), partition)->offset = offset;
    }
    if (_arguments.exactly_once) {
      auto* group = rd_kafka_consumer_group_metadata(_consumer);
      check(rd_kafka_send_offsets_to_transaction(_producer, list, group, 60'000), "send_offsets");
      rd_kafka_consumer_group_metadata_destroy(group);
      check(rd_kafka_commit_transaction(_producer, 60'000), "commit_transaction");
    } else {
      check(rd_kafka_flush(_producer, 60'000), "flush");
      check(rd_kafka_commit(_consumer, list, 0), "commit");
    }
    rd_kafka_topic_partition_list_destroy(list);
    _next.clear();
  }

  const arguments& _arguments;
  rd_kafka_t* _producer;
  rd_kafka_topic_t* _topic;
  rd_kafka_t* _consumer;
  std::map<std::int32_t, std::int64_t> _next;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 8) {
    die("usage: kafka-copy BROKERS GROUP INPUT OUTPUT THREADS exactly-once|at-least-once COMMIT_INTERVAL_MS");
  }
  const arguments a{argv[1], argv[2], argv[3], argv[4], std::atoi(argv[5]), std::string(argv[6]) == "exactly-once",
                    std::chrono::milliseconds(std::atoi(argv[7]))};
  std::signal(SIGTERM, [](int) { stopping = true; });
  std::vector<std::thread> threads;
  for (int i = 0; i < a.threads; ++i) {
    threads.emplace_back([&a, i] { copier(a, i).run(); });
  }
  for (auto& t : threads) {
    t.join();
  }
}
