// SPDX-License-Identifier: Apache-2.0
//
// Caches in trouble: directories that cannot be used, entries that cannot be trusted, disks that are full. None of it
// makes a compilation fail. Tests run as root, too, whom permissions do not stop; see code_cache_helper.cc for how it
// is done then.
#include "support/cache.hh"

#include <gmock/gmock.h>

#include <csignal>

using namespace cache_tests;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::ElementsAre;
using testing::SizeIs;

namespace {

// ---- Directories that are refused ----

void expect_unusable(const we::runtime& runtime, const fs::path& path, const std::string& why) {
  const auto set = runtime.set_code_cache({path.string()});
  ASSERT_FALSE(set) << path;
  EXPECT_EQ(set.err().status(), WASM_STATUS_CODE_CACHE_UNUSABLE);
  EXPECT_STREQ(set.err().status_name(), "code-cache-unusable");
  EXPECT_THAT(set.err().what(), AllOf(HasSubstr(path.string()), HasSubstr(why)));
}

TEST(CacheDirectory, ThatCannotBeUsedIsRefusedAndAnotherCanBeTried) {
  scratch dir;
  const auto runtime = we::runtime::create().value();
  expect_unusable(runtime, dir.root / "a" / "b", "Create it beforehand");
  write(dir.root / "file", {});
  expect_unusable(runtime, dir.root / "file", "cannot be opened");
  expect_unusable(runtime, dir.root / "file" / "below", "cannot be reached");
  fs::create_directory(dir.root / "open");
  for (const mode_t mode : {0777, 0770, 0702, 01777}) {
    ::chmod((dir.root / "open").c_str(), mode);
    expect_unusable(runtime, dir.root / "open", "chmod go-w");
  }
  fs::create_directory(dir.root / "open" / "cache");
  ::chmod((dir.root / "open").c_str(), 0777);
  expect_unusable(runtime, dir.root / "open" / "cache", "above");
  EXPECT_TRUE(runtime.set_code_cache({dir.cache.string()}));
  compile(runtime, "c_identity");
  EXPECT_EQ(we::runtime_metrics(runtime).value().code_cache_stores, 1U);
}

TEST(CacheDirectory, OfAnotherUserIsRefused) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "only root can give a directory away";
  }
  scratch dir;
  fs::create_directory(dir.cache);
  ASSERT_EQ(::chown(dir.cache.c_str(), 12345, 12345), 0);
  expect_unusable(we::runtime::create().value(), dir.cache, "belongs to user 12345");
}

TEST(CacheDirectory, IsMadeForThisUserAlone) {
  scratch dir;
  const cached c(dir.cache);
  struct stat status {};
  ASSERT_EQ(::stat(dir.cache.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0700U);
  compile(c.runtime, "c_identity");
  ASSERT_EQ(::stat(dir.entry().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600U);
}

// ---- Entries that are ignored and replaced ----

/// After this was done to the entry, it is compiled again, and the entry is as before.
void expect_replaced(scratch& dir, const kafka::bytes& good, const std::string& what) {
  const auto entry = dir.entry();
  const cached c(dir.cache);
  auto engine = c.engine("c_identity");
  EXPECT_EQ(c.stats(), (counts{0, 1, 1, 1, 0})) << what;
  EXPECT_THAT(run(engine), SizeIs(3)) << what;
  EXPECT_EQ(read(entry), good) << what;
  // Else its code would be that of the next factory.
  engine = {};
  compile(c.runtime, "c_identity");
  EXPECT_EQ(c.stats().hits, 1U) << what;
}

TEST(CacheEntry, DamagedIsReplaced) {
  scratch dir;
  compile(cached(dir.cache).runtime, "c_identity");
  const auto good = read(dir.entry());
  ASSERT_GT(good.size(), 4096U);
  for (std::size_t at = 0; at < good.size(); at += at < 56 ? 1 : 1999) {
    auto bytes = good;
    bytes[at] ^= 0x01;
    write(dir.entry(), bytes);
    expect_replaced(dir, good, "byte " + std::to_string(at));
  }
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{8}, std::size_t{56}, good.size() - 1}) {
    write(dir.entry(), {good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size)});
    expect_replaced(dir, good, std::to_string(size) + " bytes");
  }
  auto longer = good;
  longer.push_back(0);
  write(dir.entry(), longer);
  expect_replaced(dir, good, "a byte too many");
}

TEST(CacheEntry, OfAnotherModuleIsReplaced) {
  scratch dir;
  scratch other;
  compile(cached(dir.cache).runtime, "c_identity");
  compile(cached(other.cache).runtime, "c_tee");
  const auto good = read(dir.entry());
  write(dir.entry(), read(other.entry()));
  expect_replaced(dir, good, "a renamed entry");
}

