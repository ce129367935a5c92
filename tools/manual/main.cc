// SPDX-License-Identifier: Apache-2.0
//
// Writes the manual page and the completions of wasm-transform, from the options that its parser has. CMake runs it.
//
//   wasm-transform-manual DIRECTORY
#include "completions.hh"
#include "man_page.hh"

#include <wasm_engine.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: wasm-transform-manual DIRECTORY\n", stderr);
    return 2;
  }
  const std::filesystem::path directory = argv[1];
  const auto line = tool::read_command_line();
  const auto write = [&directory](const char* name, const std::string& text) {
    std::ofstream file(directory / name);
    file << text;
    file.close();
    return file.good();
  };
  const bool written = write("wasm-transform.1", tool::man_page(line, wasm_library_version())) &&
                       write("wasm-transform.bash", tool::bash_completions(line)) &&
                       write("wasm-transform.zsh", tool::zsh_completions(line)) &&
                       write("wasm-transform.fish", tool::fish_completions(line));
  if (!written) {
    std::perror("wasm-transform-manual");
  }
  return written ? 0 : 1;
}
