// SPDX-License-Identifier: Apache-2.0
#include "project.hh"

#include "../exit_code.hh"
#include "../file.hh"
#include "../json_error.hh"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>

namespace tool {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// Whether the directory has a file that ends so.
bool has_source(const fs::path& directory, std::initializer_list<const char*> endings) {
  std::error_code ignored;
  for (const auto& file : fs::directory_iterator(directory, ignored)) {
    for (const auto* ending : endings) {
      if (file.path().extension() == ending) {
        return true;
      }
    }
  }
  return false;
}

std::optional<language> language_of(const fs::path& directory) {
  if (fs::exists(directory / "Cargo.toml")) {
    return language::rust;
  }
  if (fs::exists(directory / "go.mod")) {
    return language::go;
  }
  const auto source = directory / "src";
  if (has_source(source, {".cc", ".cpp", ".cxx"})) {
    return language::cpp;
  }
  if (has_source(source, {".c"})) {
    return language::c;
  }
  return has_source(source, {".js", ".mjs"}) ? std::optional(language::js) : std::nullopt;
}

/// Reads a member if it is there. `what` it must be.
template <typename T>
void read_member(const json& manifest, const char* name, const char* what, T& to) {
  const auto found = manifest.find(name);
  if (found == manifest.end()) {
    return;
  }
  try {
    found->get_to(to);
  } catch (const json::exception&) {
    throw failure(exit_code::usage, fmt::format("{}: \"{}\" must be {}", manifest_name, name, what));
  }
}

void read_manifest(const json& manifest, project& p) {
  if (!manifest.is_object()) {
    throw failure(exit_code::usage, fmt::format("{}: it must be a JSON object", manifest_name));
  }
  read_member(manifest, "name", "a text", p.name);
  read_member(manifest, "input_topic", "a text", p.input_topic);
  read_member(manifest, "output_topics", "an array of texts", p.output_topics);
  std::map<std::string, std::string> variables;
  read_member(manifest, "environment", "an object whose members are texts", variables);
  p.environment.assign(variables.begin(), variables.end());
  static const std::vector<std::string> known = {"name", "language", "input_topic", "output_topics", "environment"};
  for (const auto& [key, value] : manifest.items()) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      throw failure(exit_code::usage, fmt::format("{}: \"{}\" is no member that it has", manifest_name, key));
    }
  }
}

}  // namespace

const std::map<std::string, language>& languages() {
  static const std::map<std::string, language> all = {
      {"c", language::c}, {"cpp", language::cpp}, {"rust", language::rust}, {"go", language::go}, {"js", language::js}};
  return all;
}

const std::string& name_of(language l) {
  return std::find_if(languages().begin(), languages().end(), [l](const auto& one) { return one.second == l; })->first;
}

std::string wrong_with_name(const std::string& name) {
  const auto fits = [](unsigned char c) { return (std::isalnum(c) != 0 && std::isupper(c) == 0) || c == '-' || c == '_'; };
  if (!name.empty() && name.size() <= 64 && std::isalpha(static_cast<unsigned char>(name.front())) != 0 &&
      std::all_of(name.begin(), name.end(), fits)) {
    return "";
  }
  return fmt::format("\"{}\" is no name: a small letter, then small letters, digits, '-' and '_', at most 64", name);
}

project read_project(const std::filesystem::path& directory) {
  project p;
  p.directory = fs::absolute(directory).lexically_normal();
  if (!p.directory.has_filename()) {
    p.directory = p.directory.parent_path();
  }
  p.name = p.directory.filename();
  auto found = language_of(p.directory);
  const auto path = p.directory / manifest_name;
  if (fs::exists(path)) {
    const auto manifest = parse_file(path.string(), read_text(path));
    read_manifest(manifest, p);
    if (manifest.contains("language")) {
      std::string name;
      read_member(manifest, "language", "a text", name);
      const auto known = languages().find(name);
      if (known == languages().end()) {
        throw failure(exit_code::usage, fmt::format("{}: \"{}\" is no language: c, cpp, go, js and rust are", manifest_name, name));
      }
      found = known->second;
    }
  }
  if (!found) {
    throw failure(exit_code::usage,
                  fmt::format("there is no project in {}: no {}, Cargo.toml, go.mod or source in src; `wasm-transform init` makes one",
                              directory.string(), manifest_name));
  }
  p.language = *found;
  if (const auto why = wrong_with_name(p.name); !why.empty()) {
    throw failure(exit_code::usage, fmt::format("{}: {}", path.string(), why));
  }
  return p;
}

}  // namespace tool
