// SPDX-License-Identifier: Apache-2.0
#include "bench.hh"

#include "identity.hh"
#include "measurement.hh"

#include "../encoding.hh"
#include "../exit_code.hh"
#include "../file.hh"
#include "../module/sha256.hh"
#include "../output_files.hh"
#include "../report.hh"
#include "../testing/test_case.hh"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>

namespace tool {

namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr std::size_t most_lines = 10'000;  // of an input

/// `slower:10%`, `larger:20%`.
struct limit {
  std::string what;
  double share = 0;
};

limit parse_limit(const std::string& text) {
  const auto colon = text.find(':');
  limit l{text.substr(0, colon), 0};
  const auto number = colon == text.npos ? "" : text.substr(colon + 1);
  const auto* end = number.data() + number.size();
  const auto read = std::from_chars(number.data(), end, l.share);
  if ((l.what != "slower" && l.what != "larger") || read.ec != std::errc() || std::string_view(read.ptr, end) != "%" || !std::isfinite(l.share) || l.share < 0) {
    throw failure(exit_code::usage, fmt::format("--fail-if: \"{}\" is neither slower:P% nor larger:P%", text));
  }
  l.share /= 100;
  return l;
}

std::vector<workload> workloads_of(const bench_options& o) {
  std::vector<workload> all;
  if (!o.input.empty()) {
    auto lines = split_lines(read_text(o.input));
    if (lines.empty()) {
      throw failure(exit_code::bad_input, fmt::format("{} has no lines", o.input));
    }
    lines.resize(std::min(lines.size(), most_lines));
    all.push_back(make_workload("input", lines));
    return all;
  }
  for (const auto size : o.sizes) {
    all.push_back(make_workload(fmt::format("{} B", grouped(size)), made_values(size)));
  }
  return all;
}

wasmengine::transform_config config_of(const bench_options& o) {
  wasmengine::transform_config config;
  config.name = std::filesystem::path(o.guest).stem();
  config.input_topic = "input";
  config.output_topics = o.output_topics.empty() ? std::vector<std::string>{"output"} : o.output_topics;
  for (const auto& variable : o.env) {
    const auto equals = variable.find('=');
    config.env.emplace_back(variable.substr(0, equals), variable.substr(equals + 1));
  }
  return config;
}

ordered_json result_of(const bench_options& o, std::span<const std::uint8_t> module, const std::vector<workload>& workloads,
                       const measurement& guest, const measurement& identity) {
  ordered_json all = {{"module", o.guest},
                      {"sha256", sha256(module)},
                      {"library", wasm_library_version()},
                      {"compile_ns", guest.compile_time.count()},
                      {"start_ns", guest.start_time.count()},
                      {"identity_start_ns", identity.start_time.count()},
                      {"memory_bytes", guest.memory},
                      {"records", ordered_json::array()}};
  for (std::size_t i = 0; i < workloads.size(); ++i) {
    all["records"].push_back({{"name", workloads[i].name},
                              {"bytes", workloads[i].bytes / workloads[i].records},
                              {"ns", guest.record_ns[i]},
                              {"identity_ns", identity.record_ns[i]},
                              {"ratio", guest.record_ns[i] / identity.record_ns[i]},
                              {"out_per_record", static_cast<double>(guest.records_out[i]) / static_cast<double>(workloads[i].records)}});
  }
  return all;
}

std::string text_of(const ordered_json& result) { return result.dump(2, ' ', false, json::error_handler_t::replace); }

double ms(const json& ns) { return ns.get<double>() / 1e6; }

void print_text(const ordered_json& r) {
  fmt::print("{:<10} {:>12} {:>12} {:>9} {:>12} {:>9}\n", "records", "ns each", "identity", "ratio", "MB/s", "out each");
  for (const auto& one : r.at("records")) {
    const auto ns = one.at("ns").get<double>();
    fmt::print("{:<10} {:>12.1f} {:>12.1f} {:>9.2f} {:>12.0f} {:>9.2f}\n", one.at("name").get<std::string>(), ns,
               one.at("identity_ns").get<double>(), one.at("ratio").get<double>(), one.at("bytes").get<double>() / ns * 1e3,
               one.at("out_per_record").get<double>());
  }
  fmt::print("compile {:.1f} ms, start {:.3f} ms (identity {:.3f} ms), memory {}\n", ms(r.at("compile_ns")), ms(r.at("start_ns")),
             ms(r.at("identity_start_ns")), byte_count(r.at("memory_bytes").get<std::uint64_t>()));
}

/// Whether it is what `breaches` compares with.
bool is_result(const json& saved) {
  if (!saved.is_object() || !saved.contains("memory_bytes") || !saved.at("memory_bytes").is_number() || !saved.contains("records") ||
      !saved.at("records").is_array()) {
    return false;
  }
  const auto& records = saved.at("records");
  return std::all_of(records.begin(), records.end(), [](const json& one) {
    return one.is_object() && one.contains("name") && one.contains("ratio") && one.at("ratio").is_number();
  });
}

/// Compares ratios to the identity, which a faster or busier machine changes little.
std::vector<std::string> breaches(const ordered_json& now, const json& saved, const std::vector<limit>& limits) {
  std::vector<std::string> all;
  for (const auto& l : limits) {
    if (l.what == "larger") {
      const auto before = saved.at("memory_bytes").get<double>();
      const auto after = now.at("memory_bytes").get<double>();
      if (after > before * (1 + l.share)) {
        all.push_back(fmt::format("memory is {:.1f}% larger", (after / before - 1) * 100));
      }
      continue;
    }
    std::size_t compared = 0;
    for (const auto& one : now.at("records")) {
      for (const auto& other : saved.at("records")) {
        const auto before = other.at("ratio").get<double>();
        const auto after = one.at("ratio").get<double>();
        compared += one.at("name") == other.at("name") ? 1 : 0;
        if (one.at("name") == other.at("name") && after > before * (1 + l.share)) {
          all.push_back(fmt::format("records of {} are {:.1f}% slower", one.at("name").get<std::string>(), (after / before - 1) * 100));
        }
      }
    }
    if (compared == 0) {
      throw failure(exit_code::usage, "--fail-if: the saved result has none of these sizes or inputs");
    }
  }
  return all;
}

}  // namespace

void bench(const bench_options& o) {
  std::vector<limit> limits;
  for (const auto& text : o.fail_if) {
    limits.push_back(parse_limit(text));
  }
  json saved;
  if (!o.against.empty()) {
    saved = json::parse(read_text(o.against), nullptr, false);
    if (!is_result(saved)) {
      throw failure(exit_code::usage, fmt::format("{} is no result that --save wrote", o.against));
    }
  }
  const auto module = read_module(o.guest);
  const auto workloads = workloads_of(o);
  const auto config = config_of(o);
  const auto identity = measure(identity_module(), config, workloads, o.memory_limit, o.seconds);
  const auto guest = measure(module, config, workloads, o.memory_limit, o.seconds);
  const auto result = result_of(o, module, workloads, guest, identity);
  const auto found = breaches(result, saved, limits);
  if (o.json) {
    auto shown = result;
    shown["against"] = o.against.empty() ? ordered_json() : ordered_json(o.against);
    shown["breaches"] = found;
    fmt::print("{}\n", text_of(shown));
  } else {
    print_text(result);
  }
  if (!o.save.empty()) {
    output_file file(o.save);
    file.write(text_of(result) + "\n");
    file.commit();
  }
  if (!found.empty()) {
    throw failure(exit_code::different, fmt::format("compared with {}: {}", o.against, fmt::join(found, "; ")));
  }
}

}  // namespace tool
