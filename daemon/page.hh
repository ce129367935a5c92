// SPDX-License-Identifier: Apache-2.0
//
// The daemon's page: page.html.
#pragma once

#include <string_view>

namespace transformd {

extern const std::string_view page;

}  // namespace transformd
