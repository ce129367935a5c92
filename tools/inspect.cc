// SPDX-License-Identifier: Apache-2.0
#include "inspect.hh"

#include "encoding.hh"
#include "file.hh"
#include "report.hh"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <string>

namespace tool {

namespace {

using nlohmann::json;

/// A member that is text or a number. `none` if it is null.
std::string text_of(const json& value, const char* none) {
  if (value.is_null()) {
    return none;
  }
  if (value.is_number_unsigned()) {
    return grouped(value.get<std::uint64_t>());
  }
  return printable(value.is_string() ? value.get<std::string>() : value.dump());
}

void line(const char* name, const std::string& what) { fmt::print("{:<10} {}\n", name, what); }

std::string pages(const json& memory) {
  const auto size = [](const json& n) {
    return n.is_null() ? std::string("no maximum") : byte_count(n.get<std::uint64_t>() << 16);
  };
  return fmt::format("{} at the start, {}{}", size(memory.at("initial_pages")),
                     memory.at("maximum_pages").is_null() ? "" : "at most ", size(memory.at("maximum_pages")));
}

void print_names(const char* title, const json& items) {
  fmt::print("{} ({})\n", title, items.size());
  for (const auto& item : items) {
    const auto module = item.contains("module") ? text_of(item.at("module"), "") + "." : "";
    fmt::print("  {:<8} {}{}{}\n", text_of(item.at("kind"), ""), module, text_of(item.at("name"), ""),
               item.contains("type") ? ": " + text_of(item.at("type"), "") : "");
  }
}

void print_text(const std::string& path, const json& module) {
  const auto& refused = module.at("refused");
  line("module", path);
  line("accepted", refused.is_null() ? "yes"
                                     : fmt::format("no: {}: {}", text_of(refused.at("status"), ""),
                                                   text_of(refused.at("message"), "")));
  line("ABI", fmt::format("transform {}, schema registry {}", text_of(module.at("abi_version"), "none"),
                          text_of(module.at("schema_registry_abi_version"), "none")));
  line("language", text_of(module.at("language"), "unknown"));
  for (const auto& producer : module.at("producers")) {
    if (producer.at("field") != "language") {
      line("toolchain", fmt::format("{} {}", text_of(producer.at("name"), ""), text_of(producer.at("version"), "")));
    }
  }
  for (const auto& memory : module.at("memories")) {
    line("memory", pages(memory));
  }
  line("size",
       fmt::format("{}: {} of code in {} functions, {} data segments, {} names",
                   byte_count(module.at("size").get<std::uint64_t>()),
                   byte_count(module.at("code_size").get<std::uint64_t>()), text_of(module.at("functions"), "no"),
                   text_of(module.at("data_segments"), "no"), module.at("has_names").get<bool>() ? "with" : "without"));
  print_names("imports", module.at("imports"));
  print_names("exports", module.at("exports"));
}

}  // namespace

void inspect(const inspect_options& o) {
  const auto bytes = read_module(o.guest);
  const auto runtime = wasmengine::runtime::create().value();
  const auto module = nlohmann::json::parse(runtime.inspect(bytes).value());
  if (o.json) {
    fmt::print("{}\n", module.dump(2));
  } else {
    print_text(o.guest, module);
  }
}

}  // namespace tool
