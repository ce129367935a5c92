// SPDX-License-Identifier: Apache-2.0
#include "producer.hh"

#include <chrono>
#include <optional>
#include <span>
#include <thread>
#include <utility>

namespace transformd {

namespace {

using std::chrono::milliseconds;
using clock = std::chrono::steady_clock;

/// A transaction's call gives up after this. It is longer than an election of leaders takes.
constexpr milliseconds patience{60'000};

/// Calls `f(milliseconds)`, which returns an error of librdkafka or NULL, as long as it may succeed later.
template <typename F>
void until_done(const char* doing, F f) {
  const auto deadline = clock::now() + patience;
  for (milliseconds pause{10};; pause = std::min(pause * 2, milliseconds(1000))) {
    const auto left = std::chrono::duration_cast<milliseconds>(deadline - clock::now());
    rd_kafka_error_t* e = f(std::max(left, milliseconds(1)));
    if (e == nullptr) {
      return;
    }
    kafka_error error(doing, e);
    if (!error.retriable() || clock::now() >= deadline) {
      throw error;
    }
    std::this_thread::sleep_for(pause);
  }
}

/// A null and an empty field differ for librdkafka only in the pointer.
const void* bytes_of(const wasm_field& f) {
  if (f.size < 0) {
    return nullptr;
  }
  return f.data == nullptr ? static_cast<const void*>("") : f.data;
}

std::size_t size_of(const wasm_field& f) { return f.size < 0 ? 0 : static_cast<std::size_t>(f.size); }

}  // namespace

producer::producer(const client_settings& settings, const std::vector<std::string>& topics, client_log& log)
    // Reports that nobody takes would hold up the flush of a transaction.
    : _client(make_client(RD_KAFKA_PRODUCER, settings, settings.contains("transactional.id") ? 0 : RD_KAFKA_EVENT_DR, log)),
      _refused(rd_kafka_queue_get_main(_client.get())),
      _transactional(settings.contains("transactional.id")) {
  for (const auto& topic : topics) {
    _topics.emplace_back(rd_kafka_topic_new(_client.get(), topic.c_str(), nullptr));
    if (!_topics.back()) {
      throw kafka_error(rd_kafka_last_error(), "topic " + topic + ": " + rd_kafka_err2str(rd_kafka_last_error()));
    }
  }
}

asio::awaitable<void> producer::initialize(asio::thread_pool& pool, const bool& stopping) {
  // In short steps: whoever wants the process to end does not wait for a cluster that is away.
  static constexpr int step_ms = 500;
  auto step = [client = _client.get(), topic = _topics.front().get(), transactional = _transactional] {
    if (transactional) {
      return rd_kafka_init_transactions(client, step_ms);
    }
    const rd_kafka_metadata_t* found = nullptr;
    const auto code = rd_kafka_metadata(client, 0, topic, &found, step_ms);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
      rd_kafka_metadata_destroy(found);
      return static_cast<rd_kafka_error_t*>(nullptr);
    }
    return rd_kafka_error_new(code, "%s", rd_kafka_err2str(code));
  };
  for (const auto deadline = clock::now() + patience;;) {
    const auto begun = clock::now();
    rd_kafka_error_t* e = co_await off_loop(pool, step);
    if (e == nullptr) {
      co_return;
    }
    const kafka_error error("cannot reach the cluster", e);
    const bool waits = error.retriable() || error.code() == RD_KAFKA_RESP_ERR__TRANSPORT ||
                       error.code() == RD_KAFKA_RESP_ERR__TIMED_OUT;
    if (!waits || stopping || clock::now() >= deadline) {
      throw error;
    }
    if (clock::now() - begun < milliseconds(step_ms)) {
      auto pause = [] { std::this_thread::sleep_for(milliseconds(100)); };
      co_await off_loop(pool, std::move(pause));
    }
  }
}

void producer::begin() {
  if (rd_kafka_error_t* e = rd_kafka_begin_transaction(_client.get())) {
    throw kafka_error("cannot begin a transaction", e);
  }
  _in_transaction = true;
}

asio::awaitable<void> producer::commit(asio::thread_pool& pool, offsets next, group_metadata group) {
  auto work = [client = _client.get(), next = std::move(next), group = std::shared_ptr(std::move(group))] {
    const auto list = as_list(next);
    until_done("cannot add offsets to the transaction", [&](milliseconds time) {
      return rd_kafka_send_offsets_to_transaction(client, list.get(), group.get(), static_cast<int>(time.count()));
    });
    until_done("cannot commit the transaction", [&](milliseconds time) {
      return rd_kafka_commit_transaction(client, static_cast<int>(time.count()));
    });
  };
  co_await off_loop(pool, std::move(work));
  _in_transaction = false;
}

asio::awaitable<void> producer::abort(asio::thread_pool& pool) {
  auto work = [client = _client.get()] {
    until_done("cannot abort the transaction", [&](milliseconds time) {
      return rd_kafka_abort_transaction(client, static_cast<int>(time.count()));
    });
  };
  co_await off_loop(pool, std::move(work));
  _in_transaction = false;
}

bool producer::produce(std::size_t index, const wasm_payload& record, std::int64_t timestamp) {
  rd_kafka_headers_t* headers = nullptr;
  if (record.header_count > 0) {
    headers = rd_kafka_headers_new(record.header_count);
    for (const auto& h : std::span(record.headers, record.header_count)) {
      rd_kafka_header_add(headers, static_cast<const char*>(bytes_of(h.key)), static_cast<ssize_t>(size_of(h.key)),
                          bytes_of(h.value), static_cast<ssize_t>(size_of(h.value)));
    }
  }
  const auto code = rd_kafka_producev(
      _client.get(), RD_KAFKA_V_RKT(_topics.at(index).get()), RD_KAFKA_V_PARTITION(RD_KAFKA_PARTITION_UA),
      RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_TIMESTAMP(timestamp),
      RD_KAFKA_V_KEY(bytes_of(record.key), size_of(record.key)),
      RD_KAFKA_V_VALUE(const_cast<void*>(bytes_of(record.value)), size_of(record.value)),
      RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
    return true;
  }
  if (headers != nullptr) {
    rd_kafka_headers_destroy(headers);
  }
  if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
    return false;
  }
  throw kafka_error(code, std::string("cannot write to topic ") + rd_kafka_topic_name(_topics.at(index).get()) + ": " +
                              rd_kafka_err2str(code));
}

