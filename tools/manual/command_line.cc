// SPDX-License-Identifier: Apache-2.0
#include "command_line.hh"

#include "../options.hh"

#include <CLI/CLI.hpp>

namespace tool {

namespace {

option read(CLI::Option& from) {
  option to;
  for (const auto& name : from.get_lnames()) {
    to.names.push_back("--" + name);
  }
  for (const auto& name : from.get_snames()) {
    to.names.push_back("-" + name);
  }
  if (from.get_positional()) {
    to.names = {from.get_name(true)};
  }
  to.text = from.get_items_expected_max() == 0 ? "" : from.get_option_text();
  to.description = from.get_description();
  to.required = from.get_required();
  try {
    // `one_of` names its validator after what it allows.
    const auto allowed = CLI::detail::split(from.get_validator(0)->get_name(), '|');
    if (allowed.size() > 1) {
      to.values = allowed;
    }
  } catch (const CLI::OptionNotFound&) {  // no validator
  }
  return to;
}

command read(CLI::App& from) {
  command to;
  to.name = from.get_name();
  to.description = from.get_description();
  to.footer = from.get_footer();
  for (auto* one : from.get_options({})) {
    (one->get_positional() ? to.arguments : to.options).push_back(read(*one));
  }
  return to;
}

}  // namespace

command_line read_command_line() {
  command_line line;
  visit_options([&line](CLI::App& app) {
    line.tool = read(app);
    for (auto* subcommand : app.get_subcommands(std::function<bool(CLI::App*)>{})) {
      line.commands.push_back(read(*subcommand));
    }
  });
  return line;
}

}  // namespace tool
