// SPDX-License-Identifier: Apache-2.0
//
// Modules that are compiled in a process of their own: the same code, limits that hold, an end at any moment, helpers
// that are none.
#include "support/cache.hh"
#include "support/large_module.hh"
#include "support/memory_modes.hh"

#include <gmock/gmock.h>

#include <csignal>
#include <functional>
#include <sstream>

using namespace cache_tests;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

namespace {

constexpr std::string_view compile_helper = WASM_ENGINE_TEST_COMPILE_HELPER;

wasm_runtime_config with_helper(std::string_view program = compile_helper, wasm_runtime_config config = {}) {
  config.compile_helper = we::as_slice(program);
  return config;
}

we::runtime make(const wasm_runtime_config& config) { return we::runtime::create(config).value(); }

/// How a compilation ends.
outcome compiled(const we::runtime& runtime, std::span<const std::uint8_t> bytes) {
  return finish(runtime.compile(bytes, with_topics({"out"})));
}

std::vector<std::uint8_t> artifact(const we::runtime& runtime, std::span<const std::uint8_t> bytes) {
  auto begun = runtime.precompile(bytes).value();
  we::drive(begun).value();
  const auto made = begun.take().value();
  return {made.bytes().begin(), made.bytes().end()};
}

/// A module that takes some seconds.
const std::vector<std::uint8_t>& slow_module() {
  static const auto bytes = enlarged(module("c_identity"), 3'000);
  return bytes;
}

/// The helpers of this process that have not ended.
std::vector<pid_t> helpers() {
  std::vector<pid_t> found;
  for (const auto& process : fs::directory_iterator("/proc")) {
    std::ifstream stat(process.path() / "stat");
    std::string text;
    std::getline(stat, text);
    const auto end = text.rfind(')');
    char state = 0;
    pid_t parent = 0;
    if (end == std::string::npos || !(std::istringstream(text.substr(end + 1)) >> state >> parent)) {
      continue;
    }
    if (parent == ::getpid() && state != 'Z' && text.find("(wasm-compile-he)") != std::string::npos) {
      found.push_back(std::stoi(process.path().filename()));
    }
  }
  return found;
}

bool becomes_true(const std::function<bool()>& what) {
  for (const auto end = std::chrono::steady_clock::now() + patience; !what();) {
    if (std::chrono::steady_clock::now() > end) {
      return false;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

/// A helper that is a shell script.
struct script {
  explicit script(const std::string& body) {
    std::ofstream(path) << "#!/bin/sh\n" << body << "\n";
    fs::permissions(path, fs::perms::owner_all);
  }
  scratch directory;
  std::string path = directory.root / "wasm-compile-helper";
};

// ---- The same code ----

class HelperInMode : public testing::TestWithParam<memory_modes::mode> {};

/// A function of the host that may wait, for t_later.
void add_later(const we::runtime& runtime) {
  we::host_module host("host");
  host.add("later", [](std::int64_t, we::later<std::int64_t> answer) { (void)answer.resolve(42); });
  runtime.add(host).value();
}

TEST_P(HelperInMode, MakesTheArtifactThatTheLibraryMakes) {
  const auto config = GetParam().config();
  const auto with = memory_modes::exactly(with_helper(compile_helper, config)).value();
  const auto without = memory_modes::exactly(config).value();
  add_later(with);
  add_later(without);
  for (const auto* guest : {"c_identity", "t_later"}) {
    EXPECT_EQ(artifact(with, module(guest)), artifact(without, module(guest))) << guest;
  }
  EXPECT_THAT(helpers(), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(All, HelperInMode, testing::ValuesIn(memory_modes::every_mode), memory_modes::name_of);

TEST(CompileHelper, KeepsTheLinesOfTheSource) {
  wasm_runtime_config config{};
  config.debug_info = 1;
  for (const auto* guest : {"debug_lines_5", "c_identity"}) {
    const auto with = artifact(make(with_helper(compile_helper, config)), module(guest));
    EXPECT_EQ(with, artifact(make(config), module(guest))) << guest;
    EXPECT_EQ(with == artifact(make({}), module(guest)), guest == std::string_view("c_identity"));
  }
}

TEST(CompileHelper, MakesCodeThatRuns) {
  const auto runtime = make(with_helper());
  for (const auto* guest : {"c_identity", "rust_identity"}) {
    auto engine = we::engine::create(compile(runtime, guest)).value();
    EXPECT_THAT(run(engine), ElementsAre("one", "", "three"));
  }
  EXPECT_EQ(we::runtime_metrics(runtime).value().compilations, 2U);
}

TEST(CompileHelper, FillsTheCodeCache) {
  scratch dir;
  for (const bool first : {true, false}) {
    cached c(dir.cache, 0, with_helper());
    auto engine = c.engine("c_identity");
    EXPECT_THAT(run(engine), ElementsAre("one", "", "three"));
    EXPECT_EQ(c.stats(), first ? (counts{0, 1, 1, 0, 0}) : (counts{1, 0, 0, 0, 0}));
  }
}

TEST(CompileHelper, RefusesModulesAsTheLibraryDoes) {
  const auto with = make(with_helper());
  const auto without = make({});
  auto cut = module("c_identity");
  cut.resize(cut.size() - 1);
  for (const auto& bytes : {cut, kafka::bytes{}, module("wat_start_trap")}) {
    const auto theirs = compiled(with, bytes);
    const auto ours = compiled(without, bytes);
    EXPECT_EQ(theirs.status, ours.status);
    EXPECT_EQ(theirs.message(), ours.message());
  }
}

// ---- Limits ----

TEST(CompileHelper, EndsAModuleThatTakesTooLong) {
  wasm_runtime_config config{};
  config.compile_time_limit_ns = 50'000'000;
  const auto runtime = make(with_helper(compile_helper, config));
  const auto refused = compiled(runtime, slow_module());
  EXPECT_EQ(refused.status, WASM_STATUS_MODULE_COMPILE_LIMIT);
  EXPECT_THAT(refused.message(), AllOf(HasSubstr("compile_time_limit_ns"), HasSubstr("50ms")));
  EXPECT_EQ(compiled(runtime, module("wat_start_trap")).status, WASM_STATUS_OK) << "a small one is within the limit";
  EXPECT_EQ(we::runtime_metrics(runtime).value().compilations_failed, 1U);
}

TEST(CompileHelper, EndsAModuleThatTakesTooMuchMemory) {
  const auto bomb = enlarged(module("c_identity"), 12'000);
  wasm_runtime_config config{};
  config.compile_limit_factor = UINT32_MAX;
  config.compile_memory_limit = 64 << 20;
  const auto runtime = make(with_helper(compile_helper, config));
  const auto refused = compiled(runtime, bomb);
  EXPECT_EQ(refused.status, WASM_STATUS_MODULE_COMPILE_LIMIT);
  EXPECT_THAT(refused.message(), AllOf(HasSubstr("compile_memory_limit"), HasSubstr("67108864 bytes")));
  EXPECT_EQ(compiled(runtime, module("c_identity")).status, WASM_STATUS_OK) << "the next one is not concerned";
}

// ---- Giving up ----

TEST(CompileHelper, EndsWhenTheFutureIsReleased) {
  const auto runtime = make(with_helper());
  for (int round = 0; round < 10; ++round) {
    auto begun = runtime.compile(slow_module(), with_topics({"out"})).value();
    // At once, while it starts, and in the middle.
    std::this_thread::sleep_for(std::chrono::milliseconds(5 * round));
    if (round == 9) {
      ASSERT_TRUE(becomes_true([] { return helpers().size() == 1; }));
    }
    begun = {};
    EXPECT_TRUE(becomes_true([] { return helpers().empty(); }));
  }
  EXPECT_EQ(compiled(runtime, module("c_identity")).status, WASM_STATUS_OK);
}

TEST(CompileHelper, ASmallModuleDoesNotWaitForOneThatWasGivenUp) {
  for (const bool in_a_process : {true, false}) {
    const auto runtime = make(in_a_process ? with_helper() : wasm_runtime_config{});
    auto bomb = runtime.compile(enlarged(module("c_identity"), 10'000), with_topics({"out"})).value();
    auto small = runtime.compile(module("wat_start_trap"), with_topics({"out"})).value();
    const wasm_waker none{};
    EXPECT_EQ(small.poll(&none).value(), WASM_POLL_PENDING);
    bomb = {};
    EXPECT_EQ(finish(small).status, WASM_STATUS_OK);
  }
}

TEST(CompileHelper, WhoeverAsksAgainGetsTheFactory) {
  const auto runtime = make(with_helper());
  const auto cache = we::factory_cache::create(runtime).value();
  const auto small = enlarged(module("c_identity"), 100);
  for (int round = 0; round < 20; ++round) {
    const auto key = std::to_string(round);
    auto first = cache.get(key, small, with_topics({"out"})).value();
    std::this_thread::sleep_for(std::chrono::milliseconds(3 * round));
    first = {};
    auto second = cache.get(key, small, with_topics({"out"}));
    const auto ended = finish(std::move(second));
    EXPECT_EQ(ended.status, WASM_STATUS_OK) << ended.message();
  }
}

TEST(CompileHelper, EndsWithItsHost) {
  // In a child, which is killed.
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const auto bytes = slow_module();
  const pid_t host = ::fork();
  if (host == 0) {
    const auto runtime = make(with_helper());
    auto begun = runtime.compile(bytes, with_topics({"out"})).value();
    if (becomes_true([] { return helpers().size() == 1; })) {
      const pid_t helper_pid = helpers()[0];
      (void)!::write(ends[1], &helper_pid, sizeof helper_pid);
    }
    ::pause();
    ::_exit(1);
  }
  pid_t helper_pid = 0;
  ASSERT_EQ(::read(ends[0], &helper_pid, sizeof helper_pid), static_cast<ssize_t>(sizeof helper_pid));
  ::kill(host, SIGKILL);
  ::waitpid(host, nullptr, 0);
  EXPECT_TRUE(becomes_true([&] { return ::kill(helper_pid, 0) != 0; }));
  ::close(ends[0]);
  ::close(ends[1]);
}

// ---- What the helper has ----

TEST(CompileHelper, HasNothingOfItsHost) {
  const script spy("readlink /proc/$$/fd/* > \"$0.fds\"; env > \"$0.env\"; exit 3");
  ::setenv("WASM_ENGINE_TEST_SECRET", "secret", 1);
  const int leaked = ::open("/dev/null", O_RDONLY);
  const auto failed = compiled(make(with_helper(spy.path)), module("c_identity"));
  ::close(leaked);
  EXPECT_EQ(failed.status, WASM_STATUS_COMPILE_HELPER_FAILED);
  const auto text = [&](const char* suffix) {
    const auto bytes = cache_tests::read(spy.path + suffix);
    return std::string(bytes.begin(), bytes.end());
  };
  EXPECT_THAT(text(".env"), testing::Not(HasSubstr("secret")));
  EXPECT_THAT(text(".fds"), HasSubstr("socket:"));
}

TEST(CompileHelper, GivesUpWhatItInherits) {
  const auto runtime = make(with_helper());
  const int leaked = ::open("/dev/null", O_RDONLY);
  auto begun = runtime.compile(slow_module(), with_topics({"out"})).value();
  const auto descriptors = [] {
    const auto all = helpers();
    std::error_code none;
    return all.empty() ? std::ptrdiff_t{-1}
                       : std::distance(fs::directory_iterator("/proc/" + std::to_string(all[0]) + "/fd", none), {});
  };
  // Socket, output and error.
  EXPECT_TRUE(becomes_true([&] { return descriptors() == 3; })) << descriptors();
  ::close(leaked);
}

// ---- Helpers that are none ----

TEST(CompileHelper, IsLookedForWhenTheRuntimeIsMade) {
  const auto refusal = [](std::string_view program) {
    auto made = we::runtime::create(with_helper(program));
    return made ? std::string("made") : std::string(made.err().status_name()) + ": " + made.err().what();
  };
  EXPECT_THAT(refusal("wasm-compile-helper"), HasSubstr("invalid-argument: config field compile_helper is"));
  EXPECT_THAT(refusal("wasm-compile-helper"), HasSubstr("must be absolute"));
  EXPECT_THAT(refusal("/nowhere/helper"), HasSubstr("No such file"));
  EXPECT_THAT(refusal("/tmp"), HasSubstr("this is no file"));
  EXPECT_THAT(refusal("/etc/passwd"), HasSubstr("ermission denied"));
  wasm_runtime_config config{};
  config.compile_memory_limit = 1 << 20;
  EXPECT_THAT(we::runtime::create(with_helper(compile_helper, config)).err().what(), HasSubstr("compile_memory_limit"));
  config = {};
  config.compile_time_limit_ns = 1;
  EXPECT_THAT(we::runtime::create(with_helper(compile_helper, config)).err().what(), HasSubstr("compile_time_limit_ns"));
}

TEST(CompileHelper, ThatCannotDoItsWorkIsNamed) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"exit 0", "ended with exit code 0"},
      {"exit 127", "as if its library was not found"},
      {"kill -9 $$", "was killed"},
      {"kill -11 $$", "ended by signal 11"},
      {"head -c 100 >/dev/null; exit 5", "ended with exit code 5"},
      {"echo nonsense that is longer than the beginning of a reply >&0; exec sleep 60", "no such message"},
      {"printf '\\303wasmrep\\75\\0\\0\\0\\0\\0\\0\\0\\3\\0\\0\\0\\0\\0\\0\\0abc' >&0; exec sleep 60", "wrong status 61: abc"},
      {"printf '\\303wasmrep\\0\\0\\0\\0\\0\\0\\0\\0\\377\\377\\377\\377\\377\\377\\377\\377' >&0; exec sleep 60", "too long"},
      {"printf '\\303wasmrep\\0\\0\\0\\0\\0\\0\\0\\0\\3\\0\\0\\0\\0\\0\\0\\0abc' >&0; exec sleep 60", "no artifact"},
      {"printf '\\303wasmrep\\347\\3\\0\\0\\0\\0\\0\\0\\3\\0\\0\\0\\0\\0\\0\\0abc' >&0; exec sleep 60", "wrong status 999: abc"},
  };
  for (const auto& [body, what] : cases) {
    const script wrong(body);
    const auto failed = compiled(make(with_helper(wrong.path)), module("c_identity"));
    EXPECT_EQ(failed.status, WASM_STATUS_COMPILE_HELPER_FAILED) << body;
    EXPECT_THAT(failed.message(), AllOf(HasSubstr(wrong.path), HasSubstr(what))) << body;
  }
  script gone("exit 0");
  const auto runtime = make(with_helper(gone.path));
  fs::remove(gone.path);
  const auto failed = compiled(runtime, module("c_identity"));
  EXPECT_EQ(failed.status, WASM_STATUS_COMPILE_HELPER_FAILED);
  EXPECT_THAT(failed.message(), HasSubstr("could not be started: No such file"));
}

TEST(CompileHelper, AHostMayWaitForItsChildrenItself) {
  struct sigaction ignore{};
  struct sigaction before{};
  ignore.sa_handler = SIG_IGN;
  ASSERT_EQ(::sigaction(SIGCHLD, &ignore, &before), 0);
  const auto runtime = make(with_helper());
  EXPECT_EQ(compiled(runtime, module("c_identity")).status, WASM_STATUS_OK);
  const script wrong("exit 5");
  EXPECT_THAT(compiled(make(with_helper(wrong.path)), module("c_identity")).message(), HasSubstr("has taken its exit status"));
  ASSERT_EQ(::sigaction(SIGCHLD, &before, nullptr), 0);
}

TEST(CompileHelper, SaysThatItIsNotForTerminals) {
  const auto path = std::string(compile_helper) + " </dev/null 2>&1";
  FILE* output = ::popen(path.c_str(), "r");
  ASSERT_NE(output, nullptr);
  char text[200] = "";
  EXPECT_NE(std::fgets(text, sizeof text, output), nullptr);
  EXPECT_EQ(::pclose(output), 2 << 8);
  EXPECT_THAT(text, HasSubstr("compile_helper of wasm_runtime_config"));
}

}  // namespace