TEST(CacheEntry, ThatOthersCouldHaveWrittenIsNotRun) {
  scratch dir;
  compile(cached(dir.cache).runtime, "c_identity");
  const auto entry = dir.entry();
  const auto good = read(entry);
  ::chmod(entry.c_str(), 0620);
  expect_replaced(dir, good, "writable by its group");
  fs::rename(entry, dir.root / "elsewhere");
  fs::create_symlink(dir.root / "elsewhere", entry);
  expect_replaced(dir, good, "a symbolic link");
  EXPECT_TRUE(fs::is_regular_file(fs::symlink_status(entry)));
  EXPECT_EQ(read(dir.root / "elsewhere"), good) << "what the link names was not touched";
  if (::geteuid() == 0) {
    ASSERT_EQ(::chown(entry.c_str(), 12345, 0), 0);
    expect_replaced(dir, good, "another user's");
  }
}

// ---- Trouble on the way ----

TEST(CacheTrouble, ADirectoryThatVanishesIsToldOnceAndComesBack) {
  scratch dir;
  const cached c(dir.cache);
  compile(c.runtime, "c_identity");
  fs::remove_all(dir.cache);
  auto engine = c.engine("c_identity");
  EXPECT_THAT(run(engine), SizeIs(3));
  // Looked for, and not stored.
  EXPECT_EQ(c.stats(), (counts{0, 2, 1, 0, 2}));
  engine = {};
  write(dir.cache, {});
  compile(c.runtime, "c_identity");
  EXPECT_EQ(c.stats(), (counts{0, 3, 1, 0, 4})) << "a file in its place is no better";
  const auto lines = c.log->all();
  ASSERT_THAT(lines, SizeIs(1)) << "once in a while";
  EXPECT_EQ(lines[0].severity, WASM_LOG_SEVERITY_WARN);
  EXPECT_EQ(lines[0].transform, "tested");
  EXPECT_THAT(lines[0].text, AllOf(HasSubstr(dir.cache.string()), HasSubstr("Modules are compiled without it")));
  fs::remove(dir.cache);
  fs::create_directory(dir.cache);
  ::chmod(dir.cache.c_str(), 0700);
  compile(c.runtime, "c_identity");
  compile(c.runtime, "c_identity");
  EXPECT_EQ(c.stats(), (counts{1, 4, 2, 0, 4}));
}

TEST(CacheTrouble, ADirectoryThatOthersMayWriteToFromNowOn) {
  scratch dir;
  const cached c(dir.cache);
  compile(c.runtime, "c_identity");
  ::chmod(dir.cache.c_str(), 0777);
  compile(c.runtime, "c_identity");
  EXPECT_EQ(c.stats(), (counts{0, 2, 1, 0, 2})) << "nothing in it is believed, and nothing put there";
  EXPECT_THAT(c.warnings(), ElementsAre(HasSubstr("chmod go-w")));
}

TEST(CacheTrouble, AFullDisk) {
  scratch dir;
  helper full({dir.cache, "1", guest_path("c_identity"), "file-limit=1000"});
  EXPECT_EQ(full.counted(), (counts{0, 1, 0, 0, 1}));
  EXPECT_THAT(full.text, HasSubstr("no entry could be written to " + dir.cache.string() + ": File too large"));
  EXPECT_THAT(dir.files(), IsEmpty()) << "what was half written is removed";
  helper again({dir.cache, "2", guest_path("c_identity")});
  EXPECT_EQ(again.counted(), (counts{1, 1, 1, 0, 0}));
}

/// A helper whose directory is on a small file system of its own.
std::unique_ptr<helper> on_mount(const scratch& dir, std::vector<std::string> options) {
  fs::create_directory(dir.cache);
  ::chmod(dir.cache.c_str(), 0700);
  options.insert(options.begin() + 1, guest_path("c_identity"));
  options.insert(options.begin(), dir.cache);
  auto out = std::make_unique<helper>(std::move(options));
  return WEXITSTATUS(out->end()) == 77 ? nullptr : std::move(out);
}

TEST(CacheTrouble, AFileSystemWithoutRoom) {
  scratch dir;
  const auto full = on_mount(dir, {"2", "mount=size=8k"});
  if (!full) {
    GTEST_SKIP() << "only whoever may mount can have a file system of their own";
  }
  EXPECT_EQ(full->counted(), (counts{0, 2, 0, 0, 2}));
  EXPECT_THAT(full->text, HasSubstr("No space left on device"));
  EXPECT_THAT(full->text, Not(HasSubstr("has "))) << "what was half written is removed";
}

TEST(CacheTrouble, AFileSystemWithoutRoomForAnotherFile) {
  scratch dir;
  const auto full = on_mount(dir, {"1", "mount=nr_inodes=10", "fill"});
  if (!full) {
    GTEST_SKIP() << "only whoever may mount can have a file system of their own";
  }
  EXPECT_EQ(full->counted(), (counts{0, 1, 0, 0, 1}));
  EXPECT_THAT(full->text, HasSubstr("No space left on device"));
}

