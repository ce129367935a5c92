// SPDX-License-Identifier: Apache-2.0
//
// The statistics of a run for programs.
#pragma once

#include "report.hh"

#include <string>

namespace tool {

/// What `report` has, as one line of JSON. Times are in nanoseconds and sizes in bytes.
[[nodiscard]] std::string summary_json(const statistics& s, const summary& u);

}  // namespace tool
