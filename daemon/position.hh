// SPDX-License-Identifier: Apache-2.0
//
// A place in a partition, as operators name it.
#pragma once

#include <cstdint>

namespace transformd {

struct position {
  enum class kind {
    earliest,   ///< The first record that is still there.
    latest,     ///< Behind the last one.
    offset,     ///< The record with the offset `value`.
    timestamp,  ///< The first record whose timestamp is not before `value`, in milliseconds since 1970.
  };
  kind at = kind::earliest;
  std::int64_t value = 0;
};

}  // namespace transformd
