// SPDX-License-Identifier: Apache-2.0
#include "consumer.hh"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace transformd {

namespace {

/// A call that waits for the cluster gives up after this.
constexpr int patience_ms = 10'000;

void check(rd_kafka_resp_err_t e, const char* doing) {
  if (e != RD_KAFKA_RESP_ERR_NO_ERROR) {
    throw kafka_error(e, std::string(doing) + ": " + rd_kafka_err2str(e));
  }
}

void check(rd_kafka_error_t* e, const char* doing) {
  if (e != nullptr) {
    throw kafka_error(doing, e);
  }
}

/// Whether the group knows this member.
bool has_member_id(const rd_kafka_t* client) {
  const std::unique_ptr<char, decltype(&std::free)> id(rd_kafka_memberid(client), std::free);
  return id && *id != '\0';
}

using error_handle = std::unique_ptr<rd_kafka_error_t, freeing<rd_kafka_error_destroy>>;

/// The offsets of `at` in `partitions`. Blocks.
offsets find_offsets(rd_kafka_t* client, const std::vector<partition_name>& partitions, position at) {
  offsets out;
  if (at.at == position::kind::timestamp) {
    for (const auto& name : partitions) {
      out[name] = at.value;
    }
    const auto list = as_list(out);
    check(rd_kafka_offsets_for_times(client, list.get(), patience_ms), "cannot find offsets by time");
    for (const auto& p : std::span(list->elems, static_cast<std::size_t>(list->cnt))) {
      check(p.err, "cannot find an offset by time");
      out[{p.topic, p.partition}] = p.offset;
    }
  }
  for (const auto& name : partitions) {
    auto& offset = out.try_emplace(name, RD_KAFKA_OFFSET_INVALID).first->second;
    if (offset >= 0) {
      continue;
    }
    std::int64_t low = 0;
    std::int64_t high = 0;
    check(rd_kafka_query_watermark_offsets(client, name.topic.c_str(), name.partition, &low, &high, patience_ms),
          "cannot read the ends of a partition");
    switch (at.at) {
      case position::kind::earliest: offset = low; break;
      // An offset that is not there would send librdkafka to the other end.
      case position::kind::offset: offset = std::clamp(at.value, low, high); break;
      case position::kind::latest:
      case position::kind::timestamp: offset = high; break;  // There is no record as late as that.
    }
  }
  return out;
}

/// Commits `start` for the partitions in which the group has no position. Writes it into the list, too.
void begin_at(rd_kafka_t* client, rd_kafka_topic_partition_list_t& list, position start) {
  const partition_list known(rd_kafka_topic_partition_list_copy(&list));
  check(rd_kafka_committed(client, known.get(), patience_ms), "cannot read the group's positions");
  std::vector<partition_name> fresh;
  for (const auto& p : std::span(known->elems, static_cast<std::size_t>(known->cnt))) {
    check(p.err, "cannot read the group's position");
    if (p.offset < 0) {
      fresh.push_back({p.topic, p.partition});
    }
  }
  if (fresh.empty()) {
    return;
  }
  const auto found = find_offsets(client, fresh, start);
  for (auto& p : std::span(list.elems, static_cast<std::size_t>(list.cnt))) {
    if (const auto at = found.find({p.topic, p.partition}); at != found.end()) {
      p.offset = at->second;
    }
  }
  check(rd_kafka_commit(client, as_list(found).get(), 0), "cannot commit offsets");
}

}  // namespace

consumer::consumer(const asio::any_io_executor& loop, const client_settings& settings, const std::string& topic,
                   notification& on_events, client_log& log)
    : _client(make_client(RD_KAFKA_CONSUMER, settings,
                          RD_KAFKA_EVENT_FETCH | RD_KAFKA_EVENT_REBALANCE | RD_KAFKA_EVENT_ERROR, log)) {
  check(rd_kafka_poll_set_consumer(_client.get()), "cannot forward events to the consumer");
  _queue.emplace(loop, kafka_queue(rd_kafka_queue_get_consumer(_client.get())), on_events);
  _nothing.reset(rd_kafka_queue_new(_client.get()));
  const partition_list topics(rd_kafka_topic_partition_list_new(1));
  rd_kafka_topic_partition_list_add(topics.get(), topic.c_str(), RD_KAFKA_PARTITION_UA);
  check(rd_kafka_subscribe(_client.get(), topics.get()), "cannot subscribe");
}

bool consumer::cooperative() const noexcept {
  const char* protocol = rd_kafka_rebalance_protocol(_client.get());
  return protocol != nullptr && std::string_view(protocol) == "COOPERATIVE";
}

asio::awaitable<void> consumer::assign(asio::thread_pool& pool, const rd_kafka_topic_partition_list_t& added,
                                       position start) {
  const partition_list from(rd_kafka_topic_partition_list_copy(&added));
  if (start.at != position::kind::earliest && added.cnt > 0) {
    auto work = [client = _client.get(), list = from.get(), start] { begin_at(client, *list, start); };
    co_await off_loop(pool, std::move(work));
  }
  if (cooperative()) {
    check(rd_kafka_incremental_assign(_client.get(), from.get()), "cannot take partitions");
  } else {
    check(rd_kafka_assign(_client.get(), from.get()), "cannot take partitions");
    _assigned.clear();
  }
  for (int i = 0; i < added.cnt; ++i) {
    _assigned.insert({added.elems[i].topic, added.elems[i].partition});
  }
  _joined = true;
}

