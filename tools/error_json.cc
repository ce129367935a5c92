// SPDX-License-Identifier: Apache-2.0
#include "error_json.hh"

#include <nlohmann/json.hpp>

namespace tool {

std::string error_json(exit_code code, const std::string& message) {
  using nlohmann::ordered_json;
  const ordered_json all = {{"error", message}, {"exit_code", static_cast<int>(code)}};
  return all.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

}  // namespace tool
