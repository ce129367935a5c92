// SPDX-License-Identifier: Apache-2.0
//
// Servers that do not keep to the protocol or speak another version of it, and hosts that do not.
#include "messages.hh"
#include "protocol.hh"
#include "support.hh"

#include <grpcpp/generic/generic_stub.h>

using namespace remote_tests;
using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;
namespace wire = we::remote::wire;

namespace {

using server_stream = grpc::ServerReaderWriter<wire::ToHost, wire::ToServer>;
using script = std::function<grpc::Status(server_stream&)>;

/// A server that follows a script.
class liar final : public wire::Engines::Service {
 public:
  explicit liar(script s) : _script(std::move(s)) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &_port);
    builder.SetMaxSendMessageSize(-1);
    builder.RegisterService(this);
    _server = builder.BuildAndStart();
  }
  liar(const liar&) = delete;
  liar& operator=(const liar&) = delete;
  ~liar() override { _server->Shutdown(std::chrono::system_clock::now()); }
  [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(_port); }

 private:
  grpc::Status Run(grpc::ServerContext*, server_stream* stream) override { return _script(*stream); }

  script _script;
  int _port = 0;
  std::unique_ptr<grpc::Server> _server;
};

void send(server_stream& s, const std::function<void(wire::ToHost&)>& fill) {
  wire::ToHost m;
  fill(m);
  s.Write(m);
}

/// Gets `Open` and is ready.
void be_ready(server_stream& s) {
  wire::ToServer open;
  s.Read(&open);
  send(s, [&](auto& m) {
    m.mutable_ready()->set_version(1);
    m.mutable_ready()->set_module_sha256(open.open().module_sha256());
  });
}

/// Waits until the host is gone.
grpc::Status until_the_end(server_stream& s) {
  wire::ToServer ignored;
  while (s.Read(&ignored)) {
  }
  return grpc::Status::OK;
}

/// A server that starts and answers the first batch with one message.
script answers(std::function<void(wire::ToHost&)> fill) {
  return [fill = std::move(fill)](server_stream& s) {
    be_ready(s);
    wire::ToServer batch;
    s.Read(&batch);
    send(s, fill);
    return until_the_end(s);
  };
}

/// Output of records with these offset deltas.
void put(wire::ToHost& m, const std::vector<std::int64_t>& deltas, std::uint64_t batch = 1) {
  auto& out = *m.mutable_output();
  out.set_batch(batch);
  for (const auto d : deltas) {
    const auto payload = kafka::value("out").encode();
    out.mutable_payloads()->append(payload.begin(), payload.end());
    out.add_sizes(static_cast<std::uint32_t>(payload.size()));
    out.add_offsets(d);
  }
}

struct lie {
  const char* name;
  script does;
  std::string told;            ///< Part of the message.
  std::size_t delivered = 0;   ///< Records that were whole before.
  std::uint32_t from = 0;      ///< Where the host is to go on.
};

void PrintTo(const lie& l, std::ostream* out) { *out << l.name; }

class RemoteLiar : public testing::TestWithParam<lie> {};

TEST_P(RemoteLiar, EndsABatchOfThreeAtTheRecordToGoOnFrom) {
  const auto& l = GetParam();
  liar s(l.does);
  remote_bench b({.address = s.address(), .progress_timeout = 500ms, .max_message = 1U << 20, .max_batch_output = 512U << 10}, {.bytes = module("c_identity")});
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  const auto end = b.transform(built({"a", "b", "c"}), out);
  EXPECT_EQ(end.status, WASM_STATUS_CUSTOM_ENGINE_LOST) << end.message();
  EXPECT_THAT(end.message(), HasSubstr(l.told));
  EXPECT_EQ(out.records.size(), l.delivered);
  ASSERT_TRUE(end.why && end.why->record()) << end.message();
  EXPECT_EQ(end.why->record()->index, l.from);
  EXPECT_EQ(b.state(), WASM_ENGINE_STATE_STOPPED);
  b.engine = we::engine();
  EXPECT_TRUE(eventually([&] { return b.connection.stats().engines == 0; }));
}

