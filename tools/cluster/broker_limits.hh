// SPDX-License-Identifier: Apache-2.0
//
// What Redpanda accepts, checked before a transform is sent.
#pragma once

#include "../project/project.hh"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace tool {

/// Defaults of Redpanda 24 to 26. A cluster's own may be set by its properties `data_transforms_…`.
struct broker_limits {
  std::uint64_t memory = 2U << 20;        ///< data_transforms_per_function_memory_limit
  std::uint64_t module_size = 10U << 20;  ///< data_transforms_binary_max_size
  std::size_t output_topics = 8;
  std::size_t variables = 128;
};

/// What the broker will not like, a sentence each.
struct broker_judgement {
  std::vector<std::string> errors;    ///< With which the transform starts on no broker.
  std::vector<std::string> warnings;  ///< A cluster may have other limits.
};

/// Of a module that hosts accept. Starts it. Throws what the library throws.
[[nodiscard]] broker_judgement judge_for_broker(const project& p, std::span<const std::uint8_t> module, const broker_limits& limits);

}  // namespace tool
