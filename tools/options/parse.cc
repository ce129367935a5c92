// SPDX-License-Identifier: Apache-2.0
#include "../options.hh"
#include "../suggestion.hh"

#include "commands.hh"
#include "values.hh"

#include <array>
#include <string>
#include <vector>

namespace tool {

namespace {

constexpr const char* about = "Runs WebAssembly data transforms on records, outside of a broker.\n";

/// In the order of --help and of the manual page.
constexpr std::array commands = {add_init, add_build, add_test, add_run, add_serve, add_validate, add_inspect, add_precompile, add_ctl};

/// The actions are in the order of `commands`, which is that of the subcommands.
std::vector<action> add_all(CLI::App& app) {
  app.name("wasm-transform");
  app.set_version_flag("--version", std::string(wasm_library_version()));
  app.require_subcommand(1);
  app.footer(exit_codes);
  std::vector<action> actions;
  for (const auto add : commands) {
    actions.push_back(add(app));
  }
  return actions;
}

}  // namespace

void visit_options(const std::function<void(CLI::App&)>& visit) {
  CLI::App app{about};
  (void)add_all(app);
  visit(app);
}

std::optional<action> parse_options(int argc, char** argv) {
  CLI::App app{about};
  const auto actions = add_all(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& e) {
    app.exit(e);
    return std::nullopt;
  } catch (const CLI::ParseError& e) {
    wrong(explain(e, app, argc, argv));
  }
  const auto all = app.get_subcommands(std::function<bool(CLI::App*)>{});
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i]->parsed()) {
      return actions[i];
    }
  }
  wrong("a command is missing");
}

}  // namespace tool