std::vector<lie> lies() {
  const std::string broke = "the server broke the protocol: ";
  std::vector<lie> all;
  all.push_back({"SaysNothing", [](auto& s) { be_ready(s); return until_the_end(s); }, "the server said nothing for 0.5 s"});
  all.push_back({"EndsTheStream", [](auto& s) { be_ready(s); wire::ToServer m; s.Read(&m); return grpc::Status::OK; }, "the server ended the stream"});
  all.push_back({"EndsWithAStatus", [](auto& s) { be_ready(s); wire::ToServer m; s.Read(&m); return grpc::Status(grpc::StatusCode::DATA_LOSS, "rot\x1b["); }, "rot?["});
  all.push_back({"IsReadyTwice", answers([](auto& m) { m.mutable_ready()->set_version(1); }), broke + "it is ready twice"});
  all.push_back({"AsksForTheModuleLate", answers([](auto& m) { m.mutable_need_module(); }), broke + "it asks for the module"});
  all.push_back({"IsDoneWithAnotherBatch", answers([](auto& m) { m.mutable_done()->set_batch(2); }), broke + "it is done with batch 2 instead of 1"});
  all.push_back({"HasOutputOfAnotherBatch", answers([](auto& m) { put(m, {0}, 7); }), broke + "it has output of batch 7"});
  all.push_back({"HasOutputBehindTheBatch", answers([](auto& m) { put(m, {0, 3}); }), broke + "it has output for offset delta 3, behind the batch"});
  all.push_back({"HasOutputBeforeTheBatch", answers([](auto& m) { put(m, {-1}); }), broke + "it has output for offset delta -1"});
  all.push_back({"HasOutputOfTheEndOfTime", answers([](auto& m) { put(m, {INT64_MAX}); }), broke + "it has output for offset delta 9223372036854775807, behind"});
  all.push_back({"HasOutputOfTheBeginningOfTime", answers([](auto& m) { put(m, {0, INT64_MIN}); }), broke + "it has output for offset delta", 0, 0});
  all.push_back({"GoesBack", answers([](auto& m) { put(m, {1, 0}); }), broke + "it has output for offset delta 0", 0, 1});
  all.push_back({"HasFewerBytesThanItSays", answers([](auto& m) { put(m, {0}); m.mutable_output()->set_sizes(0, 9); }), broke + "the parts of its output do not fit"});
  all.push_back({"HasMoreBytesThanItSays", answers([](auto& m) { put(m, {0}); m.mutable_output()->mutable_payloads()->append("x"); }), broke + "the parts of its output do not fit"});
  all.push_back({"HasSizesThatOverflow", answers([](auto& m) { put(m, {0, 0}); m.mutable_output()->set_sizes(0, UINT32_MAX); m.mutable_output()->set_sizes(1, UINT32_MAX); }), broke + "the parts of its output do not fit"});
  all.push_back({"HasTooFewOffsets", answers([](auto& m) { put(m, {0, 1}); m.mutable_output()->mutable_offsets()->RemoveLast(); }), broke + "the parts of its output do not fit"});
  all.push_back({"HasTooManyTopics", answers([](auto& m) { put(m, {0}); m.mutable_output()->add_topics(0); m.mutable_output()->add_topics(0); }), broke + "the parts of its output do not fit"});
  all.push_back({"HasAnUnknownTopic", answers([](auto& m) { put(m, {1}); m.mutable_output()->add_topics(1); }), broke + "its output is refused: topic is 1", 0, 1});
  all.push_back({"HasAPayloadThatIsNone", answers([](auto& m) { put(m, {2}); (*m.mutable_output()->mutable_payloads())[0] = '\x7f'; }), broke + "its output is refused", 0, 2});
  all.push_back({"FailsAtARecordThatIsDone", answers([](auto& m) { put(m, {2}); m.mutable_failure()->set_cause(wire::Failure::CAUSE_GUEST); m.mutable_failure()->set_record_index(0); }), broke + "its guest failed at record 0", 0, 2});
  all.push_back({"FailsWithoutARecord", answers([](auto& m) { put(m, {1}); m.mutable_failure()->set_cause(wire::Failure::CAUSE_GUEST); m.mutable_failure()->set_status(50); m.mutable_failure()->set_message("why"); }), "the remote guest is gone: guest-trap: why", 0, 1});
  all.push_back({"SendsALargeMessage", answers([](auto& m) { m.mutable_output()->mutable_payloads()->resize(2U << 20); }), "a limit was exceeded"});
  all.push_back({"SendsOutputWithoutEnd", [](auto& s) { be_ready(s); wire::ToServer b; s.Read(&b); wire::ToHost m; put(m, std::vector<std::int64_t>(100, 0)); while (s.Write(m)) {} return grpc::Status::OK; }, broke + "it has more output for a batch than max_batch_output allows"});
  all.push_back({"HasTooManyLines", answers([](auto& m) { for (int i = 0; i <= we::remote::max_log_lines; ++i) { m.add_log(); } }), broke + "a message has more lines or frames"});
  all.push_back({"HasTooManyFrames", answers([](auto& m) { for (int i = 0; i <= we::remote::max_frames; ++i) { m.mutable_failure()->add_frames(); } }), broke + "a message has more lines or frames"});
  // The last one is for a server that has sent all output of a record, which the host cannot know.
  all.push_back({"IsLostBehindTheLastRecord", [](auto& s) { be_ready(s); wire::ToServer b; s.Read(&b); send(s, [](auto& m) { put(m, {0, 1, 2}); }); return grpc::Status::OK; }, "the server ended the stream", 2, 2});
  return all;
}

