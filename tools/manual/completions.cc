// SPDX-License-Identifier: Apache-2.0
#include "completions.hh"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace tool {

namespace {

std::vector<std::string> names(const std::vector<option>& options) {
  std::vector<std::string> all;
  for (const auto& one : options) {
    all.insert(all.end(), one.names.begin(), one.names.end());
  }
  return all;
}

std::vector<std::string> names(const std::vector<command>& commands) {
  std::vector<std::string> all;
  for (const auto& command : commands) {
    all.push_back(command.name);
  }
  return all;
}

std::string replaced(std::string text, const std::string& what, const std::string& with) {
  for (auto at = text.find(what); at != text.npos; at = text.find(what, at + with.size())) {
    text.replace(at, what.size(), with);
  }
  return text;
}

// ---- bash ----

void add_bash_values(std::string& script, const std::string& command, const option& one) {
  if (one.text.empty()) {
    return;
  }
  std::vector<std::string> patterns;
  for (const auto& name : one.names) {
    patterns.push_back(fmt::format("'{} {}'", command, name));
  }
  std::string words = "COMPREPLY=()";  // any text
  if (!one.values.empty()) {
    words = fmt::format("_wasm_transform_reply -W '{}'", fmt::join(one.values, " "));
  } else if (one.takes_file()) {
    words = "_wasm_transform_reply -f";
  } else if (one.takes_directory()) {
    words = "_wasm_transform_reply -d";
  }
  script += fmt::format("    {}) {}; return ;;\n", fmt::join(patterns, " | "), words);
}

constexpr const char* bash_begin = R"(# Completions of wasm-transform for bash.
_wasm_transform_reply() { # COMPGEN_OPTION...
  case $1 in -f | -d) compopt -o filenames ;; esac
  mapfile -t COMPREPLY < <(compgen "$@" -- "$cur")
}

_wasm_transform() {
  local cur=${COMP_WORDS[COMP_CWORD]} before=$((COMP_CWORD - 1)) command='' i
  # --option=value is three words.
  [[ $cur != = ]] || cur=''
  [[ ${COMP_WORDS[before]} != = ]] || before=$((before - 1))
  for ((i = 1; i < COMP_CWORD; i++)); do
)";

// ---- zsh ----

/// In quotes of the shell, where _arguments also has a language of its own.
std::string zsh_quoted(const std::string& text) {
  std::string out = text;
  for (const char* special : {"\\", "[", "]", ":"}) {
    out = replaced(out, special, std::string("\\") + special);
  }
  return replaced(out, "'", "'\\''");
}

std::string zsh_action(const option& one) {
  const auto label = zsh_quoted(one.text);
  if (!one.values.empty()) {
    return fmt::format(":{}:({})", label, fmt::join(one.values, " "));
  }
  if (one.takes_file()) {
    return fmt::format(":{}:_files", label);
  }
  return one.takes_directory() ? fmt::format(":{}:_directories", label) : fmt::format(":{}: ", label);
}

std::string zsh_option(const option& one) {
  std::vector<std::string> forms;
  for (const auto& name : one.names) {
    // The value is a word of its own, or follows: `--output=FILE`, `-oFILE`.
    const char* suffix = one.text.empty() ? "" : name.starts_with("--") ? "=" : "+";
    forms.push_back(name + suffix);
  }
  const auto spec = fmt::format("[{}]{}", zsh_quoted(one.description), one.text.empty() ? "" : zsh_action(one));
  if (forms.size() == 1) {
    return fmt::format("'{}{}'", forms.front(), spec);
  }
  return fmt::format("'({})'{{{}}}'{}'", fmt::join(one.names, " "), fmt::join(forms, ","), spec);
}

// ---- fish ----

std::string fish_quoted(const std::string& text) { return replaced(replaced(text, "\\", "\\\\"), "'", "\\'"); }

std::string fish_option(const option& one) {
  std::string line;
  for (const auto& name : one.names) {
    line += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
  }
  if (!one.values.empty()) {
    line += fmt::format(" -x -a '{}'", fmt::join(one.values, " "));
  } else if (one.takes_file()) {
    line += " -r -F";
  } else if (one.takes_directory()) {
    line += " -x -a '(__fish_complete_directories)'";
  } else if (!one.text.empty()) {
    line += " -x";
  }
  return line + fmt::format(" -d '{}'\n", fish_quoted(one.description));
}

}  // namespace

std::string bash_completions(const command_line& line) {
  std::string script = bash_begin;
  script += fmt::format("    case ${{COMP_WORDS[i]}} in {}) command=${{COMP_WORDS[i]}}; break ;; esac\n  done\n",
                        fmt::join(names(line.commands), " | "));
  script += "  case \"$command ${COMP_WORDS[before]}\" in\n";
  for (const auto& command : line.commands) {
    for (const auto& one : command.options) {
      add_bash_values(script, command.name, one);
    }
  }
  script += "  esac\n  case \"$command $cur\" in\n";
  script += fmt::format("    ' -'*) _wasm_transform_reply -W '{}' ;;\n", fmt::join(names(line.tool.options), " "));
  script += fmt::format("    ' '*) _wasm_transform_reply -W '{}' ;;\n", fmt::join(names(line.commands), " "));
  for (const auto& command : line.commands) {
    script += fmt::format("    '{} -'*) _wasm_transform_reply -W '{}' ;;\n", command.name,
                          fmt::join(names(command.options), " "));
  }
  return script + "    *) _wasm_transform_reply -f ;;\n  esac\n}\ncomplete -F _wasm_transform wasm-transform\n";
}

std::string zsh_completions(const command_line& line) {
  std::string script =
      "#compdef wasm-transform\n"
      "# Completions of wasm-transform for zsh.\n"
      "_wasm-transform() {\n"
      "  local context state state_descr line\n"
      "  typeset -A opt_args\n"
      "  _arguments -C";
  for (const auto& one : line.tool.options) {
    script += " " + zsh_option(one);
  }
  script += " '1:command:->command' '*::argument:->argument'\n  case $state in\n";
  script += "    command)\n      local -a commands=(\n";
  for (const auto& command : line.commands) {
    script += fmt::format("        '{}:{}'\n", command.name, zsh_quoted(command.description));
  }
  script += "      )\n      _describe command commands ;;\n    argument)\n      case $words[1] in\n";
  for (const auto& command : line.commands) {
    script += fmt::format("        {})\n          _arguments", command.name);
    for (const auto& one : command.options) {
      script += fmt::format(" \\\n            {}", zsh_option(one));
    }
    for (std::size_t i = 0; i < command.arguments.size(); i++) {
      script += fmt::format(" \\\n            '{}:{}:_files'", i + 1, command.arguments[i].names.front());
    }
    script += " ;;\n";
  }
  return script + "      esac ;;\n  esac\n}\n_wasm-transform \"$@\"\n";
}

std::string fish_completions(const command_line& line) {
  std::string script = "# Completions of wasm-transform for fish.\n";
  const std::string of = "complete -c wasm-transform -n ";
  for (const auto& one : line.tool.options) {
    script += of + "__fish_use_subcommand" + fish_option(one);
  }
  for (const auto& command : line.commands) {
    const auto description = fish_quoted(command.description);
    script += fmt::format("{}__fish_use_subcommand -f -a {} -d '{}'\n", of, command.name, description);
    for (const auto& one : command.options) {
      script += fmt::format("{}'__fish_seen_subcommand_from {}'{}", of, command.name, fish_option(one));
    }
  }
  return script;
}

}  // namespace tool
