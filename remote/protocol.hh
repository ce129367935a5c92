// SPDX-License-Identifier: Apache-2.0
//
// What both sides of the protocol agree on beside its messages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace wasmengine::remote {

/// The versions of the protocol that this library speaks.
inline constexpr std::uint32_t newest_version = 2;
inline constexpr std::uint32_t oldest_version = 1;

/// The first version in which a batch may come in pieces.
inline constexpr std::uint32_t pieces_version = 2;

/// Bytes of a piece of a module or of a batch.
inline constexpr std::size_t chunk_size = 256U << 10;
inline constexpr std::size_t max_chunk_size = 1U << 20;

/// What a message has beside payloads, batches and modules.
inline constexpr std::size_t message_overhead = 64U << 10;

/// Bytes of `Open`.
inline constexpr std::size_t max_open_size = 1U << 20;

/// What a message of the server may have of things that take some bytes on the wire and many times as many in memory.
inline constexpr int max_log_lines = 8'192;
inline constexpr int max_frames = 1'024;

inline constexpr std::size_t hash_size = 32;

/// SHA-256.
[[nodiscard]] std::string sha256(std::span<const std::uint8_t> bytes);

/// In hexadecimal.
[[nodiscard]] std::string hex(std::string_view bytes);

/// A line without what terminals obey, for logs: control characters and what is no UTF-8 become question marks, line
/// breaks and tabs become spaces. So what a peer says is one line.
[[nodiscard]] std::string printable(std::string_view text);

/// The same for messages, which may have several lines and tabs.
[[nodiscard]] std::string printable_lines(std::string_view text);

/// Whether an address of gRPC stays within this computer.
[[nodiscard]] bool is_local(std::string_view address);

/// Whether two texts are the same. Takes the same time wherever they differ.
[[nodiscard]] bool same_secret(std::string_view a, std::string_view b) noexcept;

}  // namespace wasmengine::remote
