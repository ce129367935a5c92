// SPDX-License-Identifier: Apache-2.0
//
// `wasm-transform bench`: what a record costs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace tool {

struct bench_options {
  std::string guest;
  std::string input;  ///< A file whose lines are the records. Empty: records are made.
  std::vector<std::uint64_t> sizes = {64, 1024, 16384};
  std::vector<std::string> env;
  std::vector<std::string> output_topics;
  std::string save;     ///< File.
  std::string against;  ///< A file that `save` made.
  std::vector<std::string> fail_if;
  std::uint64_t memory_limit = 64U << 20;
  double seconds = 0.5;  ///< For each size and module.
  bool json = false;
};

/// Throws `failure`, also if what `fail_if` names has happened.
void bench(const bench_options& o);

}  // namespace tool
