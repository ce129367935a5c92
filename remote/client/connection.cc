// SPDX-License-Identifier: Apache-2.0
#include "connection.hh"

#include "protocol.hh"
#include "remote_engine.hh"

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <list>
#include <mutex>
#include <thread>
#include <utility>

namespace wasmengine {

namespace {

std::shared_ptr<grpc::Channel> make_channel(const remote_config& c) {
  grpc::ChannelArguments args;
  const auto milliseconds = [](std::chrono::milliseconds time) {
    return static_cast<int>(std::clamp<std::int64_t>(time.count(), 1, std::numeric_limits<int>::max()));
  };
  args.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, milliseconds(c.backoff_min));
  // In spite of its name this is how long one attempt may take.
  const auto attempt = c.connect_timeout.count() == 0 ? c.start_timeout : c.connect_timeout;
  args.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS,
              milliseconds(std::clamp<std::chrono::milliseconds>(attempt, std::chrono::seconds(1), std::chrono::seconds(20))));
  args.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, milliseconds(c.backoff_max));
  args.SetMaxReceiveMessageSize(static_cast<int>(c.max_message));
  args.SetMaxSendMessageSize(-1);
  // A stream that is not read holds no more than its window.
  args.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  args.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, static_cast<int>(std::clamp<std::size_t>(c.window, 65'535, 1U << 30)));
  // A connection of its own instead of one that other channels of the process share.
  args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  if (remote::is_local(c.address)) {
    args.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  }
  if (!c.tls) {
    return grpc::CreateCustomChannel(c.address, grpc::InsecureChannelCredentials(), args);
  }
  if (!c.tls->server_name.empty()) {
    args.SetSslTargetNameOverride(c.tls->server_name);
  }
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = c.tls->ca;
  options.pem_cert_chain = c.tls->certificate;
  options.pem_private_key = c.tls->key;
  return grpc::CreateCustomChannel(c.address, grpc::SslCredentials(options), args);
}

/// Closes connections on threads of its own. The process waits for these when it ends. Connections that are left then
/// stay open. It lives longer than any static object of a host.
class closer {
 public:
  void end() noexcept {
    std::list<std::thread> left;
    {
      const std::lock_guard lock(_mutex);
      left.swap(_running);
      _over = true;
    }
    for (auto& t : left) {
      t.join();
    }
  }
  void close(remote::connection* c) noexcept {
    try {
      const std::lock_guard lock(_mutex);
      if (_over) {
        return;
      }
      for (; !_done.empty(); _done.pop_back()) {
        _done.back()->join();
        _running.erase(_done.back());
      }
      const auto me = _running.emplace(_running.end());
      *me = std::thread([this, c, me] {
        delete c;
        const std::lock_guard done(_mutex);
        if (!_over) {
          _done.push_back(me);
        }
      });
    } catch (...) {
      // No thread is to be had. A connection that is left open is better than a dead process.
    }
  }
  static closer& of_process() {
    static closer* const one = [] {
      auto* const made = new closer();
      (void)std::atexit([] { of_process().end(); });
      return made;
    }();
    return *one;
  }

 private:
  std::mutex _mutex;
  bool _over = false;
  std::list<std::thread> _running;
  std::vector<std::list<std::thread>::iterator> _done;  ///< Those that only have to be joined.
};

error refused(std::string why) { return error(WASM_STATUS_INVALID_ARGUMENT, "remote_connection: " + std::move(why)); }

}  // namespace

std::shared_ptr<remote::connection> remote::connection::create(remote_config config) {
  return {new connection(std::move(config)), [](connection* c) { closer::of_process().close(c); }};
}

remote::connection::connection(remote_config c)
    : config(std::move(c)), stub(wire::Engines::NewStub(make_channel(config))) {}

void remote::connection::prepare(grpc::ClientContext& context) const {
  if (!config.token.empty()) {
    context.AddMetadata("authorization", "Bearer " + config.token);
  }
}

