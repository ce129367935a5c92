// SPDX-License-Identifier: Apache-2.0
//
// Several batches in one call, as C gives them.
#pragma once

#include "c_sink.hh"

#include <map>
#include <vector>

namespace testing_support {

using batches = std::vector<kafka::bytes>;

/// One batch a list of values. All of them begin at offset 100.
inline batches batches_of(const std::vector<std::vector<std::string>>& all) {
  batches out;
  for (const auto& values : all) {
    out.push_back(built(values));
  }
  return out;
}

/// Keeps output by the batch that it belongs to.
struct by_batch {
  void operator()(output_block block, wasm_call* call) {
    const wasm_output_batch* runs = nullptr;
    std::size_t count = 0;
    ASSERT_EQ(wasm_call_output_batches(call, &runs, &count, nullptr), WASM_STATUS_OK);
    add(block, {runs, count});
  }
  void add(output_block block, std::span<const wasm_output_batch> runs) {
    ++blocks;
    std::size_t at = 0;
    for (const auto& run : runs) {
      EXPECT_GT(run.record_count, 0U);
      ASSERT_LE(at + run.record_count, block.size());
      EXPECT_TRUE(all.empty() || run.batch >= last) << "in the order of the batches";
      last = run.batch;
      all[run.batch](block.subspan(at, run.record_count));
      at += run.record_count;
    }
    EXPECT_EQ(at, block.size()) << "each record belongs to a batch";
  }
  [[nodiscard]] std::vector<std::string> values(std::uint32_t batch) const {
    const auto found = all.find(batch);
    return found == all.end() ? std::vector<std::string>() : found->second.values();
  }

  std::map<std::uint32_t, recorder> all;
  std::uint32_t last = 0;
  int blocks = 0;
};

/// A sink that keeps everything by batch.
struct sorting_sink : c_sink {
  sorting_sink()
      : c_sink([this](output_block block, wasm_call* call) -> wasm_callback_result {
          kept(block, call);
          return WASM_CALLBACK_RESULT_DONE;
        }) {}
  by_batch kept;
};

/// Begins a transform of several batches. The array of slices is gone when this returns.
inline wasm_status begin_many(wasm_engine* engine, const batches& all, c_sink& sink, wasm_future** future,
                              std::uint32_t first_record = 0, wasm_error** error = nullptr) {
  std::vector<wasm_slice> slices;
  for (const auto& batch : all) {
    slices.push_back(wasmengine::as_slice(kafka::view(batch)));
  }
  const auto raw = sink.raw();
  const wasm_transform_many_args args{sizeof(args), slices.data(), slices.size(), &raw, first_record};
  const auto status = wasm_engine_transform_many(engine, &args, future, error);
  std::fill(slices.begin(), slices.end(), wasm_slice{nullptr, 0});
  return status;
}

inline wasmengine::future many(const wasmengine::engine& engine, const batches& all, c_sink& sink,
                               std::uint32_t first_record = 0) {
  wasmengine::future operation;
  EXPECT_EQ(begin_many(engine.get(), all, sink, operation.out(), first_record), WASM_STATUS_OK);
  return operation;
}

/// Index of the batch that an error names.
inline std::uint64_t batch_of(const wasm_error* error) {
  wasm_error_info info{};
  info.size = sizeof(info);
  EXPECT_EQ(wasm_error_get_info(error, &info), WASM_STATUS_OK);
  return info.batch_index;
}

}  // namespace testing_support
