// SPDX-License-Identifier: Apache-2.0
//
// Tokens and TLS in both directions, with certificates that openssl makes.
#include "support.hh"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

using namespace remote_tests;
using testing::AnyOf;
using testing::HasSubstr;

namespace {

std::string start_fails(const we::remote_config& config, wasm_status status) {
  remote_bench b(config, {.bytes = module("c_identity")});
  const auto end = b.start();
  EXPECT_EQ(end.status, status) << end.message();
  return end.message();
}

testing::AssertionResult works(const we::remote_config& config) {
  remote_bench b(config, {.bytes = module("c_identity")});
  if (const auto started = b.start(); started.status != WASM_STATUS_OK) {
    return succeeded(started);
  }
  recorder out;
  return succeeded(b.transform(built({"x"}), out));
}

TEST(RemoteToken, WrongOrMissingIsRefusedForEnginesAndMetrics) {
  auto config = on_loopback();
  config.token = "a secret";
  served s(config);
  EXPECT_TRUE(works({.address = s.address(), .token = "a secret"}));
  EXPECT_THAT(start_fails({.address = s.address(), .token = "another"}, WASM_STATUS_CUSTOM_ENGINE_FAILED),
              HasSubstr("the server refused this host: wrong token"));
  EXPECT_THAT(start_fails({.address = s.address()}, WASM_STATUS_CUSTOM_ENGINE_FAILED), HasSubstr("no token"));
  for (const std::string token : {"a secret", "another"}) {
    const auto connection = we::remote_connection::create({.address = s.address(), .token = token}).value();
    std::atomic<int> outcome = 0;
    connection.fetch_metrics([&](const we::result<std::string>& got) { outcome = got ? 1 : 2; });
    ASSERT_TRUE(eventually([&] { return outcome != 0; }));
    EXPECT_EQ(outcome, token == "a secret" ? 1 : 2);
  }
  EXPECT_THAT(s.running.metrics(), HasSubstr("wasm_remote_refused_total 3\n"));
}

/// An authority, a server of it and two hosts: of it, and of another.
class certificates {
 public:
  certificates() : _path(std::filesystem::path(testing::TempDir()) / ("remote-tls-" + std::to_string(::getpid()))) {
    std::filesystem::create_directory(_path);
    std::ofstream(_path / "names") << "subjectAltName=DNS:transforms.test,IP:127.0.0.1\n";
    for (const char* ca : {"ca", "other-ca"}) {
      openssl(std::string("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=") + ca +
              " -keyout " + file(std::string(ca) + ".key") + " -out " + file(std::string(ca) + ".pem"));
    }
    issue("server", "ca");
    issue("host", "ca");
    issue("stranger", "other-ca");
  }
  certificates(const certificates&) = delete;
  certificates& operator=(const certificates&) = delete;
  ~certificates() { std::filesystem::remove_all(_path); }

  [[nodiscard]] std::string pem(const std::string& name) const {
    std::ifstream in(_path / name);
    return {std::istreambuf_iterator<char>(in), {}};
  }

 private:
  [[nodiscard]] std::string file(const std::string& name) const { return (_path / name).string(); }
  void issue(const std::string& name, const std::string& ca) const {
    openssl("req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=" + name + " -keyout " + file(name + ".key") +
            " -out " + file(name + ".csr"));
    openssl("x509 -req -days 2 -in " + file(name + ".csr") + " -CA " + file(ca + ".pem") + " -CAkey " + file(ca + ".key") +
            " -CAcreateserial -extfile " + file("names") + " -out " + file(name + ".pem"));
  }
  static void openssl(const std::string& arguments) {
    ASSERT_EQ(std::system((REMOTE_TEST_OPENSSL " " + arguments + " 2>/dev/null").c_str()), 0) << arguments;
  }

  std::filesystem::path _path;
};

TEST(RemoteTls, BothSidesAreKnownOrNothingIsSent) {
  const certificates c;
  auto config = on_loopback();
  config.tls = we::remote::server_tls{c.pem("server.pem"), c.pem("server.key"), c.pem("ca.pem")};
  served s(config);
  we::remote_config host{.address = s.address(), .connect_timeout = 0ms, .start_timeout = 10s};
  host.tls = we::remote_tls{c.pem("ca.pem"), c.pem("host.pem"), c.pem("host.key"), ""};
  EXPECT_TRUE(works(host));
  host.tls->server_name = "transforms.test";
  EXPECT_TRUE(works(host)) << "the certificate has that name, too";

  const auto lost = WASM_STATUS_CUSTOM_ENGINE_LOST;
  auto wrong = host;
  wrong.tls->server_name = "elsewhere.test";
  EXPECT_THAT(start_fails(wrong, lost), HasSubstr("server " + s.address()));
  wrong = host;
  wrong.tls->ca = c.pem("other-ca.pem");
  (void)start_fails(wrong, lost);
  wrong = host;
  wrong.tls->certificate = wrong.tls->key = "";
  (void)start_fails(wrong, lost);
  wrong = host;
  wrong.tls->certificate = c.pem("stranger.pem");
  wrong.tls->key = c.pem("stranger.key");
  (void)start_fails(wrong, lost);
  wrong = host;
  wrong.tls.reset();
  (void)start_fails(wrong, lost);
  EXPECT_EQ(s.running.streams(), 0U);
  EXPECT_THAT(s.running.metrics(), HasSubstr("wasm_remote_streams_total 2\n")) << "only those that worked";
}

TEST(RemoteTls, WithATokenBeyondLoopback) {
  const certificates c;
  auto config = on_loopback();
  config.listen = {"0.0.0.0:0"};
  config.token = "a secret";
  config.tls = we::remote::server_tls{c.pem("server.pem"), c.pem("server.key"), ""};
  served s(config);
  const auto address = "127.0.0.1" + s.address().substr(s.address().rfind(':'));
  we::remote_config host{.address = address, .token = "a secret"};
  host.tls = we::remote_tls{c.pem("ca.pem"), "", "", ""};
  EXPECT_TRUE(works(host));
  host.token = "";
  EXPECT_THAT(start_fails(host, WASM_STATUS_CUSTOM_ENGINE_FAILED), HasSubstr("no token"));
}

}  // namespace
