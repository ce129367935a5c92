// SPDX-License-Identifier: Apache-2.0
//
// HTTP/1.1 on a Unix socket or a port of the loopback.
#pragma once

#include "control.hh"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/io_context.hpp>

#include <cstdint>
#include <string>

namespace transformd {

namespace asio = boost::asio;

/// Serves requests on `loop` until it stops. Throws `std::system_error`. Returns the port.
std::uint16_t serve_tcp(asio::io_context& loop, const std::string& address, std::uint16_t port, control& c);
/// A socket file of an earlier process that nobody listens on is replaced.
void serve_unix(asio::io_context& loop, const std::string& path, control& c);

}  // namespace transformd
