// SPDX-License-Identifier: Apache-2.0
#include "module_store.hh"

#include "protocol.hh"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <utility>

namespace wasmengine::remote {

std::size_t module_store::read_folder(const std::string& directory) {
  std::map<std::string, module> named;
  std::map<std::string, module_bytes> of_folder;
  std::error_code why;
  for (std::filesystem::directory_iterator entry(directory, why), end; !why && entry != end; entry.increment(why)) {
    if (entry->path().extension() != ".wasm") {
      continue;
    }
    std::ifstream in(entry->path(), std::ios::binary);
    std::vector<std::uint8_t> bytes{std::istreambuf_iterator<char>(in), {}};
    if (!in.good() && !in.eof()) {
      throw std::runtime_error(entry->path().string() + " cannot be read");
    }
    auto hash = sha256(bytes);
    auto shared = std::make_shared<const std::vector<std::uint8_t>>(std::move(bytes));
    of_folder[hash] = shared;
    named[entry->path().stem()] = {std::move(hash), std::move(shared)};
  }
  if (why) {
    throw std::runtime_error(directory + " cannot be read: " + why.message());
  }
  const std::lock_guard lock(_mutex);
  _named = std::move(named);
  _of_folder = std::move(of_folder);
  return _named.size();
}

std::optional<module_store::module> module_store::by_name(const std::string& name) const {
  const std::lock_guard lock(_mutex);
  const auto found = _named.find(name);
  return found == _named.end() ? std::nullopt : std::optional(found->second);
}

module_bytes module_store::by_hash(const std::string& hash) {
  const std::lock_guard lock(_mutex);
  if (const auto found = _of_folder.find(hash); found != _of_folder.end()) {
    return found->second;
  }
  const auto found = _uploaded.find(hash);
  if (found == _uploaded.end()) {
    return nullptr;
  }
  _uses.splice(_uses.end(), _uses, found->second.use);
  return found->second.bytes;
}

std::optional<module_store::reservation> module_store::reserve(std::uint64_t size) {
  const std::lock_guard lock(_mutex);
  if (size > _room) {
    return std::nullopt;
  }
  while (_room - _taken < size && !_uses.empty()) {
    const auto oldest = _uploaded.find(_uses.front());
    _taken -= oldest->second.bytes->size();
    _uploaded.erase(oldest);
    _uses.pop_front();
  }
  if (_room - _taken < size) {
    return std::nullopt;
  }
  _taken += size;
  return reservation(this, size);
}

module_bytes module_store::add(std::string hash, std::vector<std::uint8_t> bytes, reservation room) {
  const std::lock_guard lock(_mutex);
  if (const auto found = _uploaded.find(hash); found != _uploaded.end()) {
    // Another host was faster.
    _taken -= room._size;
    room._store = nullptr;
    return found->second.bytes;
  }
  auto shared = std::make_shared<const std::vector<std::uint8_t>>(std::move(bytes));
  room._store = nullptr;
  _uses.push_back(hash);
  _uploaded.emplace(std::move(hash), uploaded{shared, std::prev(_uses.end())});
  return shared;
}

std::uint64_t module_store::uploaded_bytes() const {
  const std::lock_guard lock(_mutex);
  return _taken;
}

void module_store::give_back(std::uint64_t size) {
  const std::lock_guard lock(_mutex);
  _taken -= size;
}

module_store::reservation::~reservation() {
  if (_store != nullptr) {
    _store->give_back(_size);
  }
}

}  // namespace wasmengine::remote
