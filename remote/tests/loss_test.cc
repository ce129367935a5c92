// SPDX-License-Identifier: Apache-2.0
//
// Servers that are killed, stopped, slow to come or not there: how operations end, and that each record's output comes
// once when the host goes on.
#include "slow_link.hh"
#include "support.hh"

#include <csignal>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace remote_tests;
using testing::AnyOf;
using testing::HasSubstr;

namespace {

/// A config that does not wait for long.
we::remote_config brisk(const std::string& address) {
  return {.address = address,
          .connect_timeout = 5s,
          .progress_timeout = 1s,
          .backoff_min = 20ms,
          .backoff_max = 100ms,
          .window = 64U << 10};
}

/// A port on which nobody listens, though it may be taken soon.
std::string free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(at);
  EXPECT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&at), size), 0);
  EXPECT_EQ(::getsockname(fd, reinterpret_cast<sockaddr*>(&at), &size), 0);
  ::close(fd);
  return "127.0.0.1:" + std::to_string(ntohs(at.sin_port));
}

/// Large enough that a server cannot send all of its output before the host takes some.
const std::vector<std::string>& many() {
  static const auto values = numbered(5'000, 1'000);
  return values;
}

/// The sink got whole records up to the one that the error names, in order.
void expect_prefix(const outcome& end, const gate_sink& sink) {
  ASSERT_EQ(end.status, WASM_STATUS_CUSTOM_ENGINE_LOST) << end.message();
  ASSERT_TRUE(end.why->record()) << end.message();
  const auto index = end.why->record()->index;
  EXPECT_EQ(end.why->record()->offset, 100 + index);
  EXPECT_GT(index, 0U);
  EXPECT_LT(index, many().size());
  EXPECT_EQ(sink.out.values(), std::vector(many().begin(), many().begin() + index));
}

class RemoteLoss : public testing::TestWithParam<wasm_on_error> {};

TEST_P(RemoteLoss, InTheMiddleOfABatchNamesTheRecordToGoOnFromAndLosesNone) {
  const auto address = free_port();
  auto server = std::make_unique<server_process>(address);
  remote_bench b(brisk(address), {.bytes = module("c_identity")});
  b.engine.set_policy({.on_error = GetParam()}).value();
  ASSERT_TRUE(succeeded(b.start()));
  const auto batch = built(many());
  gate_sink sink;
  const auto end = interrupted(b, batch, sink, [&] { server->kill(); });
  expect_prefix(end, sink);
  EXPECT_THAT(end.message(), HasSubstr("server " + address));
  EXPECT_EQ(b.state(), WASM_ENGINE_STATE_STOPPED);
  EXPECT_EQ(b.connection.stats().lost, 1U);

  // The next start waits for the server, which comes back meanwhile.
  std::thread later([&] {
    std::this_thread::sleep_for(200ms);
    server = std::make_unique<server_process>(address);
  });
  const auto again = b.start();
  later.join();
  ASSERT_TRUE(succeeded(again));
  ASSERT_TRUE(succeeded(b.transform(batch, sink, end.why->record()->index)));
  EXPECT_EQ(sink.out.values(), many()) << "each record once";
  const auto stats = b.engine.stats().value();
  EXPECT_EQ(stats.skipped + stats.dead_lettered, 0U);
}

std::string policy_name(const testing::TestParamInfo<wasm_on_error>& info) {
  static constexpr const char* names[] = {"Fail", "Skip", "DeadLetter"};
  return names[info.param];
}

INSTANTIATE_TEST_SUITE_P(Policies, RemoteLoss,
                         testing::Values(WASM_ON_ERROR_FAIL, WASM_ON_ERROR_SKIP, WASM_ON_ERROR_DEAD_LETTER), policy_name);

TEST(RemoteLossBetween, BatchesIsToldWithTheNextOne) {
  server_process server;
  remote_bench b(brisk(server.address()), {.bytes = module("c_identity")});
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  ASSERT_TRUE(succeeded(b.transform(built({"x"}), out)));
  server.kill();
  const auto end = b.transform(built({"y"}), out);
  EXPECT_EQ(end.status, WASM_STATUS_CUSTOM_ENGINE_LOST);
  EXPECT_EQ(end.why->record()->index, 0U);
  EXPECT_EQ(out.values(), std::vector<std::string>{"x"});
}