void consumer::unassign(const rd_kafka_topic_partition_list_t& removed) {
  if (_paused) {
    // A pause would come back with the partition. Not otherwise: up to 2.3 librdkafka keeps what is resumed though its topic is
    // gone, and does not let go of the client then.
    const partition_list resumed(rd_kafka_topic_partition_list_copy(&removed));
    (void)rd_kafka_resume_partitions(_client.get(), resumed.get());
  }
  if (cooperative()) {
    check(rd_kafka_incremental_unassign(_client.get(), &removed), "cannot give partitions up");
    for (int i = 0; i < removed.cnt; ++i) {
      _assigned.erase({removed.elems[i].topic, removed.elems[i].partition});
    }
  } else {
    check(rd_kafka_assign(_client.get(), nullptr), "cannot give partitions up");
    _assigned.clear();
  }
}

void consumer::pause() {
  _paused = true;
  offsets all;
  for (const auto& name : _assigned) {
    all[name] = RD_KAFKA_OFFSET_INVALID;
  }
  check(rd_kafka_pause_partitions(_client.get(), as_list(all).get()), "cannot pause");
}

void consumer::resume() {
  _paused = false;
  offsets all;
  for (const auto& name : _assigned) {
    all[name] = RD_KAFKA_OFFSET_INVALID;
  }
  check(rd_kafka_resume_partitions(_client.get(), as_list(all).get()), "cannot resume");
}

asio::awaitable<void> consumer::seek(asio::thread_pool& pool, offsets to) {
  std::erase_if(to, [this](const auto& item) { return !_assigned.contains(item.first); });
  if (!to.empty()) {
    auto work = [client = _client.get(), to = std::move(to)] {
      const auto list = as_list(to);
      check(rd_kafka_seek_partitions(client, list.get(), patience_ms), "cannot seek");
      for (int i = 0; i < list->cnt; ++i) {
        check(list->elems[i].err, "cannot seek");
      }
    };
    co_await off_loop(pool, std::move(work));
  }
}

asio::awaitable<offsets> consumer::find(asio::thread_pool& pool, position at, std::optional<std::int32_t> partition) {
  std::vector<partition_name> names;
  for (const auto& name : _assigned) {
    if (!partition || *partition == name.partition) {
      names.push_back(name);
    }
  }
  auto work = [client = _client.get(), names = std::move(names), at] { return find_offsets(client, names, at); };
  co_return co_await off_loop(pool, std::move(work));
}

asio::awaitable<offsets> consumer::positions(asio::thread_pool& pool, const rd_kafka_topic_partition_list_t& of) {
  const std::shared_ptr<rd_kafka_topic_partition_list_t> list(rd_kafka_topic_partition_list_copy(&of),
                                                              rd_kafka_topic_partition_list_destroy);
  auto work = [client = _client.get(), list] {
    check(rd_kafka_committed(client, list.get(), patience_ms), "cannot read the group's positions");
    offsets out;
    for (const auto& p : std::span(list->elems, static_cast<std::size_t>(list->cnt))) {
      if (p.err == RD_KAFKA_RESP_ERR_NO_ERROR && p.offset >= 0) {
        out[{p.topic, p.partition}] = p.offset;
      }
    }
    return out;
  };
  co_return co_await off_loop(pool, std::move(work));
}

asio::awaitable<void> consumer::commit(asio::thread_pool& pool, offsets next) {
  auto work = [client = _client.get(), next = std::move(next)] {
    check(rd_kafka_commit(client, as_list(next).get(), 0), "cannot commit offsets");
  };
  co_await off_loop(pool, std::move(work));
}

std::optional<std::int64_t> consumer::lag(const partition_name& of, std::int64_t next) const {
  std::int64_t low = 0;
  std::int64_t high = 0;
  if (rd_kafka_get_watermark_offsets(_client.get(), of.topic.c_str(), of.partition, &low, &high) !=
          RD_KAFKA_RESP_ERR_NO_ERROR ||
      high < 0) {
    return std::nullopt;
  }
  return high > next ? high - next : 0;
}

asio::awaitable<void> consumer::close(asio::thread_pool& pool) {
  _queue.reset();
  _nothing.reset();
  offsets all;
  for (const auto& name : std::exchange(_assigned, {})) {
    all[name] = RD_KAFKA_OFFSET_INVALID;
  }
  const bool incremental = cooperative();
  const bool joining = !_joined && has_member_id(_client.get());
  auto work = [client = std::make_shared<kafka_client>(std::move(_client)), all = std::move(all), incremental, joining] {
    // An event of the group that could not be answered would be waited for.
    if (incremental) {
      const error_handle ignored(rd_kafka_incremental_unassign(client->get(), as_list(all).get()));
    } else {
      (void)rd_kafka_assign(client->get(), nullptr);
    }
    (void)rd_kafka_consumer_close(client->get());
    if (joining) {
      // Older librdkafka, Debian's 2.0 too, aborts when a member is destroyed before it got its first assignment. So this one
      // is left behind.
      (void)client->release();
    } else {
      destroy(std::move(*client));
    }
  };
  co_await off_loop(pool, std::move(work));
}

}  // namespace transformd
