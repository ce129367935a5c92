// SPDX-License-Identifier: Apache-2.0
//
// What a batch costs by its codec: bench-codecs GUEST.wasm [BATCH...] with the identity guest and batches from files.
// Microseconds of processor time for a whole transform, the best of seven rounds. "lz4-4MiB" is the frame of "lz4"
// whose header announces blocks of 4 MiB instead of 64 KiB, as several clients write it.
#include "measure.hh"

#include <ctime>

#include <cstring>

using namespace bench;

namespace {

double cpu_us() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_nsec) * 1e-3;
}

// Values like those that people send: names that repeat and numbers that do not.
std::string value(int i) {
  return "{\"order\":" + std::to_string(i * 7919) + ",\"customer\":\"c-" + std::to_string(i * 104'729 % 9'973) +
         "\",\"amount\":" + std::to_string(i % 97) + ".50,\"city\":\"Berlin\"}";
}

bytes batch_of(int records, wasm_compression codec) {
  auto builder = we::batch_builder::create({100, codec}).value();
  for (int i = 0; i < records; ++i) {
    builder.add(i, we::payload{std::nullopt, value(i), {}}).value();
  }
  const auto batch = builder.finish().value();
  return {batch.begin(), batch.end()};
}

std::uint32_t rotated(std::uint32_t x, int bits) { return x << bits | x >> (32 - bits); }

// XXH32 of less than four bytes.
std::uint32_t xxh32(const std::uint8_t* data, std::size_t size) {
  std::uint32_t h = 374'761'393U + static_cast<std::uint32_t>(size);
  for (std::size_t i = 0; i < size; ++i) {
    h = rotated(h + data[i] * 374'761'393U, 11) * 2'654'435'761U;
  }
  h = (h ^ h >> 15) * 2'246'822'519U;
  h = (h ^ h >> 13) * 3'266'489'917U;
  return h ^ h >> 16;
}

std::uint32_t crc32c(const std::uint8_t* data, std::size_t size) {
  std::uint32_t crc = ~0U;
  for (std::size_t i = 0; i < size; ++i) {
    crc ^= data[i];
    for (int bit = 0; bit < 8; ++bit) {
      crc = crc >> 1 ^ (0x82F63B78U & (0U - (crc & 1)));
    }
  }
  return ~crc;
}

// The frame announces blocks of 4 MiB.
bytes announcing(bytes batch) {
  constexpr std::size_t frame = 61;
  batch[frame + 5] = 0x70;
  batch[frame + 6] = static_cast<std::uint8_t>(xxh32(&batch[frame + 4], 2) >> 8);
  const auto crc = crc32c(&batch[21], batch.size() - 21);
  for (int i = 0; i < 4; ++i) {
    batch[17 + static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(crc >> (24 - 8 * i));
  }
  return batch;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: bench-codecs GUEST.wasm [BATCH...]\n");
    return 2;
  }
  wasm_runtime_config config{};
  config.max_batch_size = 1 << 30;
  config.memory_limit = 1 << 30;
  config.output_buffer_limit = 1 << 30;
  const auto runtime = we::runtime::create(config).value();
  we::prepare_thread(runtime).value();
  auto engine = started(runtime, argv[1]);
  const auto measure = [&](const char* name, const bytes& batch) {
    std::size_t records = 0;
    auto sink = [&](we::output_block block) { records += block.size(); };
    double best = 1e18;
    for (int round = 0; round < rounds; ++round) {
      int batches = 0;
      records = 0;
      const double begun = cpu_us();
      double took = 0;
      do {
        auto operation = engine.transform(batch, sink).value();
        we::drive(operation).value();
        ++batches;
        took = cpu_us() - begun;
      } while (took < seconds_per_round * 1e6 / 2);
      best = std::min(best, took / batches);
      records /= static_cast<std::size_t>(batches);
    }
    std::printf("%-10s %9zu bytes %8zu records %10.2f us\n", name, batch.size(), records, best);
  };
  for (int i = 2; i < argc; ++i) {
    measure(std::string(file_name(argv[i])).c_str(), read_file(argv[i]));
  }
  if (argc > 2) {
    return 0;
  }
  for (const int records : {1, 100, 10'000}) {
    measure("plain", batch_of(records, WASM_COMPRESSION_NONE));
    measure("gzip", batch_of(records, WASM_COMPRESSION_GZIP));
    measure("snappy", batch_of(records, WASM_COMPRESSION_SNAPPY));
    const auto lz4 = batch_of(records, WASM_COMPRESSION_LZ4);
    measure("lz4", lz4);
    measure("lz4-4MiB", announcing(lz4));
    measure("zstd", batch_of(records, WASM_COMPRESSION_ZSTD));
  }
}
