// SPDX-License-Identifier: Apache-2.0
#include "report.hh"

#include "../encoding.hh"
#include "../xml.hh"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>

namespace tool {

namespace {

double seconds(std::chrono::nanoseconds time) { return std::chrono::duration<double>(time).count(); }

std::size_t failed(const std::vector<case_result>& results) {
  return static_cast<std::size_t>(std::count_if(results.begin(), results.end(), [](const auto& r) { return !r.passed(); }));
}

}  // namespace

std::string junit(const std::string& suite, const std::vector<case_result>& results) {
  std::chrono::nanoseconds all{0};
  for (const auto& one : results) {
    all += one.time;
  }
  std::string text = fmt::format(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"0\" "
      "time=\"{:.3f}\">\n",
      xml(suite), results.size(), failed(results), seconds(all));
  for (const auto& one : results) {
    text += fmt::format("    <testcase classname=\"{}\" name=\"{}\" time=\"{:.3f}\"", xml(suite), xml(one.name), seconds(one.time));
    if (one.passed()) {
      text += "/>\n";
    } else {
      text += fmt::format(">\n      <failure message=\"{}\">{}</failure>\n    </testcase>\n",
                          xml(one.message.substr(0, one.message.find('\n'))), xml(one.message));
    }
  }
  return text + "  </testsuite>\n</testsuites>\n";
}

std::string json_results(const std::string& suite, const std::vector<case_result>& results) {
  nlohmann::ordered_json all = {{"name", suite}, {"passed", results.size() - failed(results)}, {"failed", failed(results)}};
  auto& cases = all["cases"] = nlohmann::ordered_json::array();
  for (const auto& one : results) {
    cases.push_back({{"name", one.name}, {"passed", one.passed()}, {"seconds", seconds(one.time)}, {"message", printable(one.message)}});
  }
  return all.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace tool