INSTANTIATE_TEST_SUITE_P(Each, RemoteLiar, testing::ValuesIn(lies()), [](const auto& info) { return std::string(info.param.name); });

std::string start_fails(const script& does, wasm_status status) {
  liar s(does);
  remote_bench b({.address = s.address(), .connect_timeout = 0ms, .start_timeout = 2s}, {.bytes = module("c_identity")});
  const auto end = b.start();
  EXPECT_EQ(end.status, status) << end.message();
  return end.message();
}

TEST(RemoteLiarAtTheStart, IsToldApart) {
  const auto lost = WASM_STATUS_CUSTOM_ENGINE_LOST;
  const auto first = [](std::function<void(wire::ToHost&)> fill) {
    return [fill = std::move(fill)](server_stream& s) {
      wire::ToServer open;
      s.Read(&open);
      send(s, fill);
      return until_the_end(s);
    };
  };
  EXPECT_THAT(start_fails(first([](auto& m) { m.mutable_done(); }), lost), HasSubstr("output before the guest is ready"));
  EXPECT_THAT(start_fails(first([](auto& m) { put(m, {0}); }), lost), HasSubstr("output before the guest is ready"));
  EXPECT_THAT(start_fails(first([](auto& m) { m.mutable_ready()->set_version(3); }), lost), HasSubstr("it chose version 3"));
  EXPECT_THAT(start_fails(first([](auto& m) { m.mutable_ready()->set_version(1); }), lost), HasSubstr("another module"));
  EXPECT_THAT(start_fails([](auto& s) { wire::ToHost m; m.mutable_need_module(); s.Write(m); s.Write(m); return until_the_end(s); }, lost),
              HasSubstr("it asks for the module and should not"));
  EXPECT_THAT(start_fails([](auto& s) { return until_the_end(s); }, lost), AnyOf(HasSubstr("no connection within 2 s"), HasSubstr("it did not start within 2 s")));
  EXPECT_THAT(start_fails([](auto& s) { s.SendInitialMetadata(); return until_the_end(s); }, lost), HasSubstr("it did not start within 2 s"));
  EXPECT_THAT(start_fails([](auto&) { return grpc::Status::OK; }, lost), HasSubstr("the server ended the stream"));
  EXPECT_THAT(start_fails([](auto&) { return grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "what?"); }, WASM_STATUS_CUSTOM_ENGINE_FAILED),
              HasSubstr("no wasm-transform serve, or one of another version"));
}

