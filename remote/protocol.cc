// SPDX-License-Identifier: Apache-2.0
#include "protocol.hh"

#include <openssl/evp.h>

#include <stdexcept>

namespace wasmengine::remote {

std::string sha256(std::span<const std::uint8_t> bytes) {
  std::string out(hash_size, '\0');
  unsigned int size = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), reinterpret_cast<unsigned char*>(out.data()), &size, EVP_sha256(),
                 nullptr) != 1 ||
      size != hash_size) {
    throw std::runtime_error("OpenSSL refused SHA-256");
  }
  return out;
}

std::string hex(std::string_view bytes) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string out;
  for (const char c : bytes) {
    const auto b = static_cast<unsigned char>(c);
    out += digits[b >> 4];
    out += digits[b & 15];
  }
  return out;
}

namespace {

/// Bytes of the character in UTF-8 that `text` begins with. 0 if there is none.
std::size_t character(std::string_view text) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = at(0);
  const std::size_t size = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
  if (size > text.size()) {
    return 0;
  }
  for (std::size_t i = 1; i < size; ++i) {
    if ((at(i) & 0xc0) != 0x80) {
      return 0;
    }
  }
  // Longer than need be, halves of pairs, and beyond the last character.
  const bool is_none = size > 2 && ((lead == 0xe0 && at(1) < 0xa0) || (lead == 0xed && at(1) > 0x9f) ||
                                    (lead == 0xf0 && at(1) < 0x90) || (lead == 0xf4 && at(1) > 0x8f));
  return is_none ? 0 : size;
}

std::string without_controls(std::string_view text, bool lines) {
  std::string out;
  while (!text.empty()) {
    const auto c = static_cast<unsigned char>(text.front());
    const auto size = character(text);
    const bool is_c1 = size == 2 && c == 0xc2 && static_cast<unsigned char>(text[1]) < 0xa0;
    if (c == '\n' || c == '\t') {
      out += lines ? text.front() : ' ';
    } else if (size == 0 || c < 0x20 || c == 0x7f || is_c1) {
      out += '?';
    } else {
      out += text.substr(0, size);
    }
    text.remove_prefix(size == 0 ? 1 : size);
  }
  return out;
}

}  // namespace

std::string printable(std::string_view text) { return without_controls(text, false); }

std::string printable_lines(std::string_view text) { return without_controls(text, true); }

bool is_local(std::string_view address) {
  if (address.starts_with("unix:") || address.starts_with("unix-abstract:")) {
    return true;
  }
  const auto colon = address.rfind(':');
  auto host = address.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
  }
  if (host == "localhost" || host == "::1") {
    return true;
  }
  // Numbers only: a name such as 127.example.com may lead anywhere.
  return host.starts_with("127.") && host.find_first_not_of("0123456789.") == host.npos;
}

bool same_secret(std::string_view a, std::string_view b) noexcept {
  unsigned differences = a.size() == b.size() ? 0 : 1;
  for (std::size_t i = 0; i < a.size(); ++i) {
    differences |= static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b.empty() ? 0 : b[i % b.size()]);
  }
  return differences == 0;
}

}  // namespace wasmengine::remote
