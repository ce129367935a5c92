// SPDX-License-Identifier: Apache-2.0
//
// How a module gets to a server, what the server refuses, and its limits.
#include "support.hh"

#include "protocol.hh"
#include "server/module_store.hh"

#include <filesystem>
#include <fstream>

using namespace remote_tests;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

namespace {

/// A folder with modules.
class folder {
 public:
  explicit folder(const std::vector<std::pair<std::string, std::string>>& modules)
      : _path(std::filesystem::path(testing::TempDir()) /
              ("remote-modules-" + std::to_string(::getpid()) + "-" + std::to_string(_number++))) {
    std::filesystem::create_directory(_path);
    for (const auto& [name, guest] : modules) {
      const auto bytes = module(guest);
      std::ofstream(_path / name, std::ios::binary)
          .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    }
  }
  folder(const folder&) = delete;
  folder& operator=(const folder&) = delete;
  ~folder() { std::filesystem::remove_all(_path); }
  [[nodiscard]] std::string path() const { return _path.string(); }

 private:
  static inline int _number = 0;
  std::filesystem::path _path;
};

std::string start_fails(remote_bench& b, wasm_status status = WASM_STATUS_CUSTOM_ENGINE_FAILED) {
  const auto end = b.start();
  EXPECT_EQ(end.status, status) << end.message();
  return end.message();
}

testing::AssertionResult copies(remote_bench& b) {
  if (const auto started = b.start(); started.status != WASM_STATUS_OK) {
    return succeeded(started);
  }
  recorder out;
  if (const auto done = b.transform(built({"1 a"}), out); done.status != WASM_STATUS_OK) {
    return succeeded(done);
  }
  return out.values() == std::vector<std::string>{"1 a"} ? testing::AssertionSuccess() : testing::AssertionFailure();
}

TEST(RemoteModule, ByNameAndByContentWithoutUploads) {
  const folder modules({{"copy.wasm", "c_identity"}, {"tee.wasm", "c_tee"}, {"notes.txt", "c_tee"}});
  auto config = on_loopback();
  config.uploads = false;
  config.module_directory = modules.path();
  served s(config);
  EXPECT_THAT(s.log->text(), HasSubstr("modules in " + modules.path() + ": 2"));
  remote_bench by_name({.address = s.address()}, {.name = "copy"});
  EXPECT_TRUE(copies(by_name));
  remote_bench by_content(s.address(), "c_tee");
  EXPECT_TRUE(copies(by_content));
  EXPECT_EQ(by_content.connection.stats().uploads, 0U);
  remote_bench both({.address = s.address()}, {.name = "copy", .bytes = module("c_identity")});
  EXPECT_TRUE(copies(both));

  remote_bench no_such({.address = s.address()}, {.name = "../copy"});
  EXPECT_THAT(start_fails(no_such), HasSubstr("there is no module \"../copy\" here"));
  remote_bench unknown(s.address(), "cpp_identity");
  EXPECT_THAT(start_fails(unknown), HasSubstr("uploads are not allowed"));
  // With a content the name is for messages.
  remote_bench other({.address = s.address()}, {.name = "copy", .bytes = module("c_tee")});
  EXPECT_TRUE(copies(other)) << "the content is what the host wants, and the server has it";
  remote_bench misnamed({.address = s.address()}, {.name = "nowhere", .bytes = module("c_tee")});
  EXPECT_TRUE(copies(misnamed));
  remote_bench renamed({.address = s.address()}, {.name = "copy", .bytes = module("cpp_identity")});
  EXPECT_THAT(start_fails(renamed), HasSubstr("there is no module \"copy\" with SHA-256 "));
  EXPECT_THAT(s.log->text(), HasSubstr("transform \"tested\" refused: there is no module"));
}

TEST(RemoteModule, IsUploadedOnceAndCompiledOnce) {
  served s;
  remote_bench first({.address = s.address(), .start_timeout = 110s}, {.bytes = module("rust_redact")});
  remote_bench second({.address = s.address()}, {.bytes = module("rust_redact")});
  EXPECT_TRUE(succeeded(first.start()));
  EXPECT_TRUE(succeeded(second.start()));
  EXPECT_EQ(first.connection.stats().uploads, 1U);
  EXPECT_EQ(first.connection.stats().bytes_sent, module("rust_redact").size());
  EXPECT_EQ(second.connection.stats().uploads, 0U);
  EXPECT_THAT(s.running.metrics(), AllOf(HasSubstr("wasm_remote_uploads_total 1\n"), HasSubstr("wasm_compilations_total 1\n")));
  auto transform = with_topics({"out"});
  transform.name = "another";
  remote_bench third(s.address(), "rust_redact", transform);
  EXPECT_TRUE(succeeded(third.start()));
  EXPECT_EQ(third.connection.stats().uploads, 0U) << "only the description is another";
  EXPECT_THAT(s.running.metrics(), AllOf(HasSubstr("wasm_compilations_total 1\n"), HasSubstr("wasm_factories 2\n")));
}

TEST(RemoteModule, ThatIsNoneIsRefusedWithItsStatus) {
  served s;
  remote_bench text({.address = s.address()}, {.bytes = {'n', 'o', ' ', 'w', 'a', 's', 'm'}});
  EXPECT_THAT(start_fails(text), HasSubstr("module-not-wasm"));
  remote_bench unknown(s.address(), "wat_unknown_import");
  EXPECT_THAT(start_fails(unknown), HasSubstr("module-unknown-import"));
  EXPECT_EQ(unknown.failures->size(), 1U);
  EXPECT_EQ(unknown.failures->front().status, WASM_STATUS_MODULE_UNKNOWN_IMPORT);
  EXPECT_TRUE(eventually([&] { return s.running.streams() == 0; }));
}

TEST(RemoteModule, HasNoRoomWhereUploadsHaveALimit) {
  auto config = on_loopback();
  config.upload_bytes = 6'000;
  served s(config);
  remote_bench large(s.address(), "rust_identity");
  EXPECT_THAT(start_fails(large, WASM_STATUS_CUSTOM_ENGINE_LOST), HasSubstr("no room for a module of"));
  // One of these at a time.
  for (int round = 0; round < 2; ++round) {
    remote_bench route({.address = s.address()}, {.bytes = module("c_route")}, with_topics({"1 a"}));
    EXPECT_TRUE(succeeded(route.start()));
    remote_bench logger(s.address(), "c_logger");
    EXPECT_TRUE(copies(logger));
  }
  EXPECT_THAT(s.running.metrics(), HasSubstr("wasm_remote_uploaded_bytes 4"));
}

TEST(RemoteModule, StoreMakesRoomByUseAndGivesReservationsBack) {
  we::remote::module_store store(100);
  const auto add = [&](const std::string& name, std::size_t size) {
    auto room = store.reserve(size);
    return room && store.add(name, std::vector<std::uint8_t>(size), std::move(*room)) != nullptr;
  };
  EXPECT_TRUE(add("a", 40));
  EXPECT_TRUE(add("b", 40));
  EXPECT_NE(store.by_hash("a"), nullptr);  // used after b
  EXPECT_TRUE(add("c", 40));
  EXPECT_EQ(store.by_hash("b"), nullptr);
  EXPECT_NE(store.by_hash("a"), nullptr);
  EXPECT_FALSE(store.reserve(101));
  {
    const auto all = store.reserve(100);
    EXPECT_TRUE(all);
    EXPECT_FALSE(store.reserve(1)) << "what is being uploaded is not thrown out";
  }
  EXPECT_EQ(store.uploaded_bytes(), 0U);
  EXPECT_TRUE(add("d", 60));
  auto room = store.reserve(30);
  const auto kept = store.by_hash("d");
  EXPECT_EQ(store.add("d", std::vector<std::uint8_t>(30), std::move(*room)), kept) << "the first one stays";
  EXPECT_EQ(store.uploaded_bytes(), 60U);
}

TEST(RemoteLimits, OfGuestsAreTheLowerOnesOfBothSides) {
  auto config = on_loopback();
  config.record_time_limit_ns = 20'000'000'000;
  served s(config);
  const auto dies = [&](we::remote_config host, const we::transform_limits& limits, const std::string& value) {
    host.address = s.address();
    host.progress_timeout = 30s;
    auto transform = with_topics({"out"});
    transform.limits = limits;
    remote_bench b(host, {.bytes = module("wat_traps")}, transform);
    EXPECT_TRUE(succeeded(b.start()));
    recorder out;
    const auto end = b.transform(built({value}), out);
    EXPECT_EQ(end.status, WASM_STATUS_CUSTOM_ENGINE_FAILED) << end.message();
    EXPECT_EQ(b.failures->size(), 1U);
    return b.failures->at(0);
  };
  // Time: far below what the server gives. From the connection, from the transform, and the lower one of these.
  const auto short_time = std::chrono::milliseconds(30);
  we::transform_limits limits;
  for (const bool by_transform : {false, true}) {
    we::remote_config host;
    limits = {};
    if (by_transform) {
      host.record_time_limit_ns = 10'000'000'000;
      limits.record_time = short_time;
    } else {
      host.record_time_limit_ns = 30'000'000;
    }
    const auto failure = dies(host, limits, "loop");
    EXPECT_EQ(failure.status, WASM_STATUS_GUEST_TIMEOUT);
    EXPECT_THAT(failure.message, HasSubstr("30"));
  }
  // A guest with a memory of its own that is too large for the host does not start.
  remote_bench small({.address = s.address(), .memory_limit = 64U << 10}, {.bytes = module("wat_big_memory")});
  EXPECT_EQ(small.start().status, WASM_STATUS_CUSTOM_ENGINE_FAILED);
  ASSERT_FALSE(small.failures->empty());
  const auto& why = small.failures->front().message;
  EXPECT_THAT(why, HasSubstr("memory"));
  // More than the server has is what the server has.
  remote_bench fits({.address = s.address(), .memory_limit = 1U << 30, .record_time_limit_ns = 3'000'000'000'000},
                    {.bytes = module("c_identity")});
  EXPECT_TRUE(copies(fits));
}

TEST(RemoteLimits, OfOneModuleShareItsCode) {
  served s;
  for (const std::uint64_t memory : {1U << 20, 2U << 20, 0U, 1U << 20}) {
    remote_bench b({.address = s.address(), .memory_limit = memory}, {.bytes = module("c_identity")});
    EXPECT_TRUE(copies(b));
  }
  EXPECT_THAT(s.running.metrics(), HasSubstr("wasm_compilations_total 1\n"));
}

TEST(RemoteLimits, OfStreamsAndMemory) {
  for (const bool by_memory : {false, true}) {
    auto config = on_loopback();
    if (by_memory) {
      config.max_memory = 2 * config.memory_limit + 1;
    } else {
      config.max_streams = 2;
    }
    served s(config);
    remote_bench a(s.address(), "c_identity"), b(s.address(), "c_identity"), c(s.address(), "c_identity");
    EXPECT_TRUE(copies(a));
    EXPECT_TRUE(copies(b));
    EXPECT_THAT(start_fails(c, WASM_STATUS_CUSTOM_ENGINE_LOST), HasSubstr("as many engines as it may have"));
    ASSERT_TRUE(succeeded(finish(a.engine.stop())));
    ASSERT_TRUE(eventually([&] { return s.running.streams() == 1; }));
    EXPECT_TRUE(copies(c));
  }
}

TEST(RemoteLimits, OfCompiledTransforms) {
  auto config = on_loopback();
  config.max_modules = 1;
  served s(config);
  auto a = std::make_unique<remote_bench>(s.address(), "c_identity");
  remote_bench b(s.address(), "c_tee");
  EXPECT_TRUE(copies(*a));
  EXPECT_THAT(start_fails(b, WASM_STATUS_CUSTOM_ENGINE_LOST), HasSubstr("as many modules as it may have"));
  a.reset();
  ASSERT_TRUE(eventually([&] { return s.running.streams() == 0; }));
  EXPECT_TRUE(copies(b)) << "one that is not used makes room";
}

TEST(RemoteLimits, OfABatchIsToldWithoutSendingIt) {
  auto config = on_loopback();
  config.max_batch = 10'000;
  served s(config);
  remote_bench b(s.address(), "c_identity");
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  const auto end = b.transform(built({std::string(20'000, 'x')}), out);
  EXPECT_EQ(end.status, WASM_STATUS_CUSTOM_ENGINE_FAILED) << "another try would end in the same way";
  EXPECT_THAT(end.message(), HasSubstr("the server takes 10000"));
  EXPECT_EQ(b.connection.stats().batches, 0U);
  EXPECT_TRUE(copies(b));
}

TEST(RemoteConfig, IsChecked) {
  const auto why = [](we::remote_config c) {
    const auto made = we::remote_connection::create(std::move(c));
    EXPECT_FALSE(made);
    EXPECT_EQ(made.err().status(), WASM_STATUS_INVALID_ARGUMENT);
    return std::string(made.err().what());
  };
  EXPECT_THAT(why({}), HasSubstr("address is empty"));
  EXPECT_THAT(why({.address = "example.com:7070"}), HasSubstr("there is no tls"));
  EXPECT_THAT(why({.address = "127.0.0.1.example.com:7070"}), HasSubstr("there is no tls"));
  EXPECT_THAT(why({.address = "dns:///127.0.0.1:7070"}), HasSubstr("there is no tls"));
  EXPECT_THAT(why({.address = "localhost:1", .tls = we::remote_tls{.ca = "", .certificate = "x", .key = "", .server_name = ""}}),
              HasSubstr("certificate without its key"));
  EXPECT_THAT(why({.address = "localhost:1", .token = "a\nb"}), HasSubstr("line break"));
  EXPECT_THAT(why({.address = "localhost:1", .progress_timeout = 99ms}), HasSubstr("progress_timeout"));
  EXPECT_THAT(why({.address = "localhost:1", .backoff_min = 2s, .backoff_max = 1s}), HasSubstr("backoff"));
  EXPECT_THAT(why({.address = "localhost:1", .window = 0}), HasSubstr("window"));
  EXPECT_TRUE(we::remote_connection::create({.address = "example.com:7070", .allow_plaintext = true}));
  EXPECT_TRUE(we::remote_connection::create({.address = "[::1]:7070"}));
  const auto runtime = we::runtime::create().value();
  const we::remote_connection none;
  EXPECT_EQ(none.create_factory(runtime, with_topics({"out"}), {.name = "x"}).err().status(), WASM_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(none.stats().starts, 0U);
  const auto connection = we::remote_connection::create({.address = "localhost:1"}).value();
  EXPECT_THAT(connection.create_factory(runtime, with_topics({"out"}), {}).err().what(), HasSubstr("neither a name nor bytes"));
}

TEST(RemoteConfig, OfAServerIsChecked) {
  const auto why = [](const std::function<void(server_config&)>& change) -> std::string {
    auto c = on_loopback();
    change(c);
    try {
      const server s(c);
    } catch (const std::exception& e) {
      return e.what();
    }
    return "accepted";
  };
  EXPECT_THAT(why([](auto& c) { c.listen = {}; }), HasSubstr("no address"));
  EXPECT_THAT(why([](auto& c) { c.listen = {"0.0.0.0:0"}; }), HasSubstr("there is no TLS"));
  EXPECT_THAT(why([](auto& c) {
                c.listen = {"0.0.0.0:0"};
                c.tls = we::remote::server_tls{"x", "y", ""};
              }),
              HasSubstr("neither a token nor a certificate"));
  EXPECT_THAT(why([](auto& c) { c.module_directory = "/nowhere"; }), HasSubstr("/nowhere cannot be read"));
  const served s;
  EXPECT_THAT(why([&](auto& c) { c.listen = {s.address()}; }), HasSubstr("cannot listen on"));
}

TEST(RemoteText, OfPeersHasNothingThatTerminalsObey) {
  using we::remote::printable, we::remote::printable_lines;
  EXPECT_EQ(printable("a\x1b[2Jb\tc\nd\r\x7f"), "a?[2Jb c d??") << "one line";
  EXPECT_EQ(printable_lines("a\x1b[2Jb\tc\nd\r\x7f"), "a?[2Jb\tc\nd??");
  EXPECT_EQ(printable("\xc2\x9b" "2J \xc2\x80\xc2\x9f"), "?2J ??") << "C1";
  EXPECT_EQ(printable("\x9b" "2J"), "?2J") << "the same byte where no UTF-8 is spoken";
  EXPECT_EQ(printable("\xc3\xa9 \xc2\xa0 \xe2\x82\xac \xf0\x9f\x98\x80"), "\xc3\xa9 \xc2\xa0 \xe2\x82\xac \xf0\x9f\x98\x80");
  EXPECT_EQ(printable("\xe2\x82"), "??") << "cut";
  EXPECT_EQ(printable("\xc0\x8a\xed\xa0\x80\xf4\x90\x80\x80\xff"), "??????????") << "no characters";
  EXPECT_EQ(printable(std::string("a\0b", 3)), "a?b");
  EXPECT_EQ(we::remote::hex(std::string("\x00\xff", 2)), "00ff");
  EXPECT_EQ(we::remote::hex(we::remote::sha256({})), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_TRUE(we::remote::same_secret("abc", "abc"));
  EXPECT_FALSE(we::remote::same_secret("abc", "abd"));
  EXPECT_FALSE(we::remote::same_secret("abc", "abcabc"));
  EXPECT_FALSE(we::remote::same_secret("abc", ""));
  EXPECT_TRUE(we::remote::same_secret("", ""));
}

}  // namespace
