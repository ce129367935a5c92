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

std::string printable(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto b = static_cast<unsigned char>(c);
    out += b < 0x20 && c != '\n' && c != '\t' ? '?' : b == 0x7f ? '?' : c;
  }
  return out;
}

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
