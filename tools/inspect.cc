// SPDX-License-Identifier: Apache-2.0
#include "inspect.hh"

#include "encoding.hh"
#include "file.hh"
#include "module/sha256.hh"
#include "module/sizes.hh"
#include "report.hh"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <string_view>

namespace tool {

namespace {

using nlohmann::json;

constexpr std::size_t most_functions = 15;  // of a text

/// Which SDK made it, by what only that has. Redpanda's SDKs of C++ and JavaScript declare version 1 of the ABI. Go
/// names its modules in the data also where names of functions were removed.
json sdk_of(const json& module, const module_sizes& sizes, std::span<const std::uint8_t> bytes) {
  struct sign {
    const char* part;  ///< Of a function's name.
    const char* sdk;
  };
  static const std::array<sign, 6> signs = {{{"redpanda_transform_sdk", "redpanda-transform-sdk (Rust)"},
                                             {"redpanda/src/transform-sdk/go", "Redpanda's transform SDK for Go"},
                                             {"transform.OnRecordWritten", "wasm-engine's package for Go"},
                                             {"native_on_record", "wasm-engine's glue for QuickJS"},
                                             {"JS_NewContext", "QuickJS"},
                                             {"redpanda::on_record_written", "Redpanda's transform SDK for C++"}}};
  for (const auto& s : signs) {
    for (const auto& function : sizes.functions) {
      if (function.name.find(s.part) != std::string::npos) {
        return s.sdk;
      }
    }
  }
  const std::string_view data(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (module.at("language") == "Go" && data.find(signs[1].part) != data.npos) {
    return signs[1].sdk;
  }
  if (module.at("abi_version") == 1) {
    return "one of ABI version 1, as Redpanda's for C++ and JavaScript are";
  }
  return nullptr;
}

json as_json(const std::vector<part>& parts) {
  json all = json::array();
  for (const auto& one : parts) {
    all.push_back({{"name", printable(one.name)}, {"size", one.size}});
  }
  return all;
}

void print_parts(const char* title, const json& parts, std::size_t most) {
  fmt::print("{} ({})\n", title, parts.size());
  std::uint64_t rest = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const auto size = parts[i].at("size").get<std::uint64_t>();
    if (i < most) {
      fmt::print("  {:>11}  {}\n", grouped(size), parts[i].at("name").get<std::string>());
    } else {
      rest += size;
    }
  }
  if (rest != 0) {
    fmt::print("  {:>11}  the other {}\n", grouped(rest), parts.size() - most);
  }
}

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
  line("SHA-256", text_of(module.at("sha256"), ""));
  line("accepted", refused.is_null() ? "yes"
                                     : fmt::format("no: {}: {}", text_of(refused.at("status"), ""),
                                                   text_of(refused.at("message"), "")));
  line("ABI", fmt::format("transform {}, schema registry {}", text_of(module.at("abi_version"), "none"),
                          text_of(module.at("schema_registry_abi_version"), "none")));
  line("language", text_of(module.at("language"), "unknown"));
  line("SDK", text_of(module.at("sdk"), "unknown"));
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
  print_parts("bytes by section", module.at("sections"), module.at("sections").size());
  print_parts("bytes by function", module.at("function_sizes"), most_functions);
}

void inspect_compiled(const inspect_options& o, std::span<const std::uint8_t> file) {
  const auto head = head_of_compiled(file);
  const auto sizes = sizes_of_compiled(file);
  const json all = {{"sha256", sha256(file)},       {"size", file.size()},        {"library", head.library},
                    {"wasmtime", head.wasmtime},    {"target", head.target},      {"module_sha256", head.module},
                    {"module_size", head.module_size}, {"sections", as_json(sizes.sections)}};
  if (o.json) {
    fmt::print("{}\n", all.dump(2));
    return;
  }
  line("compiled", o.guest);
  line("SHA-256", all.at("sha256").get<std::string>());
  line("size", byte_count(file.size()));
  line("by", printable(fmt::format("wasm-engine {} with Wasmtime {} for {}", head.library, head.wasmtime, head.target)));
  line("module", fmt::format("SHA-256 {}, {}", head.module, byte_count(head.module_size)));
  print_parts("bytes by section", all.at("sections"), all.at("sections").size());
}

}  // namespace

void inspect(const inspect_options& o) {
  const auto bytes = read_module(o.guest);
  if (o.guest.ends_with(compiled_suffix)) {
    inspect_compiled(o, bytes);
    return;
  }
  const auto runtime = wasmengine::runtime::create().value();
  auto module = json::parse(runtime.inspect(bytes).value());
  const auto sizes = sizes_of_module(bytes);
  module["sha256"] = sha256(bytes);
  module["sdk"] = sdk_of(module, sizes, bytes);
  module["sections"] = as_json(sizes.sections);
  module["function_sizes"] = as_json(sizes.functions);
  if (o.json) {
    fmt::print("{}\n", module.dump(2));
  } else {
    print_text(o.guest, module);
  }
}

}  // namespace tool
