// SPDX-License-Identifier: Apache-2.0
//
// examples/cpp_remote prints the same wherever its guest runs.
#include "support.hh"

#include <array>
#include <cstdio>

using namespace remote_tests;
using testing::HasSubstr;

namespace {

std::string run(const std::string& address, const std::string& values) {
  const auto command = std::string(REMOTE_TEST_EXAMPLE) + " " + WASM_ENGINE_TEST_GUESTS + "/c_tee.wasm '" + address + "' " + values + " 2>&1";
  std::string out;
  FILE* const pipe = ::popen(command.c_str(), "r");
  std::array<char, 4096> some{};
  for (std::size_t got = 0; (got = std::fread(some.data(), 1, some.size(), pipe)) > 0;) {
    out.append(some.data(), got);
  }
  return std::to_string(::pclose(pipe)) + " " + out;
}

TEST(RemoteExample, PrintsTheSameHereAndThere) {
  server_process server;
  EXPECT_EQ(run("", "'2 twice' '1 once'"), "0 2 twice\n2 twice\n1 once\n");
  EXPECT_EQ(run(server.address(), "'2 twice' '1 once'"), "0 2 twice\n2 twice\n1 once\n");
  server.kill();
  EXPECT_THAT(run(server.address(), "'1 once'"), HasSubstr("Connection refused"));
}

}  // namespace
