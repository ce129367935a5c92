// SPDX-License-Identifier: Apache-2.0
#include "input_buffer.hh"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

namespace transformd {

namespace {

/// Records that are given to the guest at once.
constexpr std::size_t most_records = 1000;
constexpr std::size_t most_bytes = 1U << 20;

wasmengine::field field_of(const void* bytes, std::size_t size) {
  if (bytes == nullptr) {
    return std::nullopt;
  }
  return std::string_view(static_cast<const char*>(bytes), size);
}

auto key_of(const input_buffer::item& i) { return std::pair(i.message->rkt, i.message->partition); }

}  // namespace

bool input_buffer::full() const noexcept { return _items.size() >= most_records || _bytes >= most_bytes; }

bool input_buffer::add(kafka_event event, const rd_kafka_message_t& message) {
  _bytes += message.len + message.key_len;
  _items.push_back({std::move(event), &message});
  return _items.size() == 1 || key_of(_items.back()) != key_of(_items[_items.size() - 2]);
}

void input_buffer::clear() noexcept {
  _items.clear();
  _bytes = 0;
}

void input_buffer::sort() {
  // librdkafka gives many records of one partition at a time: often there is nothing to be done.
  if (!std::ranges::is_sorted(_items, {}, key_of)) {
    std::ranges::stable_sort(_items, {}, key_of);
  }
}

std::span<const input_buffer::item> input_buffer::partition(std::size_t first) const {
  const auto begin = _items.begin() + static_cast<std::ptrdiff_t>(first);
  const auto end = std::find_if(begin, _items.end(), [&](const item& i) { return key_of(i) != key_of(*begin); });
  return {begin, end};
}

void add_record(wasmengine::record_list& to, const rd_kafka_message_t& message) {
  rd_kafka_timestamp_type_t kind{};
  const auto timestamp = rd_kafka_message_timestamp(&message, &kind);
  const auto key = field_of(message.key, message.key_len);
  const auto value = field_of(message.payload, message.len);
  rd_kafka_headers_t* headers = nullptr;
  if (rd_kafka_message_headers(&message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR) {
    return to.add(key, value, message.offset, timestamp);
  }
  wasmengine::payload all{key, value, {}};
  const char* name = nullptr;
  const void* content = nullptr;
  std::size_t size = 0;
  for (std::size_t i = 0; rd_kafka_header_get_all(headers, i, &name, &content, &size) == RD_KAFKA_RESP_ERR_NO_ERROR; ++i) {
    all.headers.push_back({name, field_of(content, size)});
  }
  to.add(all, message.offset, timestamp);
}

partition_name partition_of(const rd_kafka_message_t& message) {
  return {rd_kafka_topic_name(message.rkt), message.partition};
}

}  // namespace transformd
