// SPDX-License-Identifier: Apache-2.0
//
// Whose function the library really calls. A program that defines `malloc`, or another function of the system, means
// the library to use it; if the linker bound the library to something else, a test that watches it would see nothing.
#pragma once

#include <elf.h>
#include <link.h>

#include <cstring>
#include <string_view>

namespace process {

namespace detail {

struct lookup {
  std::string_view library;
  std::string_view symbol;
  void* bound = nullptr;
};

template <typename T>
const T* table(const dl_phdr_info& object, ElfW(Addr) at) {
  // glibc has relocated these addresses on most machines, and on some it has not.
  return reinterpret_cast<const T*>(at >= object.dlpi_addr ? at : object.dlpi_addr + at);
}

inline int look(dl_phdr_info* object, std::size_t, void* data) {
  auto& wanted = *static_cast<lookup*>(data);
  if (std::string_view(object->dlpi_name).find(wanted.library) == std::string_view::npos) {
    return 0;
  }
  const ElfW(Dyn)* dynamic = nullptr;
  for (int i = 0; i < object->dlpi_phnum; ++i) {
    if (object->dlpi_phdr[i].p_type == PT_DYNAMIC) {
      dynamic = reinterpret_cast<const ElfW(Dyn)*>(object->dlpi_addr + object->dlpi_phdr[i].p_vaddr);
    }
  }
  ElfW(Addr) symbols = 0;
  ElfW(Addr) names = 0;
  ElfW(Addr) relocations[2] = {0, 0};
  std::size_t sizes[2] = {0, 0};
  for (; dynamic != nullptr && dynamic->d_tag != DT_NULL; ++dynamic) {
    switch (dynamic->d_tag) {
      case DT_SYMTAB: symbols = dynamic->d_un.d_ptr; break;
      case DT_STRTAB: names = dynamic->d_un.d_ptr; break;
      case DT_RELA: relocations[0] = dynamic->d_un.d_ptr; break;
      case DT_RELASZ: sizes[0] = dynamic->d_un.d_val; break;
      case DT_JMPREL: relocations[1] = dynamic->d_un.d_ptr; break;
      case DT_PLTRELSZ: sizes[1] = dynamic->d_un.d_val; break;
      default: break;
    }
  }
  for (int t = 0; t < 2; ++t) {
    const auto* relocation = table<ElfW(Rela)>(*object, relocations[t]);
    for (std::size_t i = 0; i < sizes[t] / sizeof(*relocation); ++i) {
      const auto& symbol = table<ElfW(Sym)>(*object, symbols)[ELF64_R_SYM(relocation[i].r_info)];
      if (wanted.symbol == table<char>(*object, names) + symbol.st_name) {
        wanted.bound = *reinterpret_cast<void**>(object->dlpi_addr + relocation[i].r_offset);
        return 1;
      }
    }
  }
  return 1;
}

}  // namespace detail

/// The function that this library calls by this name; NULL if it calls none.
inline void* bound(std::string_view symbol, std::string_view library = "libwasm_engine") {
  detail::lookup wanted{library, symbol};
  dl_iterate_phdr(detail::look, &wanted);
  return wanted.bound;
}

/// Whether the library calls this very function.
template <typename F>
bool calls(F* function, std::string_view symbol) {
  return bound(symbol) == reinterpret_cast<void*>(function);
}

}  // namespace process
