// SPDX-License-Identifier: Apache-2.0
//
// This library, through its C ABI, in a host that polls. The batch comes as from the wire and its CRC is checked,
// unless --no-crc says otherwise; the sink looks at each output record.
#include "contender.hh"

#include "wasm_engine.h"

using namespace bench;

namespace {

void check(wasm_status status, wasm_error* error, const char* what) {
  if (status != WASM_STATUS_OK) {
    fail(std::string(what) + ": " + wasm_status_name(status) + ": " +
         (error != nullptr ? wasm_error_message(error) : "no story"));
  }
}

wasm_slice slice(std::string_view text) { return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}; }

/// Polls until the operation is over, and releases it.
void finish(wasm_future* future) {
  wasm_error* error = nullptr;
  wasm_poll state = WASM_POLL_PENDING;
  do {
    check(wasm_future_poll(future, nullptr, &state, &error), error, "poll");
    if (state == WASM_POLL_PENDING) {
      std::this_thread::sleep_for(std::chrono::microseconds(50));  // A compile thread is at work.
    }
  } while (state != WASM_POLL_READY);
}

class worker {
 public:
  worker(wasm_factory* factory, view batch) : _batch{batch.data(), batch.size()} {
    wasm_error* error = nullptr;
    check(wasm_engine_create(factory, nullptr, &_engine, &error), error, "create");
    wasm_future* future = nullptr;
    check(wasm_engine_start(_engine, &future, &error), error, "start");
    finish(future);
    wasm_future_release(future, nullptr);
  }
  worker(const worker&) = delete;
  worker& operator=(const worker&) = delete;
  ~worker() { wasm_engine_release(_engine, nullptr); }

  void batch(tally& out) { transform(&out, on_records); }
  void collect(canonical& out) {
    transform(&out, [](void* data, const wasm_output_record* records, std::size_t count, wasm_call*) {
      for (std::size_t i = 0; i < count; ++i) {
        static_cast<canonical*>(data)->add(records[i].topic, view(records[i].payload, records[i].payload_size));
      }
      return WASM_CALLBACK_RESULT_DONE;
    });
  }

 private:
  static wasm_callback_result on_records(void* data, const wasm_output_record* records, std::size_t count, wasm_call*) {
    auto& out = *static_cast<tally*>(data);
    out.records += count;
    for (std::size_t i = 0; i < count; ++i) {
      out.bytes += records[i].payload_size;
      out.look(records[i].payload, records[i].payload_size);
    }
    return WASM_CALLBACK_RESULT_DONE;
  }

  template <typename Out>
  void transform(Out* out, decltype(wasm_output_sink::records) records) {
    wasm_output_sink sink{};
    sink.size = sizeof(sink);
    sink.data = out;
    sink.records = records;
    wasm_poll state{};
    wasm_future* future = nullptr;
    wasm_error* error = nullptr;
    const wasm_transform_args args{sizeof(args), _batch, &sink, 0};
    check(wasm_engine_transform_and_poll(_engine, &args, nullptr, &state, &future, &error), error, "transform");
    if (future != nullptr) {
      finish(future);
      wasm_future_release(future, nullptr);
    }
  }

  wasm_slice _batch;
  wasm_engine* _engine = nullptr;
};

}  // namespace

int main(int argc, char** argv) {
  const options o = parse_options(argc, argv);
  const bytes input = read_file(o.input);
  const bytes module = read_file(o.guest);
  wasm_runtime_config config{};
  config.size = sizeof(config);
  config.skip_crc_check = o.no_crc ? 1 : 0;
  wasm_error* error = nullptr;
  wasm_runtime* runtime = nullptr;
  check(wasm_runtime_create(&config, &runtime, &error), error, "runtime");

  const wasm_slice topics[] = {slice("first"), slice("eu")};
  wasm_factory_config transform{};
  transform.size = sizeof(transform);
  transform.module = {module.data(), module.size()};
  transform.name = slice("bench");
  transform.input_topic = slice("in");
  transform.output_topics = topics;
  transform.output_topic_count = 2;
  wasm_future* compiling = nullptr;
  check(wasm_factory_create(runtime, &transform, &compiling, &error), error, "compile");
  finish(compiling);
  wasm_factory* factory = nullptr;
  check(wasm_future_take_factory(compiling, &factory, &error), error, "compile");
  wasm_future_release(compiling, nullptr);

  const auto records = static_cast<std::size_t>(read_header(input).record_count);
  const int result = run(o.no_crc ? "engine, no CRC" : "engine", "this tree", o, records,
                         [&] { return std::make_unique<worker>(factory, input); });
  wasm_factory_release(factory);
  wasm_runtime_release(runtime);
  return result;
}
