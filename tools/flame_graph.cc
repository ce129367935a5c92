// SPDX-License-Identifier: Apache-2.0
#include "flame_graph.hh"

#include "exit_code.hh"
#include "report.hh"
#include "xml.hh"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <map>
#include <vector>

namespace tool {

namespace {

using nlohmann::json;

constexpr double width = 1200;
constexpr double row = 17;
constexpr double margin = 10;
constexpr double head = 32;
constexpr double least_width = 0.3;  // of a bar that is drawn
constexpr double letter = 6.6;       // width of one
constexpr std::size_t most_depth = 512;

/// A function below its callers.
struct frame {
  std::map<std::string, frame> callees;
  std::uint64_t samples = 0;
};

/// A thread's tables, by the column names of the format.
class thread_tables {
 public:
  explicit thread_tables(const json& thread) : _thread(thread) {}

  /// Names of the functions of a stack, the outermost first.
  [[nodiscard]] std::vector<std::string> names(const json& stack) const {
    std::vector<std::string> all;
    const auto& prefixes = _thread.at("stackTable").at("prefix");
    const auto& frames = _thread.at("stackTable").at("frame");
    for (json at = stack; !at.is_null() && all.size() < most_depth; at = prefixes.at(at.get<std::size_t>())) {
      const auto frame = frames.at(at.get<std::size_t>()).get<std::size_t>();
      const auto function = _thread.at("frameTable").at("func").at(frame).get<std::size_t>();
      const auto name = _thread.at("funcTable").at("name").at(function).get<std::size_t>();
      all.push_back(_thread.at("stringArray").at(name).get<std::string>());
    }
    std::reverse(all.begin(), all.end());
    return all;
  }

 private:
  const json& _thread;
};

void add_thread(const json& thread, frame& root) {
  const thread_tables tables(thread);
  const auto& samples = thread.at("samples");
  const auto& stacks = samples.at("stack");
  for (std::size_t i = 0; i < stacks.size(); ++i) {
    const auto weight = samples.contains("weight") && samples.at("weight").is_array() ? samples.at("weight").at(i).get<std::int64_t>() : 1;
    if (stacks[i].is_null() || weight <= 0) {
      continue;
    }
    auto* at = &root;
    at->samples += static_cast<std::uint64_t>(weight);
    for (const auto& name : tables.names(stacks[i])) {
      at = &at->callees[name];
      at->samples += static_cast<std::uint64_t>(weight);
    }
  }
}

/// The same for a name in each picture, so that two can be compared.
std::string colour_of(const std::string& name) {
  std::uint32_t hash = 2166136261U;
  for (const unsigned char c : name) {
    hash = (hash ^ c) * 16777619U;
  }
  return fmt::format("rgb({},{},{})", 205 + hash % 50, 80 + (hash >> 8) % 130, (hash >> 16) % 60);
}

std::size_t depth_of(const frame& f) {
  std::size_t most = 0;
  for (const auto& [name, callee] : f.callees) {
    most = std::max(most, depth_of(callee));
  }
  return most + 1;
}

class drawing {
 public:
  explicit drawing(const frame& root) : _all(root.samples), _height(head + static_cast<double>(depth_of(root)) * row + margin) {
    const double scale = (width - 2 * margin) / static_cast<double>(std::max<std::uint64_t>(_all, 1));
    draw("all", root, margin, 0, scale);
  }

  [[nodiscard]] std::string text() const {
    return fmt::format(
               "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" "
               "font-family=\"monospace\" font-size=\"11\">\n"
               "<rect width=\"100%\" height=\"100%\" fill=\"#fffdf8\"/>\n"
               "<text x=\"{2}\" y=\"20\" font-size=\"14\">{3} samples of the guest; a bar is as wide as its share</text>\n",
               width, _height, margin, grouped(_all)) +
           _bars + "</svg>\n";
  }

 private:
  void draw(const std::string& name, const frame& f, double x, std::size_t depth, double scale) {
    const double w = static_cast<double>(f.samples) * scale;
    if (w < least_width) {
      return;
    }
    const double y = _height - margin - static_cast<double>(depth + 1) * row;
    const double share = 100.0 * static_cast<double>(f.samples) / static_cast<double>(std::max<std::uint64_t>(_all, 1));
    _bars += fmt::format("<g><title>{} ({} samples, {:.1f}%)</title><rect x=\"{:.2f}\" y=\"{:.1f}\" width=\"{:.2f}\" height=\"{}\" "
                         "fill=\"{}\" rx=\"1\"/>",
                         xml(name), grouped(f.samples), share, x, y, std::max(w - 0.4, 0.1), row - 1, colour_of(name));
    const auto room = static_cast<std::size_t>(std::max(0.0, (w - 6) / letter));
    if (room >= 3) {
      const auto shown = name.size() <= room ? name : name.substr(0, room - 2) + "..";
      _bars += fmt::format("<text x=\"{:.2f}\" y=\"{:.1f}\">{}</text>", x + 3, y + 12, xml(shown));
    }
    _bars += "</g>\n";
    for (const auto& [callee, below] : f.callees) {
      draw(callee, below, x, depth + 1, scale);
      x += static_cast<double>(below.samples) * scale;
    }
  }

  std::uint64_t _all;
  double _height;
  std::string _bars;
};

}  // namespace

std::string flame_graph(const json& profile) {
  frame root;
  try {
    for (const auto& thread : profile.at("threads")) {
      add_thread(thread, root);
    }
  } catch (const json::exception& e) {
    throw failure(exit_code::other, fmt::format("the profile is not as the Firefox Profiler has them: {}", e.what()));
  }
  return drawing(root).text();
}

}  // namespace tool
