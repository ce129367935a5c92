// SPDX-License-Identifier: Apache-2.0
//
// Runs the tests of one or more files, as CTest asks for them: --file=policy/restart_test.cc. Without it, all of them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace {

/// `Suite.*` for each suite of the file, colons in between. Each suite has its tests in one file.
std::string suites_of(std::string_view file) {
  const std::string path = "/" + std::string(file);
  const auto& all = *testing::UnitTest::GetInstance();
  std::string filter;
  for (int s = 0; s < all.total_test_suite_count(); ++s) {
    const auto& suite = *all.GetTestSuite(s);
    if (suite.total_test_count() > 0 && std::string_view(suite.GetTestInfo(0)->file()).ends_with(path)) {
      filter += (filter.empty() ? "" : ":") + std::string(suite.name()) + ".*";
    }
  }
  if (filter.empty()) {
    std::fprintf(stderr, "no test in %s\n", path.c_str());
    std::exit(2);
  }
  return filter;
}

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  std::string wanted;
  for (int i = 1; i < argc; ++i) {
    constexpr std::string_view option = "--file=";
    const std::string_view argument = argv[i];
    if (!argument.starts_with(option)) {
      std::fprintf(stderr, "%s: unknown argument\n", argv[i]);
      return 2;
    }
    wanted += (wanted.empty() ? "" : ":") + suites_of(argument.substr(option.size()));
  }
  if (!wanted.empty()) {
    // What is left out by a filter stays left out.
    const std::string before = testing::GTEST_FLAG(filter);
    testing::GTEST_FLAG(filter) = wanted + before.substr(std::min(before.find('-'), before.size()));
  }
  return RUN_ALL_TESTS();
}
