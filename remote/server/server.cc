// SPDX-License-Identifier: Apache-2.0
#include "server.hh"

#include "core.hh"
#include "protocol.hh"
#include "session.hh"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <utility>

namespace wasmengine::remote {

namespace {

/// Ends a call at once.
class refused_call final : public grpc::ServerBidiReactor<wire::ToServer, wire::ToHost> {
 public:
  explicit refused_call(grpc::Status status) { Finish(std::move(status)); }
  void OnDone() override { delete this; }
};

std::shared_ptr<grpc::ServerCredentials> credentials(const server_config& c) {
  if (!c.tls) {
    return grpc::InsecureServerCredentials();
  }
  grpc::SslServerCredentialsOptions options(c.tls->client_ca.empty()
                                                ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
                                                : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  options.pem_key_cert_pairs.push_back({c.tls->key, c.tls->certificate});
  options.pem_root_certs = c.tls->client_ca;
  return grpc::SslServerCredentials(options);
}

void check(const server_config& c) {
  if (c.listen.empty()) {
    throw std::runtime_error("there is no address to listen on");
  }
  if (c.buffer_bytes < c.max_batch + message_overhead) {
    throw std::runtime_error("buffer_bytes must be at least max_batch and 64 KiB more");
  }
  if (c.memory_limit == 0 || c.record_time_limit_ns == 0 || c.output_buffer_limit == 0) {
    throw std::runtime_error("memory_limit, record_time_limit_ns and output_buffer_limit must not be 0");
  }
  if (c.insecure) {
    return;
  }
  for (const auto& address : c.listen) {
    if (is_local(address)) {
      continue;
    }
    if (!c.tls) {
      throw std::runtime_error(address + " is not on this computer only and there is no TLS");
    }
    if (c.token.empty() && c.tls->client_ca.empty()) {
      throw std::runtime_error(address + " is not on this computer only and hosts need neither a token nor a certificate");
    }
  }
}

/// As many engines as memory allows.
std::size_t most_streams(const server_config& c) {
  const auto by_memory = c.max_memory == 0 ? c.max_streams : static_cast<std::size_t>(c.max_memory / c.memory_limit);
  return std::min(c.max_streams, by_memory);
}

}  // namespace

/// `Metrics` gets its message as bytes, which are not parsed for a host without the token.
class server::service final
    : public wire::Engines::WithCallbackMethod_Run<wire::Engines::WithRawCallbackMethod_Metrics<wire::Engines::Service>> {
 public:
  explicit service(core& c) : _core(c), _most_streams(most_streams(c.config)) {}

  grpc::ServerBidiReactor<wire::ToServer, wire::ToHost>* Run(grpc::CallbackServerContext* context) override {
    auto refusal = _core.refusal(*context);
    if (!refusal && _core.draining) {
      refusal = grpc::Status(grpc::StatusCode::UNAVAILABLE, "the server shuts down");
    }
    if (!refusal && ++_core.streams > _most_streams) {
      --_core.streams;
      ++_core.counted.refused;
      refusal = grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "the server has as many engines as it may have");
    }
    if (refusal) {
      return new refused_call(*refusal);
    }
    return session::accept(_core, context->peer());
  }

  grpc::ServerUnaryReactor* Metrics(grpc::CallbackServerContext* context, const grpc::ByteBuffer*,
                                    grpc::ByteBuffer* reply) override {
    auto* const reactor = context->DefaultReactor();
    auto status = _core.refusal(*context);
    if (!status) {
      // Nothing that is in the message counts in this version.
      wire::MetricsText metrics;
      metrics.set_text(_core.metrics());
      bool owned = false;
      status = grpc::SerializationTraits<wire::MetricsText>::Serialize(metrics, reply, &owned);
    }
    reactor->Finish(*status);
    return reactor;
  }

 private:
  core& _core;
  const std::size_t _most_streams;
};

struct server::listening {
  std::unique_ptr<grpc::Server> grpc;
};

server::server(server_config config) {
  check(config);
  _core = std::make_unique<core>(std::move(config));
  _service = std::make_unique<service>(*_core);
  const auto& c = _core->config;
  grpc::ServerBuilder builder;
  std::vector<int> ports(c.listen.size(), 0);
  const auto identity = credentials(c);
  for (std::size_t i = 0; i < c.listen.size(); ++i) {
    builder.AddListeningPort(c.listen[i], identity, &ports[i]);
  }
  builder.SetMaxReceiveMessageSize(
      static_cast<int>(std::min<std::uint64_t>(c.max_batch + message_overhead, std::numeric_limits<int>::max())));
  builder.SetMaxSendMessageSize(-1);
  // A batch need not wait for the host to hear that its first part has come.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 1 << 20);
  grpc::ResourceQuota quota("wasm-transform serve");
  quota.Resize(c.buffer_bytes);
  builder.SetResourceQuota(quota);
  // An address that another process has is an error.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.RegisterService(_service.get());
  _listening = std::make_unique<listening>(listening{builder.BuildAndStart()});
  if (!_listening->grpc || std::find(ports.begin(), ports.end(), 0) != ports.end()) {
    const auto bad = std::find(ports.begin(), ports.end(), 0) - ports.begin();
    throw std::runtime_error("cannot listen on " + c.listen[std::min<std::size_t>(static_cast<std::size_t>(bad), c.listen.size() - 1)]);
  }
  for (std::size_t i = 0; i < c.listen.size(); ++i) {
    auto address = c.listen[i];
    if (!address.starts_with("unix")) {
      address = address.substr(0, address.rfind(':') + 1) + std::to_string(ports[i]);
    }
    _addresses.push_back(std::move(address));
  }
}

server::~server() { stop(std::chrono::milliseconds(0)); }

const runtime& server::local_runtime() const noexcept { return _core->local; }

std::string server::metrics() const { return _core->metrics(); }

std::size_t server::streams() const noexcept { return _core->streams; }

void server::stop(std::chrono::milliseconds grace) {
  if (!_listening || !_listening->grpc) {
    return;
  }
  _core->drain();
  _listening->grpc->Shutdown(std::chrono::system_clock::now() + grace);
  _listening->grpc->Wait();
  _listening->grpc.reset();
}

}  // namespace wasmengine::remote