TEST(RemoteLiarAtTheStart, GivesMoreThanWasAskedFor) {
  for (const bool tells : {false, true}) {
    liar s([=](auto& stream) {
      wire::ToServer open;
      stream.Read(&open);
      send(stream, [&](auto& m) {
        m.mutable_ready()->set_version(1);
        m.mutable_ready()->set_module_sha256(open.open().module_sha256());
        m.mutable_ready()->mutable_limits()->set_memory(tells ? 2U << 20 : 0);
      });
      return until_the_end(stream);
    });
    remote_bench b({.address = s.address(), .memory_limit = 1U << 20}, {.bytes = module("c_identity")});
    const auto end = b.start();
    EXPECT_EQ(end.status, WASM_STATUS_CUSTOM_ENGINE_LOST);
    EXPECT_THAT(end.message(), HasSubstr("its guest may have more than the limits that were asked for"));
  }
}

// Lines without end: the operation does not end by itself, and takes some of them in each poll.
TEST(RemoteFlood, OfLinesHoldsUpNoOtherTask) {
  for (const bool at_start : {false, true}) {
    liar s([=](auto& stream) {
      if (!at_start) {
        be_ready(stream);
        wire::ToServer batch;
        stream.Read(&batch);
      }
      wire::ToHost m;
      for (int i = 0; i < 1'000; ++i) {
        m.add_log()->set_text("line");
      }
      while (stream.Write(m)) {
      }
      return grpc::Status::OK;
    });
    remote_bench b(s.address(), "c_identity");
    recorder out;
    if (!at_start) {
      ASSERT_TRUE(succeeded(b.start()));
    }
    const auto batch = built({"a"});
    auto operation = at_start ? b.engine.start().value() : b.engine.transform(batch, out).value();
    waker_tally wakers;
    std::size_t lines = 0;
    EXPECT_TRUE(eventually([&] {
      const auto waker = wakers.give();
      const auto polled = operation.poll(&waker);
      EXPECT_TRUE(polled && *polled != WASM_POLL_READY);
      const auto now = b.log->all().size();
      EXPECT_LE(now - lines, 256U) << "lines of one poll";
      lines = now;
      return lines > 5'000;
    }));
    operation = we::future();
  }
}

/// A host that follows a script of raw messages.
struct raw_host {
  explicit raw_host(const std::string& address)
      : stub(wire::Engines::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()))),
        stream(stub->Run(&context)) {}
  wire::ToHost read() {
    wire::ToHost m;
    EXPECT_TRUE(stream->Read(&m));
    return m;
  }
  grpc::Status end() {
    wire::ToHost m;
    while (stream->Read(&m)) {
    }
    return stream->Finish();
  }
  void open(const std::function<void(wire::Open&)>& change = [](auto&) {}) {
    wire::ToServer m;
    auto& o = *m.mutable_open();
    const auto bytes = module("c_identity");
    o.set_version(1);
    o.set_oldest_version(1);
    o.set_module_sha256(we::remote::sha256(bytes));
    o.set_module_size(bytes.size());
    o.set_name("raw");
    o.add_output_topics("out");
    change(o);
    stream->Write(m);
  }
  void upload(std::string data) {
    wire::ToServer m;
    m.mutable_chunk()->set_data(std::move(data));
    stream->Write(m);
  }
  void batch(std::uint64_t number, const kafka::bytes& bytes, std::uint32_t first = 0) {
    wire::ToServer m;
    m.mutable_batch()->set_number(number);
    m.mutable_batch()->set_batch(bytes.data(), bytes.size());
    m.mutable_batch()->set_first_record(first);
    stream->Write(m);
  }
  static std::string code() {
    const auto bytes = module("c_identity");
    return {bytes.begin(), bytes.end()};
  }

  grpc::ClientContext context;
  std::unique_ptr<wire::Engines::Stub> stub;
  std::unique_ptr<grpc::ClientReaderWriter<wire::ToServer, wire::ToHost>> stream;
};