TEST(CacheTrouble, AFileSystemThatBecomesReadOnly) {
  scratch dir;
  const auto unable = on_mount(dir, {"1", "mount=size=1m", "remount=1"});
  if (!unable) {
    GTEST_SKIP() << "only whoever may mount can have a file system of their own";
  }
  EXPECT_EQ(unable->counted(), (counts{0, 1, 0, 0, 1}));
  EXPECT_THAT(unable->text, HasSubstr("Read-only file system"));
  scratch another;
  const auto later = on_mount(another, {"2", "mount=size=1m", "remount=2"});
  EXPECT_EQ(later->counted(), (counts{1, 1, 1, 0, 0})) << "what is there can still be used";
  EXPECT_THAT(later->text, HasSubstr("has .cwasm"));
}

TEST(CacheTrouble, ADirectoryThatIsReadOnly) {
  scratch dir;
  std::vector<std::string> arguments{dir.cache, "1", guest_path("c_identity"), "read-only"};
  fs::create_directory(dir.cache);
  ::chmod(dir.cache.c_str(), 0700);
  if (::geteuid() == 0) {
    ASSERT_EQ(::chown(dir.cache.c_str(), 65534, 65534), 0);
    arguments.emplace_back("user=65534");
  }
  helper unable(arguments);
  EXPECT_EQ(unable.counted(), (counts{0, 1, 0, 0, 1}));
  EXPECT_THAT(unable.text, HasSubstr("no entry could be written to " + dir.cache.string() + ": Permission denied"));
  // What is there can still be used.
  ::chmod(dir.cache.c_str(), 0700);
  arguments.erase(arguments.begin() + 3);
  EXPECT_EQ(helper(arguments).counted(), (counts{0, 1, 1, 0, 0}));
  arguments.emplace_back("read-only");
  EXPECT_EQ(helper(arguments).counted(), (counts{1, 0, 0, 0, 0}));
  ::chmod(dir.cache.c_str(), 0700);
}

// ---- Several processes ----

TEST(CacheProcesses, AWriterThatDiesLeavesNothingForLong) {
  scratch dir;
  helper dies({dir.cache, "1", guest_path("c_identity"), "file-limit=1000", "die"});
  const int status = dies.end();
  ASSERT_TRUE(WIFSIGNALED(status)) << dies.text;
  EXPECT_EQ(WTERMSIG(status), SIGXFSZ);
  ASSERT_THAT(dir.files(), SizeIs(1)) << "it died while it wrote";
  EXPECT_EQ(dir.files()[0].extension(), ".tmp");
  EXPECT_EQ(fs::file_size(dir.files()[0]), 1000U);
  compile(cached(dir.cache).runtime, "c_identity");
  EXPECT_EQ(dir.entry().extension(), ".cwasm");
}

TEST(CacheProcesses, RaceForOneEntry) {
  scratch dir;
  fs::create_directory(dir.cache);
  ::chmod(dir.cache.c_str(), 0700);
  constexpr std::uint64_t times = 20;
  std::vector<std::unique_ptr<helper>> racing;
  for (int n = 0; n < 3; ++n) {
    racing.push_back(std::make_unique<helper>(
        std::vector<std::string>{dir.cache, std::to_string(times), guest_path("c_identity")}));
  }
  std::uint64_t hits = 0;
  for (auto& process : racing) {
    const auto c = process->counted();
    EXPECT_EQ(c.hits + c.misses, times);
    EXPECT_EQ(c.misses, c.stores);
    EXPECT_EQ(c.rejected + c.faults, 0U) << process->text;
    hits += c.hits;
  }
  EXPECT_GE(hits, 3 * (times - 1)) << "each compiles once at most";
  EXPECT_EQ(dir.entry().extension(), ".cwasm");
}

TEST(CacheProcesses, ThreadsOfOneRace) {
  scratch dir;
  // Runtimes share no code.
  std::vector<cached> all;
  std::vector<we::compilation> going_on;
  for (int n = 0; n < 16; ++n) {
    all.emplace_back(dir.cache);
    going_on.push_back(all.back().runtime.compile(module("c_identity"), with_topics({"out"})).value());
  }
  for (auto& compilation : going_on) {
    EXPECT_TRUE(succeeded(finish(compilation)));
  }
  counts counted{};
  for (const auto& c : all) {
    const auto one = c.stats();
    EXPECT_EQ(one.misses, one.stores);
    EXPECT_EQ(one.rejected + one.faults, 0U);
    counted.hits += one.hits;
    counted.misses += one.misses;
  }
  EXPECT_EQ(counted.hits + counted.misses, 16U);
  const auto before = all[0].stats().hits;
  compile(all[0].runtime, "c_identity");
  EXPECT_EQ(all[0].stats().hits, before + 1);
  EXPECT_EQ(dir.entry().extension(), ".cwasm");
}

}  // namespace