result<remote_connection> remote_connection::create(remote_config c) {
  using std::chrono::milliseconds;
  if (c.address.empty()) {
    return refused("address is empty");
  }
  if (!c.tls && !c.allow_plaintext && !remote::is_local(c.address)) {
    return refused("\"" + c.address + "\" is not on this computer and there is no tls: set it, or allow_plaintext");
  }
  if (c.tls && c.tls->certificate.empty() != c.tls->key.empty()) {
    return refused("tls has a certificate without its key or a key without its certificate");
  }
  if (c.connect_timeout < milliseconds(0) || c.start_timeout < milliseconds(1) || c.progress_timeout < milliseconds(100)) {
    return refused("connect_timeout must be at least 0, start_timeout 1 ms and progress_timeout 100 ms");
  }
  if (c.backoff_min < milliseconds(1) || c.backoff_max < c.backoff_min) {
    return refused("backoff_min must be at least 1 ms and backoff_max no less than that");
  }
  if (c.window == 0 || c.max_message < 2 * remote::message_overhead || c.max_message > (1U << 30)) {
    return refused("window must not be 0 and max_message must be from 128 KiB to 1 GiB");
  }
  if (c.token.find_first_of("\r\n") != c.token.npos) {
    return refused("token has a line break");
  }
  return remote_connection(remote::connection::create(std::move(c)));
}

result<factory> remote_connection::create_factory(const runtime& r, const transform_config& t,
                                                  remote_module module) const {
  if (!_shared) {
    return refused("it is empty");
  }
  if (module.name.empty() && module.bytes.empty()) {
    return refused("the module has neither a name nor bytes");
  }
  auto wanted = std::make_shared<remote::deployment>();
  wanted->transform = t;
  auto& open = *wanted->open.mutable_open();
  open.set_version(remote::newest_version);
  open.set_oldest_version(remote::oldest_version);
  open.set_library(std::string(version()));
  open.set_module_name(module.name);
  if (!module.bytes.empty()) {
    open.set_module_sha256(remote::sha256(module.bytes));
    open.set_module_size(module.bytes.size());
  }
  open.set_name(t.name);
  open.set_input_topic(t.input_topic);
  for (const auto& topic : t.output_topics) {
    open.add_output_topics(topic);
  }
  for (const auto& [name, value] : t.env) {
    auto& variable = *open.add_env();
    variable.set_name(name);
    variable.set_value(value);
  }
  const auto& config = _shared->config;
  // The lower one of the connection's and the transform's. 0 stands for neither.
  const auto lower = [](std::uint64_t a, std::uint64_t b) { return a == 0 ? b : b == 0 ? a : std::min(a, b); };
  auto& limits = *open.mutable_limits();
  limits.set_memory(lower(config.memory_limit, t.limits.memory));
  limits.set_record_time_ns(lower(config.record_time_limit_ns, static_cast<std::uint64_t>(t.limits.record_time.count())));
  limits.set_output_buffer(t.limits.output_buffer);
  open.set_alive_interval_ms(static_cast<std::uint32_t>(
      std::clamp<std::int64_t>(config.progress_timeout.count() / 4, 25, std::numeric_limits<std::int32_t>::max())));
  wanted->module = std::move(module);
  // These are the server's to keep.
  auto local = t;
  local.limits.memory = 0;
  local.limits.record_time = {};
  return create_custom_factory(r, local, [s = _shared, wanted]() -> std::unique_ptr<custom_engine> {
    return std::make_unique<remote::remote_engine>(s, wanted);
  });
}

remote_stats remote_connection::stats() const noexcept {
  if (!_shared) {
    return {};
  }
  const auto& c = _shared->counted;
  return {c.engines, c.starts, c.failed_starts, c.lost, c.uploads, c.batches, c.bytes_sent, c.bytes_received};
}

void remote_connection::fetch_metrics(std::function<void(result<std::string>)> done,
                                      std::chrono::milliseconds timeout) const {
  struct call {
    std::shared_ptr<remote::connection> keeps;
    grpc::ClientContext context;
    remote::wire::MetricsRequest request;
    remote::wire::MetricsText reply;
    std::function<void(result<std::string>)> done;
  };
  auto c = std::make_shared<call>();
  c->keeps = _shared;
  c->done = std::move(done);
  if (!_shared) {
    c->done(refused("it is empty"));
    return;
  }
  _shared->prepare(c->context);
  c->context.set_deadline(std::chrono::system_clock::now() + timeout);
  _shared->stub->async()->Metrics(&c->context, &c->request, &c->reply, [c](const grpc::Status& status) {
    if (status.ok()) {
      c->done(std::move(*c->reply.mutable_text()));
    } else {
      c->done(error(WASM_STATUS_SYSTEM, "the metrics of " + c->keeps->config.address + ": " + status.error_message()));
    }
  });
}

}  // namespace wasmengine
