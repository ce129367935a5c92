// SPDX-License-Identifier: Apache-2.0
#include "init.hh"

#include "templates.hh"

#include "../exit_code.hh"
#include "../file.hh"
#include "../output_files.hh"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <string>
#include <vector>

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

/// Adds the names of the files to `made`.
void copy(const fs::path& from, const fs::path& to, const init_options& o, std::vector<std::string>& made) {
  for (const auto& file : fs::recursive_directory_iterator(from)) {
    if (!file.is_regular_file()) {
      continue;
    }
    const auto name = target_name(fs::relative(file.path(), from));
    const auto target = to / name;
    made.push_back(name);
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
  if (o.sdk == sdk::redpanda && o.language != language::go) {
    throw failure(exit_code::usage, "--sdk redpanda goes with --language go only");
  }
  const auto from = templates();
  std::vector<std::string> made;
  try {
    copy(from / "common", directory, o, made);
    copy(from / (name_of(o.language) + (o.sdk == sdk::redpanda ? "-redpanda" : "")), directory, o, made);
  } catch (const fs::filesystem_error& e) {
    throw failure(exit_code::other, e.what());
  }
  if (o.json) {
    std::sort(made.begin(), made.end());
    const nlohmann::ordered_json all = {{"name", o.name},
                                        {"language", name_of(o.language)},
                                        {"sdk", o.sdk == sdk::redpanda ? "redpanda" : "bundled"},
                                        {"directory", directory.string()},
                                        {"files", made}};
    fmt::print("{}\n", all.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
    return;
  }
  fmt::print("{0}: a transform in {1}. Next:\n  cd {0}\n  wasm-transform test\n", directory.string(), name_of(o.language));
}

}  // namespace tool
