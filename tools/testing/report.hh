// SPDX-License-Identifier: Apache-2.0
//
// The results of cases for programs: JUnit's XML, which CI services read, and JSON.
#pragma once

#include "case_run.hh"

#include <string>
#include <vector>

namespace tool {

[[nodiscard]] std::string junit(const std::string& suite, const std::vector<case_result>& results);
[[nodiscard]] std::string json_results(const std::string& suite, const std::vector<case_result>& results);

}  // namespace tool