TEST(RemoteSilence, OfAStoppedServerEndsABatchInTime) {
  server_process server;
  remote_bench b(brisk(server.address()), {.bytes = module("c_identity")});
  ASSERT_TRUE(succeeded(b.start()));
  gate_sink sink;
  const auto end = interrupted(b, built(many()), sink, [&] { server.send(SIGSTOP); });
  expect_prefix(end, sink);
  EXPECT_THAT(end.message(), HasSubstr("the server said nothing for 1 s"));
  server.send(SIGCONT);
  ASSERT_TRUE(succeeded(b.start())) << "the same server is good again";
  ASSERT_TRUE(succeeded(b.transform(built(many()), sink, end.why->record()->index)));
  EXPECT_EQ(sink.out.values(), many());
}

TEST(RemoteSilence, OfAStoppedServerEndsAStartInTime) {
  server_process server;
  auto config = brisk(server.address());
  config.connect_timeout = 300ms;
  config.start_timeout = 1s;
  remote_bench first(config, {.bytes = module("c_identity")});
  ASSERT_TRUE(succeeded(first.start()));
  server.send(SIGSTOP);
  // On a connection that is there, and on one that is not.
  auto same = we::engine::create(first.factory).value();
  remote_bench other(config, {.bytes = module("c_identity")});
  for (auto* const engine : {&same, &other.engine}) {
    const auto begun = std::chrono::steady_clock::now();
    const auto end = finish(engine->start());
    EXPECT_EQ(end.status, WASM_STATUS_CUSTOM_ENGINE_LOST);
    EXPECT_THAT(end.message(), HasSubstr("no connection within 0.3 s"));
    EXPECT_LT(std::chrono::steady_clock::now() - begun, 5s);
  }
  server.send(SIGCONT);
}

