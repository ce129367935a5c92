// Data transforms in C++20, on top of transform_guest.h. Include it from one source file only.
//
// Licensed under the Apache License, Version 2.0. SPDX-License-Identifier: Apache-2.0
//
// It uses no exceptions and allocates nothing per record:
//
//     int main() {
//       tg::run([](const tg::record& record) { tg::write(record); });
//     }
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string_view>
#include <type_traits>

#include "transform_guest.h"

namespace tg {

// Any bytes, text or not. They are borrowed: an input record's are valid until its callback returns.
using bytes = std::string_view;
// Kafka tells null from empty.
using nullable_bytes = std::optional<bytes>;

namespace detail {

inline nullable_bytes view(tg_slice slice) {
  if (slice.data == nullptr) return std::nullopt;
  return bytes(reinterpret_cast<const char*>(slice.data), slice.size);
}

inline tg_slice slice(bytes view) {
  // An empty view may hold a null pointer, which a slice takes for null.
  const char* data = view.data() == nullptr ? "" : view.data();
  return {reinterpret_cast<const std::uint8_t*>(data), view.size()};
}

inline tg_slice slice(nullable_bytes view) { return view ? slice(*view) : tg_slice{}; }

}  // namespace detail

struct header {
  bytes key;
  nullable_bytes value;
};

// The headers of a record, decoded as one iterates.
class header_range {
 public:
  class iterator {
   public:
    explicit iterator(tg_slice encoded) : rest_(encoded), left_(tg_header_count(&rest_) + 1) { ++*this; }
    header operator*() const { return {*detail::view(current_.key), detail::view(current_.value)}; }
    iterator& operator++() {
      if (--left_ > 0 && !tg_next_header(&rest_, &current_)) left_ = 0;
      return *this;
    }
    bool operator==(std::default_sentinel_t) const { return left_ <= 0; }

   private:
    tg_slice rest_;
    std::int64_t left_;
    tg_header current_{};
  };

  explicit header_range(tg_slice encoded) : encoded_(encoded) {}
  iterator begin() const { return iterator(encoded_); }
  std::default_sentinel_t end() const { return {}; }

 private:
  tg_slice encoded_;
};

// A view of a record: of an input record, or of what is to be written.
class record {
 public:
  // A record without headers.
  explicit record(nullable_bytes key, nullable_bytes value) {
    raw_.key = detail::slice(key);
    raw_.value = detail::slice(value);
  }
  explicit record(const tg_record& raw) : raw_(raw) {}

  nullable_bytes key() const { return detail::view(raw_.key); }
  nullable_bytes value() const { return detail::view(raw_.value); }
  header_range headers() const { return header_range(raw_.headers); }

  // These two make sense for input records only.
  std::int64_t timestamp() const { return raw_.timestamp; }  // milliseconds since 1970
  std::int64_t offset() const { return raw_.offset; }

  // The same record with another key or value.
  record with_key(nullable_bytes key) const {
    record changed = *this;
    changed.raw_.key = detail::slice(key);
    return changed;
  }
  record with_value(nullable_bytes value) const {
    record changed = *this;
    changed.raw_.value = detail::slice(value);
    return changed;
  }

  const tg_record& raw() const { return raw_; }

 private:
  tg_record raw_{};
};

// What came of a write: at least 0, or one of TG_MALFORMED and TG_REFUSED.
using result = std::int32_t;

// Writes to the first output topic.
inline result write(const record& record) { return tg_write(&record.raw()); }

// Writes to the named output topic.
inline result write_to(bytes topic, const record& record) {
  return tg_write_to(detail::slice(topic), &record.raw());
}

inline void log(bytes text) { tg_log(1, detail::slice(text)); }
inline void log_error(bytes text) { tg_log(2, detail::slice(text)); }

// Ends the guest with a message on stderr, and a trap.
[[noreturn]] inline void fail(bytes message) { tg_fail(detail::slice(message)); }

// Calls on_record for each input record, for ever.
template <std::invocable<const record&> OnRecord>
[[noreturn]] void run(OnRecord&& on_record) {
  tg_run(
      [](const tg_record* raw, void* context) {
        (*static_cast<std::remove_reference_t<OnRecord>*>(context))(record(*raw));
      },
      &on_record);
}

}  // namespace tg
