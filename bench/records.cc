// SPDX-License-Identifier: Apache-2.0
//
// Records that are in no batch, beside the same records in a batch: nanoseconds of processor time per record, all ways
// by turns, round by round. The median of the rounds counts. "batch" and "records" are without CRC. "pack + batch"
// packs with the library's builder and transforms the batch. "parsed" has a sink that gets records taken apart.
//
//   bench-records [--size BYTES] [--records COUNT] GUEST.wasm
//   bench-records --only WAY ...    only this way, its instructions counted if this runs under callgrind
#include "measure.hh"

#include <valgrind/callgrind.h>

#include <array>
#include <cstring>
#include <ctime>

using namespace bench;

namespace {

constexpr int turns = 31;
constexpr std::array<const char*, 6> ways{"batch", "batch, CRC", "pack + batch", "records", "parsed", "headers"};

struct counted {
  std::uint64_t records = 0;
  std::uint64_t bytes = 0;
};

wasm_callback_result count_records(void* data, const wasm_output_record* records, std::size_t count, wasm_call*) {
  auto& out = *static_cast<counted*>(data);
  out.records += count;
  for (std::size_t i = 0; i < count; ++i) {
    out.bytes += records[i].payload_size;
  }
  return WASM_CALLBACK_RESULT_DONE;
}

wasm_callback_result count_parsed(void* data, const wasm_parsed_record* records, std::size_t count, wasm_call*) {
  auto& out = *static_cast<counted*>(data);
  out.records += count;
  for (std::size_t i = 0; i < count; ++i) {
    out.bytes += static_cast<std::uint64_t>(records[i].payload.value.size);
  }
  return WASM_CALLBACK_RESULT_DONE;
}

double thread_time() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

[[noreturn]] void fail(const char* why) {
  std::fprintf(stderr, "bench-records: %s\n", why);
  std::exit(1);
}

void finish(wasm_status status, wasm_poll state, wasm_future* future) {
  while (status == WASM_STATUS_OK && state != WASM_POLL_READY) {
    status = wasm_future_poll(future, nullptr, &state, nullptr);
  }
  if (status != WASM_STATUS_OK) {
    fail(wasm_status_name(status));
  }
  if (future != nullptr) {
    (void)wasm_future_release(future, nullptr);
  }
}

void transform(wasm_engine* engine, std::span<const std::uint8_t> batch, const wasm_output_sink& sink) {
  wasm_poll state{};
  wasm_future* future = nullptr;
  const wasm_transform_args args{sizeof(args), {batch.data(), batch.size()}, &sink, 0};
  const auto status = wasm_engine_transform_and_poll(engine, &args, nullptr, &state, &future, nullptr);
  finish(status, state, future);
}

void transform(wasm_engine* engine, std::span<const wasm_record> records, const wasm_output_sink& sink) {
  wasm_poll state{};
  wasm_future* future = nullptr;
  const wasm_transform_records_args args{sizeof(args), records.data(), records.size(), &sink, 0};
  const auto status = wasm_engine_transform_records_and_poll(engine, &args, nullptr, &state, &future, nullptr);
  finish(status, state, future);
}

}  // namespace

