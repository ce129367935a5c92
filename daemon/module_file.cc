// SPDX-License-Identifier: Apache-2.0
#include "module_file.hh"

#include <curl/curl.h>
#include <fmt/format.h>
#include <openssl/evp.h>

#include <array>
#include <fstream>
#include <iterator>
#include <memory>
#include <new>

namespace transformd {

namespace {

/// The runtime's limit for modules.
constexpr std::size_t largest_module = 64U << 20;
constexpr long patience_s = 120;
constexpr long most_redirects = 5;

std::vector<std::uint8_t> read_path(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    throw config_error(fmt::format("cannot read the module {}", path));
  }
  return {std::istreambuf_iterator<char>(file), {}};
}

std::size_t take_bytes(const char* bytes, std::size_t, std::size_t size, void* out) noexcept {
  auto& all = *static_cast<std::vector<std::uint8_t>*>(out);
  if (all.size() + size > largest_module) {
    return 0;
  }
  try {
    all.insert(all.end(), bytes, bytes + size);
    return size;
  } catch (const std::bad_alloc&) {
    return 0;
  }
}

int look(void* give_up, curl_off_t, curl_off_t, curl_off_t, curl_off_t) noexcept {
  return static_cast<const std::atomic<bool>*>(give_up)->load() ? 1 : 0;
}

std::vector<std::uint8_t> download(const transform_file& file, const std::atomic<bool>& give_up) {
  const auto& url = file.module;
  const auto shown = file.module_shown();
  static const auto initialized = curl_global_init(CURL_GLOBAL_DEFAULT);
  const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> easy(curl_easy_init(), curl_easy_cleanup);
  if (initialized != CURLE_OK || !easy) {
    throw config_error("the HTTP client cannot be started");
  }
  std::vector<std::uint8_t> out;
  std::array<char, CURL_ERROR_SIZE> why{};
  curl_easy_setopt(easy.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(easy.get(), CURLOPT_ERRORBUFFER, why.data());
  curl_easy_setopt(easy.get(), CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy.get(), CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy.get(), CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy.get(), CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt(easy.get(), CURLOPT_MAXREDIRS, most_redirects);
  curl_easy_setopt(easy.get(), CURLOPT_FAILONERROR, 1L);
  curl_easy_setopt(easy.get(), CURLOPT_TIMEOUT, patience_s);
  curl_easy_setopt(easy.get(), CURLOPT_USERAGENT, "wasm-transformd");
  curl_easy_setopt(easy.get(), CURLOPT_WRITEFUNCTION, take_bytes);
  curl_easy_setopt(easy.get(), CURLOPT_WRITEDATA, &out);
  curl_easy_setopt(easy.get(), CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(easy.get(), CURLOPT_XFERINFOFUNCTION, look);
  curl_easy_setopt(easy.get(), CURLOPT_XFERINFODATA, &give_up);
  const auto code = curl_easy_perform(easy.get());
  if (code == CURLE_WRITE_ERROR) {
    throw config_error(fmt::format("the module {} has more than {} MiB", shown, largest_module >> 20));
  }
  if (code != CURLE_OK) {
    throw config_error(fmt::format("cannot get the module {}: {}", shown, why[0] != '\0' ? why.data() : curl_easy_strerror(code)));
  }
  return out;
}

}  // namespace

std::string sha256(std::span<const std::uint8_t> bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_sha256(), nullptr) != 1) {
    throw std::runtime_error("SHA-256 failed");
  }
  std::string text;
  for (unsigned int i = 0; i < size; ++i) {
    text += fmt::format("{:02x}", digest[i]);
  }
  return text;
}

std::vector<std::uint8_t> read_module(const transform_file& file, const std::atomic<bool>& give_up) {
  auto module = file.module_is_remote() ? download(file, give_up) : read_path(file.module);
  if (file.module_sha256) {
    if (const auto digest = sha256(module); digest != *file.module_sha256) {
      throw config_error(fmt::format("the module {} has the SHA-256 {}; {} wants {}", file.module_shown(), digest, file.path.string(),
                                     *file.module_sha256));
    }
  }
  return module;
}

}  // namespace transformd
