// SPDX-License-Identifier: Apache-2.0
#include "failing_malloc.hh"

#include <dlfcn.h>
#include <execinfo.h>
#include <link.h>
#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

// glibc's own, by the names that are not replaced here.
extern "C" {
void* __libc_malloc(std::size_t);
void __libc_free(void*);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
}

namespace {

std::atomic<bool> armed{false};
failing::plan current;
std::atomic<std::uint64_t> allocations{0};
std::atomic<std::uint64_t> refused{0};
std::atomic<std::size_t> largest{0};
std::atomic<std::int64_t> blocks{0};
std::atomic<std::int64_t> bytes{0};
std::atomic<std::int64_t> peak{0};
std::int64_t bytes_before = 0;
rlimit limit{};
std::atomic<bool> told{false};
thread_local bool telling = false;

/// Where the C library's code is.
struct range {
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;
} libc;

int find_libc(dl_phdr_info* object, std::size_t, void*) {
  if (std::strstr(object->dlpi_name, "/libc.so") == nullptr) {
    return 0;
  }
  for (int i = 0; i < object->dlpi_phnum; ++i) {
    const auto& part = object->dlpi_phdr[i];
    if (part.p_type == PT_LOAD && (part.p_flags & PF_X) != 0) {
      libc = {object->dlpi_addr + part.p_vaddr, object->dlpi_addr + part.p_vaddr + part.p_memsz};
    }
  }
  return 1;
}

void tell() {
  if (!current.tells || told.exchange(true)) {
    return;
  }
  telling = true;
  void* frames[48];
  const int depth = backtrace(frames, 48);
  backtrace_symbols_fd(frames + 2, depth - 2, STDERR_FILENO);
  telling = false;
}

bool refuses(std::size_t size, void* caller) {
  if (!armed.load(std::memory_order_acquire) || telling) {
    return false;
  }
  const auto from = reinterpret_cast<std::uintptr_t>(caller);
  if (from >= libc.begin && from < libc.end) {
    return false;
  }
  const auto n = ++allocations;
  for (auto before = largest.load(); before < size && !largest.compare_exchange_weak(before, size);) {
  }
  if (size < current.size && n != current.nth && !(current.lasting && n > current.nth)) {
    return false;
  }
  if (++refused == 1 && current.kernel) {
    // What is mapped stays, and nothing is added.
    const rlimit none{0, limit.rlim_max};
    setrlimit(RLIMIT_AS, &none);
  }
  tell();
  errno = ENOMEM;
  return true;
}

void* counted(void* p) {
  if (p != nullptr) {
    blocks.fetch_add(1, std::memory_order_relaxed);
    const auto now = bytes += static_cast<std::int64_t>(malloc_usable_size(p));
    for (auto before = peak.load(); before < now && !peak.compare_exchange_weak(before, now);) {
    }
  }
  return p;
}

void uncounted(void* p) {
  if (p != nullptr) {
    blocks.fetch_sub(1, std::memory_order_relaxed);
    bytes -= static_cast<std::int64_t>(malloc_usable_size(p));
  }
}

}  // namespace

namespace failing {

void begin(const failing::plan& p) {
  // The first one loads a library.
  void* frame[1];
  backtrace(frame, 1);
  if (libc.begin == 0) {
    dl_iterate_phdr(find_libc, nullptr);
  }
  current = p;
  getrlimit(RLIMIT_AS, &limit);
  allocations = 0;
  refused = 0;
  bytes_before = bytes;
  peak = bytes_before;
  largest = 0;
  told = false;
  armed.store(true, std::memory_order_release);
}

tally end() {
  armed = false;
  setrlimit(RLIMIT_AS, &limit);
  return {allocations, refused, largest, peak - bytes_before};
}

std::int64_t live() { return blocks; }

}  // namespace failing

extern "C" {

void* malloc(std::size_t size) noexcept {
  return refuses(size, __builtin_return_address(0)) ? nullptr : counted(__libc_malloc(size));
}
void free(void* p) noexcept {
  uncounted(p);
  __libc_free(p);
}
void* calloc(std::size_t n, std::size_t size) noexcept {
  std::size_t bytes = 0;
  if (__builtin_mul_overflow(n, size, &bytes) || refuses(bytes, __builtin_return_address(0))) {
    errno = ENOMEM;
    return nullptr;
  }
  return counted(__libc_calloc(n, size));
}
void* realloc(void* p, std::size_t size) noexcept {
  if (refuses(size, __builtin_return_address(0))) {
    return nullptr;
  }
  uncounted(p);
  void* moved = __libc_realloc(p, size);
  counted(moved == nullptr && size > 0 ? p : moved);
  return moved;
}
void* reallocarray(void* p, std::size_t n, std::size_t size) noexcept {
  std::size_t bytes = 0;
  if (__builtin_mul_overflow(n, size, &bytes)) {
    errno = ENOMEM;
    return nullptr;
  }
  return realloc(p, bytes);
}
void* memalign(std::size_t alignment, std::size_t size) noexcept {
  return refuses(size, __builtin_return_address(0)) ? nullptr : counted(__libc_memalign(alignment, size));
}
void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  return refuses(size, __builtin_return_address(0)) ? nullptr : counted(__libc_memalign(alignment, size));
}
int posix_memalign(void** out, std::size_t alignment, std::size_t size) noexcept {
  void* p = refuses(size, __builtin_return_address(0)) ? nullptr : counted(__libc_memalign(alignment, size));
  if (p == nullptr) {
    return ENOMEM;
  }
  *out = p;
  return 0;
}
}  // extern "C"
