// SPDX-License-Identifier: Apache-2.0
//
// A plain JavaScript function on V8, by Node's embedding API: what one would do without Wasm. The function is called
// for each record, which it gets with its value as a Buffer, and writes Buffers.
//
// In its favour: V8 is entered once for each batch, and calls the function from JavaScript; the Buffers show the host's
// own memory, so that nothing is copied in; records are parsed outside of the timed loop; only values go in and out;
// there is no limit of time; and V8's other threads, which compile and collect garbage, are not in the time.
#include "contender.hh"

#include <node.h>
#include <node_buffer.h>

#include <optional>

using namespace bench;

namespace {

/// Output goes here, over and over, as in native.cc.
constexpr std::size_t block_size = 64 * 1024;
constexpr std::size_t results_at_once = 1024;

/// The host's side in JavaScript. `places` has where values lie; a result is the number of its record, its topic and
/// where it lies in `block`. What does not fit goes to `flush` before.
constexpr const char* host_script = R"(
const transform = require('module').createRequire('/')(process.argv[1])[process.argv[2]];
return (input, places, block, results, flush) => {
  let record = 0, used = 0, count = 0;
  const write = (value, topic) => {
    const size = value.length;
    if (used + size > block.length || 4 * count === results.length) {
      flush(count);
      used = count = 0;
    }
    block.set(value, used);
    results[4 * count] = record;
    results[4 * count + 1] = topic === 'eu' ? 1 : 0;
    results[4 * count + 2] = used;
    results[4 * count + 3] = size;
    used += size;
    ++count;
  };
  return () => {
    used = count = 0;
    const records = places.length / 2;
    for (record = 0; record < records; ++record) {
      const at = places[2 * record];
      transform({ key: null, value: input.subarray(at, at + places[2 * record + 1]) }, write);
    }
    return count;
  };
};
)";

v8::Local<v8::ArrayBuffer> buffer_over(v8::Isolate* isolate, const void* data, std::size_t size) {
  return v8::ArrayBuffer::New(isolate, v8::ArrayBuffer::NewBackingStore(
      const_cast<void*>(data), size, [](void*, std::size_t, void*) {}, nullptr));
}

class worker {
 public:
  worker(node::MultiIsolatePlatform* platform, const std::string& script, const std::string& work, view input)
      : _header(read_header(input)), _records(read_records(_header)) {
    std::vector<std::string> errors;
    _setup = node::CommonEnvironmentSetup::Create(platform, &errors,
                                                  std::vector<std::string>{"bench", script, work},
                                                  std::vector<std::string>{}, node::EnvironmentFlags::kNoCreateInspector);
    if (_setup == nullptr) {
      fail("node: " + (errors.empty() ? std::string("no environment") : errors.front()));
    }
    _isolate = _setup->isolate();
    std::size_t largest = 0;
    for (const auto& r : _records) {
      _places.push_back(static_cast<std::uint32_t>(r.value.data() - input.data()));
      _places.push_back(static_cast<std::uint32_t>(r.value.size()));
      largest = std::max(largest, r.value.size());
    }
    _block.resize(std::max(block_size, largest + 3));
    _results.resize(4 * results_at_once);
    _entered.emplace(*_setup);
    prepare(input);
  }
  worker(const worker&) = delete;
  worker& operator=(const worker&) = delete;
  ~worker() {
    _function.Reset();
    node::Stop(_setup->env());
    _entered.reset();
  }

  void batch(tally& out) {
    transform({&out, [](void* data, const record& r, std::uint32_t, view value) {
                 auto& counted = *static_cast<tally*>(data);
                 counted.look(value.data(), value.size());
                 ++counted.records;
                 counted.bytes += r.payload_size(value.size());
               }});
  }
  void collect(canonical& out) {
    transform({&out, [](void* data, const record& r, std::uint32_t topic, view value) {
                 static_cast<canonical*>(data)->add(topic, r, value);
               }});
  }

 private:
  struct sink {
    void* data;
    void (*record)(void* data, const record& r, std::uint32_t topic, view value);
  };

