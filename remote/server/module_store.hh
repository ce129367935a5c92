// SPDX-License-Identifier: Apache-2.0
//
// The modules that a server has: those of its folder by name and those that hosts uploaded. All of them by content.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace wasmengine::remote {

using module_bytes = std::shared_ptr<const std::vector<std::uint8_t>>;

/// Any thread.
class module_store {
 public:
  /// Room for `upload_bytes` bytes of uploaded modules.
  explicit module_store(std::uint64_t upload_bytes) : _room(upload_bytes) {}

  struct module {
    std::string hash;
    module_bytes bytes;
  };

  /// Reads the files NAME.wasm of a folder. Throws `std::runtime_error`. Returns their number.
  std::size_t read_folder(const std::string& directory);
  [[nodiscard]] std::optional<module> by_name(const std::string& name) const;
  [[nodiscard]] module_bytes by_hash(const std::string& hash);

  /// Room for an upload. Modules that were not used for long make room. Gives it back when it is destroyed.
  class reservation {
   public:
    reservation(reservation&& other) noexcept : _store(std::exchange(other._store, nullptr)), _size(other._size) {}
    reservation& operator=(reservation&&) = delete;
    ~reservation();

   private:
    friend class module_store;
    reservation(module_store* store, std::uint64_t size) noexcept : _store(store), _size(size) {}
    module_store* _store;
    std::uint64_t _size;
  };
  /// None if there is no room.
  [[nodiscard]] std::optional<reservation> reserve(std::uint64_t size);
  /// Keeps an uploaded module, which takes the room that was reserved for it.
  module_bytes add(std::string hash, std::vector<std::uint8_t> bytes, reservation room);

  [[nodiscard]] std::uint64_t uploaded_bytes() const;

 private:
  struct uploaded {
    module_bytes bytes;
    std::list<std::string>::iterator use;
  };
  void give_back(std::uint64_t size);

  mutable std::mutex _mutex;
  std::map<std::string, module> _named;
  std::map<std::string, module_bytes> _of_folder;
  std::map<std::string, uploaded> _uploaded;
  std::list<std::string> _uses;  ///< Hashes. Of the module that was used last at the end.
  std::uint64_t _room;
  std::uint64_t _taken = 0;  ///< By uploaded modules and reservations.
};

}  // namespace wasmengine::remote
