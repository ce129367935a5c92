// SPDX-License-Identifier: Apache-2.0
#include "core.hh"

#include "protocol.hh"
#include "session.hh"

#include <algorithm>
#include <stdexcept>
#include <thread>
#include <utility>

namespace wasmengine::remote {

namespace {

runtime make_runtime(const server_config& c) {
  wasm_runtime_config config{};
  config.memory_limit = c.memory_limit;
  config.record_time_limit_ns = c.record_time_limit_ns;
  config.output_buffer_limit = c.output_buffer_limit;
  config.max_batch_size = 8 * c.max_batch;  // decompressed
  config.compile_helper = as_slice(c.compile_helper);
  auto made = runtime::create(config, [log = c.log](const log_line& line) {
    if (line.user_data != nullptr) {
      static_cast<session*>(line.user_data)->log(line);
    } else if (log) {
      log(std::string(line.transform) + ": " + printable(line.text));
    }
  }).value();
  if (!c.cache_directory.empty()) {
    made.set_code_cache({c.cache_directory}).value();
  }
  return made;
}

std::size_t loops(const server_config& c) {
  return c.threads != 0 ? c.threads : std::max(1U, std::thread::hardware_concurrency());
}

}  // namespace

shard::shard(const runtime& r, std::uint32_t number)
    : events([r = &r, number] { (void)prepare_thread(*r, 0, number); },
             [this] {
               bool again = false;
               // A session may end at its tick.
               for (const auto& s : std::vector(sessions.begin(), sessions.end())) {
                 again = s->tick() || again;
               }
               return again;
             }) {}

core::core(server_config c)
    : config(std::move(c)),
      local(make_runtime(config)),
      cache(factory_cache::create(local, {.idle = {}, .collect_interval = std::chrono::seconds(30)}).value()),
      store(config.upload_bytes) {
  if (!config.module_directory.empty()) {
    const auto count = store.read_folder(config.module_directory);
    log("modules in " + config.module_directory + ": " + std::to_string(count));
  }
  for (std::size_t i = 0; i < loops(config); ++i) {
    _shards.emplace_back(local, static_cast<std::uint32_t>(i));
  }
}

core::~core() = default;

shard& core::choose() {
  auto& least = *std::min_element(_shards.begin(), _shards.end(), [](const auto& a, const auto& b) { return a.load < b.load; });
  ++least.load;
  return least;
}

std::optional<grpc::Status> core::refusal(const grpc::CallbackServerContext& context) const {
  if (config.token.empty()) {
    return std::nullopt;
  }
  const auto& metadata = context.client_metadata();
  const auto found = metadata.find("authorization");
  if (found != metadata.end() &&
      same_secret("Bearer " + config.token, std::string_view(found->second.data(), found->second.size()))) {
    return std::nullopt;
  }
  ++counted.refused;
  return grpc::Status(grpc::StatusCode::UNAUTHENTICATED, found == metadata.end() ? "no token" : "wrong token");
}

bool core::has_room_for_module() const {
  const auto full = [&] {
    const auto stats = cache.stats().value();
    return stats.entries + stats.compiling >= config.max_modules;
  };
  if (full()) {
    (void)cache.collect();
  }
  return !full();
}

std::string core::metrics() const {
  auto text = metrics_text(local).value();
  const auto add = [&](const char* name, const char* type, const char* help, std::uint64_t value) {
    text += std::string("# HELP ") + name + " " + help + "\n# TYPE " + name + " " + type + "\n" + name + " " +
            std::to_string(value) + "\n";
  };
  add("wasm_remote_streams", "gauge", "Engines of hosts that are open.", streams);
  add("wasm_remote_streams_total", "counter", "Engines that hosts opened.", counted.streams);
  add("wasm_remote_refused_total", "counter", "Streams that were refused: token, limits, modules.", counted.refused);
  add("wasm_remote_uploads_total", "counter", "Modules that hosts uploaded.", counted.uploads);
  add("wasm_remote_uploaded_bytes", "gauge", "Bytes of uploaded modules that are kept.", store.uploaded_bytes());
  add("wasm_remote_batches_total", "counter", "Batches that hosts sent.", counted.batches);
  return text;
}

void core::drain() {
  draining = true;
  for (auto& s : _shards) {
    s.events.call([&s] {
      for (const auto& one : std::vector(s.sessions.begin(), s.sessions.end())) {
        one->drain();
      }
    });
  }
}

void core::log(std::string_view line) const noexcept {
  if (!config.log) {
    return;
  }
  try {
    config.log(line);
  } catch (...) {
    // A log that fails ends nothing.
  }
}

}  // namespace wasmengine::remote