TEST(RemoteVersion, OfAnotherRangeIsRefusedAndANewerHostGetsTheServers) {
  served s;
  raw_host newer(s.address());
  newer.open([](auto& o) { o.set_version(4), o.set_oldest_version(3); });
  auto refused = newer.read();
  EXPECT_EQ(refused.failure().cause(), wire::Failure::CAUSE_REFUSED);
  EXPECT_THAT(refused.failure().message(), HasSubstr("the host speaks versions 3 to 4 of the protocol and the server 1 to 2"));
  EXPECT_TRUE(newer.end().ok());
  raw_host none(s.address());
  none.open([](auto& o) { o.set_version(0), o.set_oldest_version(0); });
  EXPECT_EQ(none.read().failure().cause(), wire::Failure::CAUSE_REFUSED);
  raw_host both(s.address());
  both.open([](auto& o) { o.set_version(9); });
  EXPECT_TRUE(both.read().has_need_module());
  both.upload(raw_host::code());
  const auto ready = both.read();
  EXPECT_EQ(ready.ready().version(), 2U);
  EXPECT_EQ(ready.ready().module_sha256(), we::remote::sha256(module("c_identity")));
  both.batch(1, built({"x"}));
  const auto done = both.read();
  EXPECT_EQ(done.done().batch(), 1U);
  EXPECT_EQ(done.output().sizes_size(), 1) << "a small batch is answered by one message";
  both.stream->WritesDone();
  EXPECT_TRUE(both.end().ok());
  EXPECT_TRUE(eventually([&] { return s.running.streams() == 0; }));
}

