// SPDX-License-Identifier: Apache-2.0
#include "man_page.hh"

#include <fmt/format.h>

#include <sstream>

namespace tool {

namespace {

/// Text in which nothing is a request or an escape. A hyphen stays the one that is typed.
std::string escaped(const std::string& text) {
  std::string out = text.starts_with('.') || text.starts_with('\'') ? "\\&" : "";
  for (const char c : text) {
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else {
      out += c;
    }
  }
  return out;
}

std::string bold(const std::string& text) { return "\\fB" + escaped(text) + "\\fR"; }
std::string italic(const std::string& text) { return "\\fI" + escaped(text) + "\\fR"; }

/// `--output`, `-o` FILE.
std::string heading(const option& one) {
  const bool named = one.names.front().starts_with('-');
  std::string out;
  for (const auto& name : one.names) {
    out += (out.empty() ? "" : ", ") + (named ? bold(name) : italic(name));
  }
  return named && !one.text.empty() ? out + " " + italic(one.text) : out;
}

void add_option(std::string& page, const option& one) {
  page += fmt::format(".TP\n{}\n{}\n", heading(one), escaped(one.description));
}

/// What a help text says below its options. It is indented by hand: two blanks before a term, more before what goes on.
void add_footer(std::string& page, const std::string& text) {
  std::istringstream lines(text);
  bool new_paragraph = true;
  bool in_term = false;
  for (std::string line; std::getline(lines, line);) {
    const auto indent = line.find_first_not_of(' ');
    if (indent == line.npos) {
      new_paragraph = true;
      continue;
    }
    const auto gap = line.find("  ", indent);
    if (indent == 2 && gap != line.npos) {
      page += fmt::format(".TP\n{}\n", bold(line.substr(indent, gap - indent)));
      line.erase(0, line.find_first_not_of(' ', gap));
      in_term = true;
    } else {
      line.erase(0, indent);
      if (new_paragraph || (in_term && indent == 0)) {
        page += ".PP\n";
        in_term = false;
      }
    }
    new_paragraph = false;
    page += escaped(line) + "\n";
  }
}

void add_synopsis(std::string& page, const std::string& tool, const command& of) {
  page += fmt::format(".B {} {}\n[\\fIOPTION\\fR...]", tool, of.name);
  for (const auto& argument : of.arguments) {
    const auto name = italic(argument.names.front());
    page += argument.required ? " " + name : " [" + name + "]";
  }
  page += "\n";
}

}  // namespace

std::string man_page(const command_line& line, const std::string& version) {
  const auto& tool = line.tool;
  // No date: the page is the same whenever it is built.
  std::string page = fmt::format(".TH {0} 1 \"\" \"{0} {1}\" \"User Commands\"\n", tool.name, version);
  page += ".nh\n.ad l\n.SH NAME\n";
  page += fmt::format("{} \\- run WebAssembly data transforms outside of a broker\n.SH SYNOPSIS\n", escaped(tool.name));
  for (const auto& command : line.commands) {
    page += &command == &line.commands.front() ? "" : ".br\n";
    add_synopsis(page, escaped(tool.name), command);
  }
  const auto about = tool.description.substr(0, tool.description.find('\n'));
  page += fmt::format(".SH DESCRIPTION\n{}\n.SH OPTIONS\n", escaped(about));
  for (const auto& one : tool.options) {
    add_option(page, one);
  }
  page += ".SH COMMANDS\n";
  for (const auto& command : line.commands) {
    page += fmt::format(".SS {}\n{}\n", escaped(command.name), escaped(command.description));
    for (const auto& one : command.arguments) {
      add_option(page, one);
    }
    for (const auto& one : command.options) {
      add_option(page, one);
    }
    // Each ends with what the tool's has: the exit codes.
    add_footer(page, command.footer.substr(0, command.footer.rfind(tool.footer)));
  }
  page += ".SH \"EXIT STATUS\"\n";
  add_footer(page, tool.footer.substr(tool.footer.find('\n') + 1));
  return page;
}

}  // namespace tool
