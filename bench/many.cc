// SPDX-License-Identifier: Apache-2.0
//
// Batches of one record in calls of 1, 2, 4, 8 and 32: nanoseconds of processor time per batch. The sink asks for the
// batches of each block. "alone" is wasm_engine_transform_and_poll. All by turns, round by round. The median of the
// rounds counts and what came out is compared with what went in.
//
//   bench-many [--json] [--size BYTES] GUEST.wasm [GUEST.wasm ...]
#include "measure.hh"

#include <array>
#include <cstring>
#include <ctime>

using namespace bench;

namespace {

constexpr std::array<std::size_t, 5> counts{1, 2, 4, 8, 32};
constexpr int turns = 31;
constexpr std::size_t batches_per_turn = 16'000;

/// What the sink has counted.
struct counted {
  std::uint64_t records = 0;
  std::uint64_t bytes = 0;
  std::uint64_t batches = 0;
  std::uint64_t blocks = 0;
};

wasm_callback_result count_records(void* data, const wasm_output_record* records, std::size_t count, wasm_call* call) {
  auto& out = *static_cast<counted*>(data);
  const wasm_output_batch* runs = nullptr;
  std::size_t run_count = 0;
  if (wasm_call_output_batches(call, &runs, &run_count, nullptr) != WASM_STATUS_OK) {
    return WASM_CALLBACK_RESULT_FAILED;
  }
  out.blocks += 1;
  for (std::size_t r = 0, i = 0; r < run_count; ++r) {
    out.batches += 1;
    for (const std::size_t end = i + runs[r].record_count; i < end; ++i) {
      out.records += 1;
      out.bytes += records[i].payload_size;
    }
  }
  return out.records == 0 || count == 0 ? WASM_CALLBACK_RESULT_FAILED : WASM_CALLBACK_RESULT_DONE;
}

double thread_time() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

void finish(wasm_status status, wasm_poll state, wasm_future* future) {
  while (status == WASM_STATUS_OK && state != WASM_POLL_READY) {
    status = wasm_future_poll(future, nullptr, &state, nullptr);
  }
  if (status != WASM_STATUS_OK) {
    std::fprintf(stderr, "bench-many: %s\n", wasm_status_name(status));
    std::exit(1);
  }
  if (future != nullptr) {
    (void)wasm_future_release(future, nullptr);
  }
}

/// Transforms the batches in calls of `count`. 0: without wasm_engine_transform_many.
double time_of_calls(wasm_engine* engine, const std::vector<wasm_slice>& batches, std::size_t count) {
  counted out;
  wasm_output_sink sink{};
  sink.size = sizeof(sink);
  sink.data = &out;
  sink.records = count_records;
  const double begin = thread_time();
  std::size_t done = 0;
  while (done < batches_per_turn) {
    wasm_poll state{};
    wasm_future* future = nullptr;
    const std::size_t at = done % batches.size();
    if (count == 0) {
      const wasm_transform_args args{sizeof(args), batches[at], &sink, 0};
      const auto status = wasm_engine_transform_and_poll(engine, &args, nullptr, &state, &future, nullptr);
      finish(status, state, future);
    } else {
      const wasm_transform_many_args args{sizeof(args), &batches[at], count, &sink, 0};
      const auto status = wasm_engine_transform_many_and_poll(engine, &args, nullptr, &state, &future, nullptr);
      finish(status, state, future);
    }
    done += count == 0 ? 1 : count;
  }
  const double time = thread_time() - begin;
  if (out.records != done || out.batches != done) {
    std::fprintf(stderr, "bench-many: %llu records came out of %zu batches\n",
                 static_cast<unsigned long long>(out.records), done);
    std::exit(1);
  }
  return time / static_cast<double>(done);
}

}  // namespace

int main(int argc, char** argv) {
  bool json = false;
  std::size_t size = 64;
  while (argc > 1 && argv[1][0] == '-') {
    if (std::strcmp(argv[1], "--json") == 0) {
      json = true;
    } else if (std::strcmp(argv[1], "--size") == 0 && argc > 2) {
      size = std::strtoull(argv[2], nullptr, 10);
      ++argv, --argc;
    } else {
      break;
    }
    ++argv, --argc;
  }
  if (argc < 2 || argv[1][0] == '-') {
    std::fprintf(stderr, "usage: bench-many [--json] [--size BYTES] GUEST.wasm [GUEST.wasm ...]\n");
    return 2;
  }
  // As in a host, each batch lies elsewhere.
  std::vector<bytes> memory(counts.back(), make_batch({1, size}));
  std::vector<wasm_slice> batches;
  for (const auto& batch : memory) {
    batches.push_back({batch.data(), batch.size()});
  }
  const auto runtime = we::runtime::create().value();
  if (!json) {
    std::printf("%-24s %10s %10s %10s\n", "guest", "batches", "ns/batch", "x alone");
  }
  for (int i = 1; i < argc; ++i) {
    const auto engine = started(runtime, argv[i]);
    std::array<std::vector<double>, counts.size() + 1> times;
    for (int turn = 0; turn < turns; ++turn) {
      times[0].push_back(time_of_calls(engine.get(), batches, 0));
      for (std::size_t c = 0; c < counts.size(); ++c) {
        times[c + 1].push_back(time_of_calls(engine.get(), batches, counts[c]));
      }
    }
    const double alone = median(times[0]);
    for (std::size_t c = 0; c < times.size(); ++c) {
      const std::string name(file_name(argv[i]));
      const std::size_t count = c == 0 ? 0 : counts[c - 1];
      const double ns = median(times[c]);
      if (json) {
        std::printf("{\"guest\": \"%s\", \"batches\": %zu, \"ns\": %.1f}\n", name.c_str(), count, ns);
      } else {
        const std::string label = count == 0 ? "alone" : std::to_string(count);
        std::printf("%-24s %10s %10.1f %10.2f\n", name.c_str(), label.c_str(), ns, ns / alone);
      }
    }
  }
}