TEST(RemoteSilence, OfAHostThatTakesItsTimeIsNoneOfTheServers) {
  served s;
  remote_bench b(brisk(s.address()), {.bytes = module("c_identity")});
  ASSERT_TRUE(succeeded(b.start()));
  gate_sink sink;
  ASSERT_TRUE(succeeded(interrupted(b, built(many()), sink, [] { std::this_thread::sleep_for(1'500ms); })));
  EXPECT_EQ(sink.out.values(), many());
}

// The last of its output comes with the word that it is done, and waits here for room.
TEST(RemoteSilence, OfAServerThatIsDoneIsNoLoss) {
  served s;
  remote_bench b(brisk(s.address()), {.bytes = module("c_identity")});
  ASSERT_TRUE(succeeded(b.start()));
  gate_sink sink;
  const auto two = numbered(2, 600'000);  // one at a time has room
  ASSERT_TRUE(succeeded(interrupted(b, built(two), sink, [] { std::this_thread::sleep_for(2'500ms); })));
  EXPECT_EQ(sink.out.values(), two);
  recorder again;
  EXPECT_TRUE(succeeded(b.transform(built({"a"}), again)));
  EXPECT_TRUE(b.failures->empty());
}

TEST(RemoteSilence, OfAGuestThatTakesItsTimeIsNoneOfTheServers) {
  auto config = on_loopback();
  config.record_time_limit_ns = 1'200'000'000;
  served s(config);
  remote_bench b(brisk(s.address()), {.bytes = module("wat_traps")});
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  const auto end = b.transform(built({"a", "loop"}), out);  // longer than the host would wait
  EXPECT_EQ(end.status, WASM_STATUS_CUSTOM_ENGINE_FAILED) << end.message();
  EXPECT_THAT(end.message(), HasSubstr("guest-timeout"));
}

/// A batch that a link takes seconds for.
kafka::bytes large_batch() { return built(numbered(420, 10'000)); }

// Four times as long as the host waits for a word of the server.
TEST(RemoteSilence, IsNotTheTimeThatSendingALargeBatchTakes) {
  served s;
  const slow_link link(s.address(), 10U << 10);
  remote_bench b(brisk(link.address()), {.bytes = module("c_identity")});
  ASSERT_TRUE(succeeded(b.start()));
  std::size_t bytes = 0;
  auto sink = [&](we::output_block block) {
    for (const auto& r : block) {
      bytes += r.payload_size;
    }
  };
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_TRUE(succeeded(b.transform(large_batch(), sink)));
  EXPECT_GT(std::chrono::steady_clock::now() - begun, 2s) << "longer than progress_timeout";
  EXPECT_GT(bytes, 4U << 20);
}

TEST(RemoteSilence, OfALinkThatStopsInTheMiddleOfABatchEndsIt) {
  served s;
  const slow_link link(s.address(), 100U << 10, 1U << 20);
  remote_bench b(brisk(link.address()), {.bytes = module("c_identity")});
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  const auto end = b.transform(large_batch(), out);
  EXPECT_EQ(end.status, WASM_STATUS_CUSTOM_ENGINE_LOST);
  EXPECT_THAT(end.message(), HasSubstr("the server said nothing for 1 s"));
  EXPECT_EQ(end.why->record()->index, 0U);
}

TEST(RemoteConnecting, ToNobodyEndsAtOnceOrInTime) {
  auto config = brisk(free_port());
  config.connect_timeout = 0ms;
  remote_bench once(config, {.bytes = module("c_identity")});
  auto end = once.start();
  EXPECT_EQ(end.status, WASM_STATUS_CUSTOM_ENGINE_LOST);
  EXPECT_THAT(end.message(), HasSubstr("Connection refused"));
  config.connect_timeout = 500ms;
  remote_bench patient(config, {.bytes = module("c_identity")});
  const auto begun = std::chrono::steady_clock::now();
  end = patient.start();
  EXPECT_GE(std::chrono::steady_clock::now() - begun, 400ms);
  EXPECT_EQ(end.status, WASM_STATUS_CUSTOM_ENGINE_LOST);
  EXPECT_THAT(end.message(), HasSubstr("there was no connection in time"));
  EXPECT_THAT(end.message(), HasSubstr("Connection refused"));
}

TEST(RemoteConnecting, WithATimerGoesOnUntilTheServerComes) {
  struct clock_timer {
    std::chrono::nanoseconds now() noexcept { return std::chrono::steady_clock::now().time_since_epoch(); }
    void sleep(std::chrono::nanoseconds time, we::promise p) {
      std::thread([time, held = std::make_shared<we::promise>(std::move(p))] {
        std::this_thread::sleep_for(time);
        (void)held->resolve();
      }).detach();
    }
  };
  const auto address = free_port();
  auto config = brisk(address);
  config.connect_timeout = 0ms;
  remote_bench b(config, {.bytes = module("c_identity")});
  clock_timer timer;
  b.engine.set_policy({.on_error = WASM_ON_ERROR_FAIL, .backoff_min = 50ms, .backoff_max = 100ms, .healthy_after = 1s}, timer).value();
  std::unique_ptr<server_process> server;
  std::thread later([&] {
    std::this_thread::sleep_for(500ms);
    server = std::make_unique<server_process>(address);
  });
  const auto end = b.start();
  later.join();
  EXPECT_TRUE(succeeded(end));
  EXPECT_GT(b.connection.stats().failed_starts, 1U);
}

TEST(RemoteShutdown, EndsIdleEnginesAtOnceAndOthersBehindTheirBatch) {
  server_process server;
  remote_bench idle(brisk(server.address()), {.bytes = module("c_identity")});
  remote_bench busy(brisk(server.address()), {.bytes = module("c_identity")});
  ASSERT_TRUE(succeeded(idle.start()));
  ASSERT_TRUE(succeeded(busy.start()));
  gate_sink sink;
  const auto end = interrupted(busy, built(many()), sink, [&] {
    server.send(SIGTERM);
    std::this_thread::sleep_for(200ms);
  });
  EXPECT_TRUE(succeeded(end)) << "the batch in progress is finished";
  EXPECT_EQ(sink.out.values(), many());
  const int status = server.wait();
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  recorder out;
  for (auto* const b : {&idle, &busy}) {
    const auto next = b->transform(built({"x"}), out);
    EXPECT_EQ(next.status, WASM_STATUS_CUSTOM_ENGINE_LOST);
    EXPECT_THAT(next.message(), HasSubstr("the server shuts down"));
    EXPECT_EQ(next.why->record()->index, 0U);
  }
}

TEST(RemoteShutdown, WithoutTimeCancelsWhatIsInProgress) {
  auto s = std::make_unique<served>();
  remote_bench b(brisk(s->address()), {.bytes = module("c_identity")});
  ASSERT_TRUE(succeeded(b.start()));
  gate_sink sink;
  const auto end = interrupted(b, built(many()), sink, [&] { s.reset(); });
  expect_prefix(end, sink);
}

}  // namespace
