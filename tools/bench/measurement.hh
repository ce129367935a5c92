// SPDX-License-Identifier: Apache-2.0
//
// Times a guest, on this thread.
#pragma once

#include <wasm_engine/wasm_engine.hh>

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace tool {

/// Batches of records.
struct workload {
  std::string name;
  std::vector<std::vector<std::uint8_t>> batches;
  std::uint64_t records = 0;
  std::uint64_t bytes = 0;  ///< Of values.
};

/// Packs values into batches.
[[nodiscard]] workload make_workload(std::string name, const std::vector<std::string>& values);

/// JSON objects of `size` bytes, at least some tens, that differ.
[[nodiscard]] std::vector<std::string> made_values(std::uint64_t size);

/// What a guest takes.
struct measurement {
  std::chrono::nanoseconds compile_time{0};
  std::chrono::nanoseconds start_time{0};  ///< Of a further engine: the median of some.
  std::uint64_t memory = 0;                ///< Linear memory after all workloads.
  std::vector<double> record_ns;           ///< Of each workload: processor time per record, the least of the rounds.
  std::vector<std::uint64_t> records_out;  ///< Of each workload, once through.
};

/// Runs each workload for about `seconds`. Throws `failure` if the guest is refused or fails.
[[nodiscard]] measurement measure(std::span<const std::uint8_t> module, const wasmengine::transform_config& config,
                                  const std::vector<workload>& workloads, std::uint64_t memory_limit, double seconds);

}  // namespace tool
