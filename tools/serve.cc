// SPDX-License-Identifier: Apache-2.0
#include "serve.hh"

#include "exit_code.hh"
#include "file.hh"

#ifdef WASM_TRANSFORM_REMOTE

#include "metrics_server.hh"
#include "server/server.hh"

#include <fmt/format.h>

#include <array>
#include <csignal>
#include <ctime>
#include <filesystem>
#include <mutex>

namespace tool {

namespace {

/// Signals that end the server. To be blocked before there are other threads.
sigset_t ending_signals() {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGTERM);
  ::sigaddset(&set, SIGINT);
  return set;
}

void log(std::string_view line) {
  std::array<char, 32> time{};
  const auto now = std::time(nullptr);
  std::tm parts{};
  (void)std::strftime(time.data(), time.size(), "%Y-%m-%dT%H:%M:%SZ", ::gmtime_r(&now, &parts));
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  fmt::print(stderr, "{} {}\n", time.data(), line);
}

wasmengine::remote::server_config configured(const serve_options& o) {
  wasmengine::remote::server_config c;
  c.listen = o.listen;
  if (!o.tls_certificate.empty()) {
    c.tls = wasmengine::remote::server_tls{read_text(o.tls_certificate), read_text(o.tls_key),
                                           o.tls_client_ca.empty() ? std::string() : read_text(o.tls_client_ca)};
  }
  if (!o.token_file.empty()) {
    c.token = read_token(o.token_file);
  }
  c.insecure = o.insecure;
  c.module_directory = o.module_directory;
  c.uploads = o.uploads;
  c.threads = o.threads;
  c.max_streams = o.max_streams;
  c.max_modules = o.max_modules;
  c.max_memory = o.max_memory;
  c.upload_bytes = o.upload_memory;
  c.memory_limit = o.memory_limit;
  c.record_time_limit_ns = o.record_timeout_ns;
  c.max_batch = o.max_batch;
  c.compile_helper = o.compile_helper.empty() ? "" : std::filesystem::absolute(o.compile_helper).string();
  c.cache_directory = o.cache_directory;
  c.log = log;
  return c;
}

}  // namespace

void serve(const serve_options& o) {
  const auto ending = ending_signals();
  ::pthread_sigmask(SIG_BLOCK, &ending, nullptr);
  std::optional<wasmengine::remote::server> server;
  try {
    server.emplace(configured(o));
  } catch (const failure&) {
    throw;
  } catch (const std::exception& e) {
    throw failure(exit_code::usage, e.what());
  }
  std::optional<metrics_server> metrics;
  if (o.metrics_listen) {
    metrics.emplace(*o.metrics_listen, server->local_runtime());
    log(fmt::format("metrics are at {}", metrics->url()));
  }
  for (const auto& address : server->addresses()) {
    log(fmt::format("listening on {}", address));
  }
  int caught = 0;
  ::sigwait(&ending, &caught);
  log(fmt::format("ending, with {} engines", server->streams()));
  server->stop(o.grace);
  log("ended");
}

}  // namespace tool

#else

namespace tool {

void serve(const serve_options&) { throw failure(exit_code::other, "this wasm-transform was built without gRPC"); }

}  // namespace tool

#endif
