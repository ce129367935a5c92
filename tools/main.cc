// SPDX-License-Identifier: Apache-2.0
#include "error_json.hh"
#include "exit_code.hh"
#include "interruption.hh"
#include "json_error.hh"
#include "options.hh"
#include "terminal.hh"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <system_error>
#include <unistd.h>

namespace {

int end(tool::exit_code code, const std::string& message, bool as_json) {
  (void)std::fflush(stdout);  // what came before is shown before
  if (as_json) {
    fmt::print(stderr, "{}\n", tool::error_json(code, message));
  } else {
    const bool coloured = tool::has_colours(STDERR_FILENO);
    fmt::print(stderr, "{} {}\n", tool::in_colour(coloured, tool::colour::red, "wasm-transform:"), message);
  }
  return static_cast<int>(code);
}

/// Where SIGPIPE was ignored so that something is cleaned up, the process ends by it now.
void end_without_reader(int error) {
  if (error == EPIPE && tool::interruption::file() >= 0) {
    tool::interruption::end(SIGPIPE);
  }
}

/// Whether programs read what the tool writes. Also of a command line that could not be parsed.
bool wants_json(int argc, char** argv) {
  return std::any_of(argv, argv + argc, [](const char* argument) { return std::string_view(argument) == "--json"; });
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (const auto command = tool::parse_options(argc, argv)) {
      (*command)();
    }
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
      end_without_reader(errno);
      return end(tool::exit_code::other, "standard output cannot be written", wants_json(argc, argv));
    }
    return static_cast<int>(tool::exit_code::done);
  } catch (const tool::failure& e) {
    return end(e.code(), e.what(), wants_json(argc, argv));
  } catch (const tool::interrupted&) {
    (void)std::fflush(stdout);
    tool::interruption::end(tool::interruption::signal());
  } catch (const std::system_error& e) {
    end_without_reader(e.code().value());
    return end(tool::exit_code::other, e.what(), wants_json(argc, argv));
  } catch (const std::exception& e) {
    return end(tool::exit_code::other, tool::message_of(e), wants_json(argc, argv));
  }
}