asio::awaitable<void> producer::make_room(asio::thread_pool& pool) {
  auto work = [client = _client.get()] { (void)rd_kafka_flush(client, 50); };
  co_await off_loop(pool, std::move(work));
  // Records that were refused take room until their reports are read.
  check_refused();
}

asio::awaitable<void> producer::flush(asio::thread_pool& pool) {
  const auto deadline = clock::now() + patience;
  for (;;) {
    auto work = [client = _client.get()] { return rd_kafka_flush(client, 500); };
    const auto left = co_await off_loop(pool, std::move(work));
    check_refused();
    if (left == RD_KAFKA_RESP_ERR_NO_ERROR) {
      co_return;
    }
    if (clock::now() >= deadline) {
      throw kafka_error(RD_KAFKA_RESP_ERR__TIMED_OUT, "the cluster did not take the output in time");
    }
  }
}

void producer::check_refused() {
  std::optional<kafka_error> first;
  while (const kafka_event event{rd_kafka_queue_poll(_refused.get(), 0)}) {
    while (const auto* message = rd_kafka_event_message_next(event.get())) {
      if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR && !first) {
        first.emplace(message->err, std::string("topic ") + rd_kafka_topic_name(message->rkt) + ": " +
                                        rd_kafka_err2str(message->err));
      }
    }
  }
  if (first) {
    throw kafka_error(*first);
  }
}

asio::awaitable<void> producer::close(asio::thread_pool& pool) {
  _topics.clear();
  _refused.reset();
  auto work = [client = std::make_shared<kafka_client>(std::move(_client))] {
    (void)rd_kafka_purge(client->get(), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    destroy(std::move(*client));
  };
  co_await off_loop(pool, std::move(work));
}

}  // namespace transformd
