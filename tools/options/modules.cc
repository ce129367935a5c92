// SPDX-License-Identifier: Apache-2.0
//
// Options of the commands about one module.
#include "commands.hh"
#include "values.hh"

#include "../inspect.hh"
#include "../precompile.hh"
#include "../validate.hh"

#include <fmt/format.h>

#include <memory>

namespace tool {

namespace {

constexpr const char* about_precompile =
    "The file is for this version of wasm-transform and for processors with at least the features of this one. `run`\n"
    "refuses it elsewhere. It is machine code: anyone who can change it can run any code as the user who runs it.\n"
    "\n";

}  // namespace

action add_validate(CLI::App& app) {
  auto& command = *app.add_subcommand("validate", "Validates a module: whether it would be accepted and if not, why.");
  auto o = std::make_shared<validate_options>();
  add_guest(command, o->guest);
  add_memory_limit(command, o->memory_limit);
  add_rights(command, o->allowed);
  command.footer(exit_codes);
  return [o] { validate(*o); };
}

action add_inspect(CLI::App& app) {
  auto& command = *app.add_subcommand("inspect", "Describes a module, also one that would be refused.");
  auto o = std::make_shared<inspect_options>();
  add_guest(command, o->guest);
  command.add_flag("--json", o->json, "As JSON");
  command.footer(exit_codes);
  return [o] { inspect(*o); };
}

action add_precompile(CLI::App& app) {
  auto& command = *app.add_subcommand("precompile", "Compiles a module to a file that `run` starts at once.");
  auto o = std::make_shared<precompile_options>();
  add_guest(command, o->guest);
  command.add_option("--output,-o", o->output, "The compiled module, such as transform.cwasm")
      ->required()
      ->option_text("FILE");
  add_memory_limit(command, o->memory_limit);
  add_compile_helper(command, o->compile_helper);
  command.footer(std::string(about_precompile) + exit_codes);
  return [o] {
    if (!o->output.ends_with(compiled_suffix)) {
      wrong(fmt::format("--output must end with {}, by which `run` knows compiled modules", compiled_suffix));
    }
    precompile(*o);
  };
}

}  // namespace tool
