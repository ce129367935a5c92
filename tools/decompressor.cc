// SPDX-License-Identifier: Apache-2.0
#include "decompressor.hh"

#include "exit_code.hh"

#include <fmt/format.h>

#include <algorithm>
#include <new>
#include <utility>
#include <vector>
#include <zlib.h>
#include <zstd.h>

namespace tool {

namespace {

constexpr std::string_view gzip_magic("\x1f\x8b\x08");
constexpr std::string_view zstd_magic("\x28\xb5\x2f\xfd");
/// Of frames without content, behind a first byte from 0x50 to 0x5f. Parallel compressors begin with one.
constexpr std::string_view skippable_magic("\x2a\x4d\x18");
constexpr std::size_t block = 256U << 10;

[[noreturn]] void refuse(const char* codec, const char* why) {
  throw failure(exit_code::bad_input, fmt::format("the input begins as {} does, but {} (--input-compression none takes "
                                                  "it as it is)",
                                                  codec, why));
}

constexpr const char* cut_off = "is cut off";

/// Whether one of the two begins with the other.
bool agree(std::string_view a, std::string_view b) {
  const auto common = std::min(a.size(), b.size());
  return a.substr(0, common) == b.substr(0, common);
}

bool may_be_skippable(std::string_view begin) {
  return begin.empty() || ((static_cast<unsigned char>(begin[0]) & 0xf0U) == 0x50 && agree(begin.substr(1), skippable_magic));
}

/// The part that both codecs have: compressed bytes that were read and not yet used.
class buffered : public decompressor {
 protected:
  buffered(source from, const char* codec) : _from(std::move(from)), _codec(codec), _input(block) {}

  /// Whether there are compressed bytes. Reads more if all were used.
  bool fill() {
    if (_begin == _end) {
      _begin = 0;
      _end = _from(_input.data(), _input.size());
    }
    _any = _any || _begin < _end;
    return _begin < _end;
  }

  /// The end of the compressed bytes. No bytes at all are no stream either.
  void end(bool within) const {
    if (within) {
      refuse(_codec, cut_off);
    }
    if (!_any) {
      throw failure(exit_code::bad_input, fmt::format("the input is empty and no {} stream", _codec));
    }
  }

  source _from;
  const char* _codec;
  std::vector<char> _input;
  std::size_t _begin = 0;
  std::size_t _end = 0;
  bool _any = false;  ///< There were compressed bytes.
};

class gzip_decompressor : public buffered {
 public:
  explicit gzip_decompressor(source from) : buffered(std::move(from), "gzip") {
    constexpr int gzip_only = 15 + 16;
    if (inflateInit2(&_stream, gzip_only) != Z_OK) {
      throw std::bad_alloc();
    }
  }
  gzip_decompressor(gzip_decompressor&&) = delete;
  ~gzip_decompressor() override { inflateEnd(&_stream); }

  std::size_t read(char* to, std::size_t room) override {
    for (;;) {
      if (!fill()) {
        end(_within);
        return 0;
      }
      if (!std::exchange(_within, true)) {
        inflateReset(&_stream);
      }
      _stream.next_in = reinterpret_cast<Bytef*>(_input.data() + _begin);
      _stream.avail_in = static_cast<uInt>(_end - _begin);
      _stream.next_out = reinterpret_cast<Bytef*>(to);
      _stream.avail_out = static_cast<uInt>(room);
      const int state = inflate(&_stream, Z_NO_FLUSH);
      _begin = _end - _stream.avail_in;
      if (state == Z_STREAM_END) {
        _within = false;
      } else if (state != Z_OK && state != Z_BUF_ERROR) {
        refuse(_codec, _stream.msg != nullptr ? _stream.msg : "is damaged");
      }
      if (const auto got = room - _stream.avail_out; got > 0) {
        return got;
      }
    }
  }

 private:
  z_stream _stream{};
  bool _within = false;  ///< A member has begun and not ended.
};

class zstd_decompressor : public buffered {
 public:
  explicit zstd_decompressor(source from) : buffered(std::move(from), "Zstandard") {
    if (_stream == nullptr) {
      throw std::bad_alloc();
    }
  }

  std::size_t read(char* to, std::size_t room) override {
    for (;;) {
      // A frame may have output left although all input was used.
      const bool has_input = fill();
      if (!has_input && !_flushing) {
        end(_within);
        return 0;
      }
      ZSTD_inBuffer input{_input.data() + _begin, _end - _begin, 0};
      ZSTD_outBuffer output{to, room, 0};
      const auto left = ZSTD_decompressStream(_stream.get(), &output, &input);
      if (ZSTD_isError(left) != 0) {
        refuse(_codec, ZSTD_getErrorName(left));
      }
      _begin += input.pos;
      _within = left != 0;
      _flushing = output.pos == output.size && _within;
      if (output.pos > 0) {
        return output.pos;
      }
    }
  }

 private:
  std::unique_ptr<ZSTD_DStream, decltype(&ZSTD_freeDStream)> _stream{ZSTD_createDStream(), ZSTD_freeDStream};
  bool _within = false;
  bool _flushing = false;
};

}  // namespace

std::unique_ptr<decompressor> decompressor::create(input_codec codec, source from) {
  if (codec == input_codec::gzip) {
    return std::make_unique<gzip_decompressor>(std::move(from));
  }
  return std::make_unique<zstd_decompressor>(std::move(from));
}

input_codec codec_of(std::string_view begin) {
  const auto decided = [&](std::size_t size, input_codec codec) {
    return begin.size() >= size ? codec : input_codec::automatic;
  };
  if (agree(begin, gzip_magic)) {
    return decided(gzip_magic.size(), input_codec::gzip);
  }
  if (agree(begin, zstd_magic) || may_be_skippable(begin)) {
    return decided(magic_size, input_codec::zstd);
  }
  return input_codec::none;
}

}  // namespace tool
