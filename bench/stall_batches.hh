// SPDX-License-Identifier: Apache-2.0
//
// Batches that take long to decompress or to check.
#pragma once

#include "measure.hh"

#include <functional>
#include <utility>

namespace bench {

inline bytes packed(wasm_compression codec, int records, std::size_t size, bool plain) {
  auto builder = we::batch_builder::create({0, codec, std::nullopt}).value();
  std::string value(size, 'x');
  std::uint32_t state = 1;
  for (int i = 0; i < records; ++i) {
    // What is like text: every other byte is one of sixteen.
    for (std::size_t at = 0; !plain && at < value.size(); at += 2) {
      state = state * 1'664'525 + 1'013'904'223;
      value[at] = "etaoinshrdlucmfw"[state >> 28];
    }
    builder.add(i, we::payload{std::nullopt, value, {}}).value();
  }
  const auto batch = builder.finish().value();
  return {batch.begin(), batch.end()};
}

/// 100 MiB in each codec, a batch that grows most and a million records.
inline std::vector<std::pair<const char*, std::function<bytes()>>> batches() {
  const auto text = [](wasm_compression codec) { return [codec] { return packed(codec, 1600, 65'536, false); }; };
  return {{"gzip", text(WASM_COMPRESSION_GZIP)},
          {"snappy", text(WASM_COMPRESSION_SNAPPY)},
          {"lz4", text(WASM_COMPRESSION_LZ4)},
          {"zstd", text(WASM_COMPRESSION_ZSTD)},
          {"zstd, 4 KB to 127 MiB", [] { return packed(WASM_COMPRESSION_ZSTD, 130, 1'000'000, true); }},
          {"check", [] { return make_batch({1'000'000, 1}); }}};
}

}  // namespace bench