  /// A thread that has entered V8; it stays there.
  struct entered {
    explicit entered(const node::CommonEnvironmentSetup& setup)
        : lock(setup.isolate()), isolate(setup.isolate()), handles(setup.isolate()), context(setup.context()) {}
    v8::Locker lock;
    v8::Isolate::Scope isolate;
    v8::HandleScope handles;
    v8::Context::Scope context;
  };

  [[noreturn]] void fail_with(const v8::TryCatch& caught) {
    const v8::String::Utf8Value text(_isolate, caught.Exception());
    fail(std::string("javascript: ") + (*text != nullptr ? *text : "an exception"));
  }

  void prepare(view input) {
    const auto context = _setup->context();
    const v8::TryCatch caught(_isolate);
    v8::Local<v8::Value> made;
    if (!node::LoadEnvironment(_setup->env(), host_script).ToLocal(&made)) {
      fail_with(caught);
    }
    const auto block = buffer_over(_isolate, _block.data(), _block.size());
    const auto places = buffer_over(_isolate, _places.data(), 4 * _places.size());
    const auto results = buffer_over(_isolate, _results.data(), 4 * _results.size());
    v8::Local<v8::Value> args[] = {
        node::Buffer::New(_isolate, buffer_over(_isolate, input.data(), input.size()), 0, input.size()).ToLocalChecked(),
        v8::Uint32Array::New(places, 0, _places.size()),
        node::Buffer::New(_isolate, block, 0, _block.size()).ToLocalChecked(),
        v8::Uint32Array::New(results, 0, _results.size()),
        v8::Function::New(context, flush, v8::External::New(_isolate, this)).ToLocalChecked(),
    };
    v8::Local<v8::Value> function;
    if (!made.As<v8::Function>()->Call(context, v8::Undefined(_isolate), 5, args).ToLocal(&function)) {
      fail_with(caught);
    }
    _function.Reset(_isolate, function.As<v8::Function>());
  }

  static void flush(const v8::FunctionCallbackInfo<v8::Value>& info) {
    static_cast<worker*>(info.Data().As<v8::External>()->Value())->hand_over(info[0].As<v8::Uint32>()->Value());
  }

  void hand_over(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint32_t* const r = _results.data() + 4 * i;
      _sink.record(_sink.data, _records[r[0]], r[1], view(_block.data() + r[2], r[3]));
    }
  }

  void transform(sink out) {
    _sink = out;
    const v8::HandleScope handles(_isolate);
    const v8::TryCatch caught(_isolate);
    const auto context = _setup->context();
    v8::Local<v8::Value> count;
    if (!_function.Get(_isolate)->Call(context, v8::Undefined(_isolate), 0, nullptr).ToLocal(&count)) {
      fail_with(caught);
    }
    hand_over(count.As<v8::Uint32>()->Value());
  }

  bench::batch _header;
  std::vector<record> _records;
  std::vector<std::uint32_t> _places;
  std::vector<std::uint32_t> _results;
  bytes _block;
  sink _sink{};
  std::unique_ptr<node::CommonEnvironmentSetup> _setup;
  std::optional<entered> _entered;
  v8::Isolate* _isolate = nullptr;
  v8::Global<v8::Function> _function;
};

}  // namespace

int main(int argc, char** argv) {
  const options o = parse_options(argc, argv);
  const bytes input = read_file(o.input);
  const auto node = node::InitializeOncePerProcess(
      {argv[0]}, {node::ProcessFlags::kNoInitializeV8, node::ProcessFlags::kNoInitializeNodeV8Platform});
  if (!node->errors().empty()) {
    fail("node: " + node->errors().front());
  }
  const auto platform = node::MultiIsolatePlatform::Create(4);
  v8::V8::InitializePlatform(platform.get());
  v8::V8::Initialize();
  const int result = run("javascript", v8::V8::GetVersion(), o, static_cast<std::size_t>(read_header(input).record_count),
                         [&] { return std::make_unique<worker>(platform.get(), o.guest, o.work, input); });
  v8::V8::Dispose();
  v8::V8::DisposePlatform();
  node::TearDownOncePerProcess();
  return result;
}
