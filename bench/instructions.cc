// SPDX-License-Identifier: Apache-2.0
//
// The hot path for callgrind: bench-instructions GUEST.wasm RECORDS SIZE BATCHES [PER_CALL] transforms a batch
// repeatedly. With PER_CALL each call of wasm_engine_transform_many has so many.
// Callgrind counts only that loop. scripts/instructions.py runs it and compares with bench/instructions.json. It uses
// the C ABI so that the C++ layer is not included.
//
// Anything that depends on time would make counts differ. So the time slice is ten seconds and nothing yields.
#include "measure.hh"

#include <valgrind/callgrind.h>

using namespace bench;

namespace {

struct counted {
  std::size_t records = 0;
  std::size_t bytes = 0;
};

wasm_callback_result count_records(void* data, const wasm_output_record* records, std::size_t count, wasm_call*) {
  auto& out = *static_cast<counted*>(data);
  out.records += count;
  for (std::size_t i = 0; i < count; ++i) {
    out.bytes += records[i].payload_size;
  }
  return WASM_CALLBACK_RESULT_DONE;
}

bool transform(wasm_engine* engine, wasm_slice batch, counted& out) {
  wasm_output_sink sink{};
  sink.size = sizeof(sink);
  sink.data = &out;
  sink.records = count_records;
  wasm_future* future = nullptr;
  wasm_poll state = WASM_POLL_PENDING;
  const wasm_transform_args args{sizeof(args), batch, &sink, 0};
  return wasm_engine_transform(engine, &args, &future, nullptr) == WASM_STATUS_OK &&
         wasm_future_poll(future, nullptr, &state, nullptr) == WASM_STATUS_OK && state == WASM_POLL_READY &&
         wasm_future_release(future, nullptr) == WASM_STATUS_OK;
}

bool transform_many(wasm_engine* engine, const std::vector<wasm_slice>& batches, counted& out) {
  wasm_output_sink sink{};
  sink.size = sizeof(sink);
  sink.data = &out;
  sink.records = count_records;
  wasm_future* future = nullptr;
  wasm_poll state = WASM_POLL_PENDING;
  const wasm_transform_many_args args{sizeof(args), batches.data(), batches.size(), &sink, 0};
  return wasm_engine_transform_many(engine, &args, &future, nullptr) == WASM_STATUS_OK &&
         wasm_future_poll(future, nullptr, &state, nullptr) == WASM_STATUS_OK && state == WASM_POLL_READY &&
         wasm_future_release(future, nullptr) == WASM_STATUS_OK;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5 && argc != 6) {
    std::fprintf(stderr, "usage: bench-instructions GUEST.wasm RECORDS SIZE BATCHES [PER_CALL]\n");
    return 2;
  }
  const int records = std::atoi(argv[2]);
  const bytes batch = make_batch({records, std::strtoull(argv[3], nullptr, 10)});
  const auto batches = std::strtoull(argv[4], nullptr, 10);
  wasm_runtime_config config{};
  config.time_slice_ns = 10'000'000'000;
  config.record_time_limit_ns = 3'600'000'000'000;
  const auto runtime = we::runtime::create(config).value();
  auto engine = started(runtime, argv[1]);
  const wasm_slice slice{batch.data(), batch.size()};
  const std::size_t per_call = argc == 6 ? std::strtoull(argv[5], nullptr, 10) : 1;
  const std::vector<wasm_slice> slices(per_call, slice);
  const auto call = [&](counted& out) {
    return argc == 6 ? transform_many(engine.get(), slices, out) : transform(engine.get(), slice, out);
  };
  counted out;
  bool fine = true;
  for (int i = 0; i < 16; ++i) {
    fine = fine && call(out);  // Buffers grow and symbols are bound.
  }
  out = {};
  CALLGRIND_START_INSTRUMENTATION;
  for (std::uint64_t i = 0; i < batches; i += per_call) {
    fine = fine && call(out);
  }
  CALLGRIND_STOP_INSTRUMENTATION;
  if (!fine || out.records != batches * static_cast<std::size_t>(records)) {
    std::fprintf(stderr, "bench-instructions: a batch did not come through at the first poll\n");
    return 1;
  }
}