int main(int argc, char** argv) {
  std::size_t size = 64;
  int count = 1000;
  const char* only = nullptr;
  while (argc > 2 && argv[1][0] == '-') {
    if (std::strcmp(argv[1], "--size") == 0) {
      size = std::strtoull(argv[2], nullptr, 10);
    } else if (std::strcmp(argv[1], "--records") == 0) {
      count = std::atoi(argv[2]);
    } else if (std::strcmp(argv[1], "--only") == 0) {
      only = argv[2];
    } else {
      break;
    }
    argv += 2, argc -= 2;
  }
  if (argc != 2 || argv[1][0] == '-' || count < 1) {
    std::fprintf(stderr, "usage: bench-records [--size BYTES] [--records COUNT] [--only WAY] GUEST.wasm\n");
    return 2;
  }
  wasm_runtime_config config{};
  config.time_slice_ns = 10'000'000'000;
  config.record_time_limit_ns = 3'600'000'000'000;
  const auto with_crc = we::runtime::create(config).value();
  config.skip_crc_check = 1;
  const auto without = we::runtime::create(config).value();
  const auto checked = started(with_crc, argv[1]);
  const auto engine = started(without, argv[1]);

  // As a host has them: each value lies elsewhere.
  const std::vector<std::string> values(static_cast<std::size_t>(count), std::string(size, 'x'));
  we::record_list list;
  we::record_list with_headers;
  const std::vector<we::header> headers{{"content-type", "application/json"}, {"trace", "0123456789abcdef"}};
  for (int i = 0; i < count; ++i) {
    const auto& value = values[static_cast<std::size_t>(i)];
    list.add(std::nullopt, value, i, i);
    with_headers.add(we::payload{std::nullopt, value, headers}, i, i);
  }
  const auto records = list.all();
  const auto records_with_headers = with_headers.all();
  const bytes batch = make_batch({count, size});
  wasm_batch_builder* builder = nullptr;
  if (wasm_batch_builder_create(nullptr, &builder, nullptr) != WASM_STATUS_OK) {
    fail("there is no builder");
  }

  counted out;
  const wasm_output_sink sink{sizeof(sink), &out, nullptr, count_records, nullptr};
  const wasm_output_sink parsed{sizeof(sink), &out, nullptr, nullptr, count_parsed};
  const auto call = [&](std::size_t way) {
    switch (way) {
      case 0:
        return transform(engine.get(), batch, sink);
      case 1:
        return transform(checked.get(), batch, sink);
      case 2: {
        (void)wasm_batch_builder_reset(builder, nullptr, nullptr);
        for (const auto& r : records) {
          if (wasm_batch_builder_add(builder, r.offset, r.timestamp, &r.payload, nullptr) != WASM_STATUS_OK) {
            fail("a record was not packed");
          }
        }
        wasm_slice packed{};
        (void)wasm_batch_builder_finish(builder, &packed, nullptr);
        return transform(engine.get(), std::span(packed.data, packed.size), sink);
      }
      case 3:
        return transform(engine.get(), records, sink);
      case 4:
        return transform(engine.get(), records, parsed);
      default:
        return transform(engine.get(), records_with_headers, sink);
    }
  };
  const auto calls = std::max<std::size_t>(1, 200'000 / static_cast<std::size_t>(count));
  const auto time_of = [&](std::size_t way, std::size_t times) {
    out = {};
    const double begin = thread_time();
    for (std::size_t i = 0; i < times; ++i) {
      call(way);
    }
    const double time = thread_time() - begin;
    if (out.records != times * static_cast<std::size_t>(count)) {
      fail("not every record came out");
    }
    return time / static_cast<double>(out.records);
  };
  if (only != nullptr) {
    const auto found = std::find_if(ways.begin(), ways.end(), [&](const char* w) { return std::strcmp(w, only) == 0; });
    if (found == ways.end()) {
      fail("there is no such way");
    }
    const auto way = static_cast<std::size_t>(found - ways.begin());
    (void)time_of(way, 16);
    CALLGRIND_START_INSTRUMENTATION;
    (void)time_of(way, 20);
    CALLGRIND_STOP_INSTRUMENTATION;
    return 0;
  }
  std::array<std::vector<double>, ways.size()> times;
  for (int turn = 0; turn < turns; ++turn) {
    for (std::size_t way = 0; way < ways.size(); ++way) {
      times[way].push_back(time_of(way, calls));
    }
  }
  const double base = median(times[0]);
  std::printf("%d records of %zu bytes: ns/record and x batch\n", count, size);
  for (std::size_t way = 0; way < ways.size(); ++way) {
    std::printf("  %-14s %8.1f %6.2f\n", ways[way], median(times[way]), median(times[way]) / base);
  }
}
