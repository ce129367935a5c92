// SPDX-License-Identifier: Apache-2.0
#include "init.hh"

#include "templates.hh"

#include "../exit_code.hh"
#include "../file.hh"
#include "../output_files.hh"

#include <fmt/format.h>

namespace tool {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view name_mark = "@NAME@";
constexpr std::string_view template_suffix = ".template";
constexpr std::string_view language_mark = "@LANGUAGE@";

void replace_all(std::string& text, std::string_view what, std::string_view with) {
  for (auto at = text.find(what); at != text.npos; at = text.find(what, at + with.size())) {
    text.replace(at, what.size(), with);
  }
}

/// Templates have names that package tools and git do not take for their own: `dot-gitignore`, `go.mod.template`.
fs::path target_name(const fs::path& relative) {
  fs::path target;
  for (const auto& part : relative) {
    auto name = part.string();
    if (name.starts_with("dot-")) {
      name.replace(0, 4, ".");
    }
    if (name.ends_with(template_suffix)) {
      name.resize(name.size() - template_suffix.size());
    }
    target /= name;
  }
  return target;
}

void copy(const fs::path& from, const fs::path& to, const init_options& o) {
  for (const auto& file : fs::recursive_directory_iterator(from)) {
    if (!file.is_regular_file()) {
      continue;
    }
    const auto target = to / target_name(fs::relative(file.path(), from));
    fs::create_directories(target.parent_path());
    auto text = read_text(file.path());
    replace_all(text, name_mark, o.name);
    replace_all(text, language_mark, name_of(o.language));
    output_file written(target);
    written.write(text);
    written.commit();
  }
}

}  // namespace

void init(const init_options& o) {
  const fs::path directory = o.directory.empty() ? o.name : o.directory;
  std::error_code ignored;
  if (fs::exists(directory, ignored) && !fs::is_empty(directory, ignored)) {
    throw failure(exit_code::usage, fmt::format("{} is there already and is not empty", directory.string()));
  }
  const auto from = templates();
  try {
    copy(from / "common", directory, o);
    copy(from / name_of(o.language), directory, o);
  } catch (const fs::filesystem_error& e) {
    throw failure(exit_code::other, e.what());
  }
  fmt::print("{0}: a transform in {1}. Next:\n  cd {0}\n  wasm-transform test\n", directory.string(), name_of(o.language));
}

}  // namespace tool
