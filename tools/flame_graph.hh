// SPDX-License-Identifier: Apache-2.0
//
// A profile as a picture: each function is a bar above its caller, as wide as its share of the samples.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <string>

namespace tool {

/// SVG of a profile in the format of the Firefox Profiler, with all its threads. Names and shares show when the pointer
/// rests on a bar. Throws `failure` if it is no such profile.
[[nodiscard]] std::string flame_graph(const nlohmann::json& profile);

}  // namespace tool