TEST(RemoteServer, RefusesHostsThatBreakTheProtocol) {
  auto config = on_loopback();
  config.max_batch = 1U << 20;
  served s(config);
  const auto violates = [&](const std::function<void(raw_host&)>& does) {
    raw_host h(s.address());
    does(h);
    const auto status = h.end();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << status.error_message();
  };
  violates([](auto& h) { h.batch(1, built({"x"})); });
  violates([](auto& h) { h.upload("x"); });
  violates([](auto& h) { h.stream->Write(wire::ToServer()); });
  violates([](auto& h) { h.open(), h.open(); });
  violates([](auto& h) { h.open(), h.upload(""); });
  violates([](auto& h) { h.open(), h.upload(raw_host::code() + "x"); });
  violates([](auto& h) { h.open(), h.batch(1, built({"x"})); });
  const auto started = [](raw_host& h) {
    h.open();
    if (h.read().has_need_module()) {
      h.upload(raw_host::code());
      EXPECT_TRUE(h.read().has_ready());
    }
  };
  violates([&](auto& h) { started(h), h.batch(2, built({"x"})); });
  violates([&](auto& h) { started(h), h.batch(0, built({"x"})); });
  violates([&](auto& h) { started(h), h.upload("x"); });
  violates([&](auto& h) { started(h), h.open(); });

  // What is a batch's fault has its status.
  const auto fails = [&](const kafka::bytes& batch, std::uint32_t first, wasm_status status) {
    raw_host h(s.address());
    started(h);
    h.batch(1, batch, first);
    const auto m = h.read();
    EXPECT_EQ(m.failure().status(), status) << m.failure().message();
    EXPECT_TRUE(h.end().ok());
  };
  auto bad_crc = built({"x"});
  bad_crc[20] ^= 1;
  fails(bad_crc, 0, WASM_STATUS_BATCH_CRC);
  fails({}, 0, WASM_STATUS_BATCH_TRUNCATED);
  fails(built({"x"}), 1, WASM_STATUS_INVALID_ARGUMENT);

  raw_host wrong(s.address());
  wrong.open([](auto& o) { o.set_module_sha256(std::string(32, 'h')); });
  EXPECT_TRUE(wrong.read().has_need_module());
  wrong.upload(raw_host::code());
  EXPECT_THAT(wrong.read().failure().message(), HasSubstr("another SHA-256"));
  raw_host short_hash(s.address());
  short_hash.open([](auto& o) { o.set_module_sha256("short"); });
  EXPECT_THAT(short_hash.read().failure().message(), HasSubstr("32 bytes"));
  raw_host no_module(s.address());
  no_module.open([](auto& o) { o.set_module_sha256(""); });
  EXPECT_THAT(no_module.read().failure().message(), HasSubstr("no module is named"));
  raw_host bloated(s.address());
  bloated.open([](auto& o) { o.set_library(std::string(2U << 20, 'x')); });
  EXPECT_EQ(bloated.end().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED) << "more than a batch may have";
  raw_host chatty(s.address());
  chatty.open([](auto& o) { o.set_library(std::string((1U << 20) + 1, 'x')); });
  EXPECT_THAT(chatty.read().failure().message(), HasSubstr("Open has more than 1048576 bytes"));
  raw_host huge(s.address());
  huge.open([](auto& o) { o.set_module_sha256(std::string(32, 'h')), o.set_module_size(UINT64_MAX); });
  EXPECT_THAT(huge.read().failure().message(), HasSubstr("no room"));
  raw_host large(s.address());
  started(large);
  large.batch(1, kafka::bytes(2U << 20));
  EXPECT_EQ(large.end().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_TRUE(eventually([&] { return s.running.streams() == 0; }));
}

TEST(RemoteServer, EndsStreamsThatAskForNothing) {
  auto config = on_loopback();
  config.handshake_timeout = 300ms;
  served s(config);
  raw_host silent(s.address());
  EXPECT_EQ(silent.end().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  raw_host stuck(s.address());
  stuck.open();
  EXPECT_TRUE(stuck.read().has_need_module());
  EXPECT_EQ(stuck.end().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED) << "in the middle of an upload";
  EXPECT_TRUE(eventually([&] { return s.running.streams() == 0; }));
  raw_host patient(s.address());
  patient.open();
  EXPECT_TRUE(patient.read().has_need_module());
  patient.upload(raw_host::code());
  EXPECT_TRUE(patient.read().has_ready());
  std::this_thread::sleep_for(600ms);
  patient.batch(1, built({"x"}));
  EXPECT_TRUE(patient.read().has_done()) << "one that has started may be idle";
}

/// A raw host whose guest has started.
struct started_host : raw_host {
  explicit started_host(const std::string& address) : raw_host(address) {
    open([](auto& o) { o.set_version(2), o.set_alive_interval_ms(20); });
    if (read().has_need_module()) {
      upload(code());
      EXPECT_TRUE(read().has_ready());
    }
  }
  /// The first bytes of a batch that has `size`.
  void begin_batch(std::size_t size, std::string first) {
    wire::ToServer m;
    m.mutable_batch()->set_number(1);
    m.mutable_batch()->set_batch(std::move(first));
    m.mutable_batch()->set_size(size);
    stream->Write(m);
  }
};

TEST(RemotePieces, OfABatchAreOneBatch) {
  served s;
  const auto batch = built(numbered(1'000, 100));
  const std::string bytes(batch.begin(), batch.end());
  for (const std::size_t size : {std::size_t{1}, std::size_t{1'000}, bytes.size() - 1, bytes.size()}) {
    started_host h(s.address());
    h.begin_batch(bytes.size(), size == 1 ? "" : bytes.substr(0, size));
    for (std::size_t at = size == 1 ? 0 : size; at < bytes.size(); at += 50'000) {
      h.upload(bytes.substr(at, 50'000));
    }
    int records = 0;
    for (bool done = false; !done;) {
      const auto m = h.read();
      ASSERT_FALSE(m.has_failure()) << m.failure().message();
      records += m.output().sizes_size();
      done = m.has_done();
    }
    EXPECT_EQ(records, 1'000);
  }
}

TEST(RemotePieces, ThatDoNotFitAreRefused) {
  auto config = on_loopback();
  config.max_batch = 1U << 20;
  config.handshake_timeout = 300ms;
  served s(config);
  const auto ends = [&](grpc::StatusCode code, const std::function<void(started_host&)>& does) {
    started_host h(s.address());
    does(h);
    EXPECT_EQ(h.end().error_code(), code);
  };
  const auto invalid = grpc::StatusCode::INVALID_ARGUMENT;
  ends(grpc::StatusCode::RESOURCE_EXHAUSTED, [](auto& h) { h.begin_batch((1U << 20) + 1, "x"); });
  ends(grpc::StatusCode::RESOURCE_EXHAUSTED, [](auto& h) { h.begin_batch(UINT64_MAX, "x"); });
  ends(invalid, [](auto& h) { h.begin_batch(10, "x"), h.upload(""); });
  ends(invalid, [](auto& h) { h.begin_batch(10, "x"), h.upload("0123456789"); });
  ends(invalid, [](auto& h) { h.begin_batch(10, "x"), h.batch(2, built({"x"})); });
  ends(grpc::StatusCode::DEADLINE_EXCEEDED, [](auto& h) { h.begin_batch(10, "x"); });
  {
    started_host gone(s.address());
    gone.begin_batch(10, "x");
    gone.stream->WritesDone();
    EXPECT_THAT(gone.read().failure().message(), HasSubstr("the batch ended early"));
  }
  EXPECT_TRUE(eventually([&] { return s.running.streams() == 0; }));
}

// A server of the first version gets batches whole.
TEST(RemotePieces, AreNotSentToAServerThatDoesNotKnowThem) {
  std::atomic<std::size_t> size = 0, given = 0;
  liar s([&](auto& stream) {
    be_ready(stream);
    wire::ToServer m;
    stream.Read(&m);
    size = m.batch().batch().size();
    given = m.batch().size();
    send(stream, [](auto& out) { out.mutable_done()->set_batch(1); });
    return until_the_end(stream);
  });
  remote_bench b(s.address(), "c_identity");
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  const auto batch = built({std::string(1U << 20, 'x')});
  EXPECT_TRUE(succeeded(b.transform(batch, out)));
  EXPECT_EQ(size, batch.size());
  EXPECT_EQ(given, 0U);
}

// The token comes before the message: nothing of it is looked at.
TEST(RemoteMetrics, AskedForWithoutATokenAreRefusedWhateverTheMessageIs) {
  auto config = on_loopback();
  config.token = "a secret";
  served s(config);
  const auto channel = grpc::CreateChannel(s.address(), grpc::InsecureChannelCredentials());
  grpc::GenericStub stub(channel);
  const auto ask = [&](const std::string& bytes, const std::string& token) {
    grpc::ClientContext context;
    if (!token.empty()) {
      context.AddMetadata("authorization", "Bearer " + token);
    }
    const grpc::Slice slice(bytes);
    const grpc::ByteBuffer request(&slice, 1);
    grpc::ByteBuffer reply;
    grpc::Status status;
    grpc::CompletionQueue done;
    auto call = stub.PrepareUnaryCall(&context, "/wasm_remote.v1.Engines/Metrics", request, &done);
    call->StartCall();
    call->Finish(&reply, &status, nullptr);
    void* tag = nullptr;
    bool ok = false;
    EXPECT_TRUE(done.Next(&tag, &ok) && ok);
    return status;
  };
  const std::string garbage = "\xff\xff\xff this is no message";
  EXPECT_EQ(ask(garbage, "").error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(ask(garbage, "another").error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_TRUE(ask("", "a secret").ok());
}

}  // namespace
