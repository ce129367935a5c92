// SPDX-License-Identifier: Apache-2.0
//
// Input that is compressed as a whole: gzip and Zstandard.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string_view>

namespace tool {

/// How input is compressed. Batches of Kafka have compression of their own, which is not meant here.
enum class input_codec { automatic, none, gzip, zstd };

/// Decompresses a stream, which may be several streams one behind the other. Used by one thread.
class decompressor {
 public:
  /// Reads compressed bytes to a place with room for some. 0 is the end.
  using source = std::function<std::size_t(char* to, std::size_t room)>;

  /// gzip or zstd.
  [[nodiscard]] static std::unique_ptr<decompressor> create(input_codec codec, source from);
  virtual ~decompressor() = default;

  /// Up to `room` bytes. 0 is the end. Throws `failure` for what is no such stream and for one that is cut off.
  [[nodiscard]] virtual std::size_t read(char* to, std::size_t room) = 0;
};

/// Bytes by which a codec is known.
inline constexpr std::size_t magic_size = 4;

/// The codec that content beginning with these bytes has. `automatic` if more of the `magic_size` bytes decide.
[[nodiscard]] input_codec codec_of(std::string_view begin);

}  // namespace tool
