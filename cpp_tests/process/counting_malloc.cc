// SPDX-License-Identifier: Apache-2.0
#include "counting_malloc.hh"

#include <execinfo.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
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

constexpr int most_told = 4;

std::atomic<bool> watching{false};
std::atomic<int> told{most_told};
std::atomic<std::uint64_t> allocations{0};
std::atomic<std::uint64_t> frees{0};
// backtrace() may allocate.
thread_local bool telling = false;

void count(std::atomic<std::uint64_t>& what, const char* name) {
  if (!watching.load(std::memory_order_relaxed) || telling) {
    return;
  }
  ++what;
  if (told.fetch_add(1) >= most_told) {
    return;
  }
  telling = true;
  void* frames[24];
  const int depth = backtrace(frames, 24);
  (void)!write(STDERR_FILENO, name, std::strlen(name));
  (void)!write(STDERR_FILENO, "\n", 1);
  backtrace_symbols_fd(frames + 2, depth - 2, STDERR_FILENO);
  telling = false;
}

}  // namespace

namespace counting {

void begin(bool tell) {
  // The first one loads a library.
  void* frame[1];
  backtrace(frame, 1);
  allocations = 0;
  frees = 0;
  told = tell ? 0 : most_told;
  watching = true;
}

tally end() {
  watching = false;
  return {allocations, frees};
}

}  // namespace counting

extern "C" {

void* malloc(std::size_t size) noexcept {
  count(allocations, "malloc");
  return __libc_malloc(size);
}
void free(void* p) noexcept {
  if (p != nullptr) {
    count(frees, "free");
  }
  __libc_free(p);
}
void* calloc(std::size_t n, std::size_t size) noexcept {
  count(allocations, "calloc");
  return __libc_calloc(n, size);
}
void* realloc(void* p, std::size_t size) noexcept {
  count(allocations, "realloc");
  return __libc_realloc(p, size);
}
void* reallocarray(void* p, std::size_t n, std::size_t size) noexcept {
  count(allocations, "reallocarray");
  std::size_t bytes = 0;
  if (__builtin_mul_overflow(n, size, &bytes)) {
    errno = ENOMEM;
    return nullptr;
  }
  return __libc_realloc(p, bytes);
}
void* memalign(std::size_t alignment, std::size_t size) noexcept {
  count(allocations, "memalign");
  return __libc_memalign(alignment, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  count(allocations, "aligned_alloc");
  return __libc_memalign(alignment, size);
}
int posix_memalign(void** out, std::size_t alignment, std::size_t size) noexcept {
  count(allocations, "posix_memalign");
  void* p = __libc_memalign(alignment, size);
  if (p == nullptr) {
    return ENOMEM;
  }
  *out = p;
  return 0;
}
}  // extern "C"
