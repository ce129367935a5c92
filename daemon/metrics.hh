// SPDX-License-Identifier: Apache-2.0
//
// The daemon's metrics for Prometheus: the library's and those of its workers.
#pragma once

#include "server.hh"

#include <string>

namespace transformd {

/// Version 0.0.4 of the text format. Any thread.
[[nodiscard]] std::string metrics_text(const server& s);

}  // namespace transformd
