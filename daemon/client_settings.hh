// SPDX-License-Identifier: Apache-2.0
//
// The settings of a transform's clients: the daemon's defaults, what its file says and what the guarantees rest on.
#pragma once

#include "config.hh"
#include "kafka.hh"

#include <cstddef>
#include <string>

namespace transformd {

[[nodiscard]] client_settings consumer_settings(const transform_file& file);

/// Of worker `index` of the process `instance`.
[[nodiscard]] client_settings producer_settings(const transform_file& file, const std::string& instance, std::size_t index);

/// Of the client that writes the guests' log lines.
[[nodiscard]] client_settings log_producer_settings(const transform_file& file);

/// Bytes that an output record may have: what the transform's clients send.
[[nodiscard]] std::size_t largest_message(const transform_file& file);

}  // namespace transformd
