// SPDX-License-Identifier: Apache-2.0
#include "core_malloc.hh"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

namespace {

constexpr std::uint64_t live = 0x6576'696c'0000'0001;
constexpr std::uint64_t freed = 0x6465'6572'6600'0002;
constexpr int smallest = 6;  // 64 bytes, the header included
constexpr int largest = 20;  // beyond that, each block has a mapping of its own
constexpr std::size_t chunk = 8 << 20;

/// Stands before each block. `mark` depends on where it stands, so that a copy is none.
struct header {
  std::uint64_t mark;
  std::uint32_t owner;
  std::uint32_t order;  ///< The block has 1 << order bytes from `base` on; it is mapped by itself if that is > largest.
  std::size_t size;     ///< As it was asked for.
  void* base;
};
static_assert(sizeof(header) == 32);

/// What a free block holds, at its end: its header goes on saying that it is free.
struct free_block {
  free_block* next;
  void* base;
  std::uint32_t order;

  static free_block* make(void* base, std::uint32_t order) {
    char* end = static_cast<char*>(base) + (std::size_t{1} << order);
    return new (end - sizeof(free_block)) free_block{nullptr, base, order};
  }
};

struct arena {
  // Only its thread touches these.
  free_block* free[largest + 1] = {};
  char* bump = nullptr;
  char* bump_end = nullptr;
  // What other threads gave back.
  std::atomic<free_block*> returned{nullptr};
  std::atomic<bool> taken{false};
  std::atomic<std::int64_t> blocks{0};
  std::atomic<std::int64_t> bytes{0};
  std::atomic<std::uint64_t> allocations{0};
  std::atomic<std::uint64_t> freed_elsewhere{0};
};

constinit arena all[core_malloc::arenas];
constinit thread_local int own = -1;

[[noreturn]] void die(const char* why) {
  (void)!write(STDERR_FILENO, why, std::strlen(why));
  std::abort();
}

void leave(void*) {
  all[own].taken.store(false, std::memory_order_release);
  own = -1;
}

/// So that an arena is free again when its thread has ended. A thread that allocates after that gets another one.
void leave_at_end() {
  static const pthread_key_t key = [] {
    pthread_key_t k = 0;
    if (pthread_key_create(&k, leave) != 0) {
      die("core_malloc: no key\n");
    }
    return k;
  }();
  pthread_setspecific(key, &key);
}

bool take(int index) {
  if (all[index].taken.exchange(true, std::memory_order_acquire)) {
    return false;
  }
  own = index;
  leave_at_end();
  return true;
}

arena& my_arena() {
  for (int i = 0; own < 0 && i < core_malloc::arenas; ++i) {
    take(i);
  }
  return own < 0 ? (die("core_malloc: too many threads\n"), all[0]) : all[own];
}

char* map(std::size_t size) {
  void* p = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return p == MAP_FAILED ? nullptr : static_cast<char*>(p);
}

void recycle(arena& a, void* base, std::uint32_t order) {
  if (order > largest) {
    munmap(base, std::size_t{1} << order);
    return;
  }
  auto* b = free_block::make(base, order);
  b->next = std::exchange(a.free[order], b);
}

char* block(arena& a, std::uint32_t order) {
  for (auto* b = a.returned.exchange(nullptr, std::memory_order_acquire); b != nullptr;) {
    auto* next = b->next;
    recycle(a, b->base, b->order);
    b = next;
  }
  const auto size = std::size_t{1} << order;
  if (order > largest) {
    return map(size);
  }
  if (auto* b = a.free[order]) {
    a.free[order] = b->next;
    return static_cast<char*>(b->base);
  }
  if (a.bump == nullptr || static_cast<std::size_t>(a.bump_end - a.bump) < size) {
    a.bump = map(chunk);
    a.bump_end = a.bump == nullptr ? nullptr : a.bump + chunk;
  }
  return a.bump == nullptr ? nullptr : std::exchange(a.bump, a.bump + size);
}

std::uint64_t mark(std::uint64_t state, const void* p) { return state ^ reinterpret_cast<std::uintptr_t>(p); }

header* header_of(void* p) {
  if (reinterpret_cast<std::uintptr_t>(p) % 16 != 0) {
    die("core_malloc: a pointer that nobody was given\n");
  }
  auto* h = static_cast<header*>(p) - 1;
  if (h->mark == mark(freed, p)) {
    die("core_malloc: freed twice\n");
  }
  if (h->mark != mark(live, p)) {
    die("core_malloc: a foreign pointer\n");
  }
  return h;
}

void* allocate(std::size_t size, std::size_t alignment = 16) {
  alignment = std::max<std::size_t>(alignment, 16);
  const std::size_t needed = size + sizeof(header) + (alignment - 16);
  if (needed < size || needed > std::size_t{1} << 40) {
    errno = ENOMEM;
    return nullptr;
  }
  auto& a = my_arena();
  const auto order = static_cast<std::uint32_t>(std::max<int>(smallest, std::bit_width(needed - 1)));
  char* base = block(a, order);
  if (base == nullptr) {
    errno = ENOMEM;
    return nullptr;
  }
  const auto at = (reinterpret_cast<std::uintptr_t>(base) + sizeof(header) + alignment - 1) & ~(alignment - 1);
  auto* p = reinterpret_cast<void*>(at);
  *(static_cast<header*>(p) - 1) = {mark(live, p), static_cast<std::uint32_t>(own), order, size, base};
  std::memset(p, 0xA5, std::min<std::size_t>(size, 4'096));
  ++a.blocks;
  a.bytes += static_cast<std::int64_t>(size);
  ++a.allocations;
  return p;
}

void give_back(void* p) {
  auto* h = header_of(p);
  const header was = *h;
  h->mark = mark(freed, p);
  std::memset(p, 0xDD, std::min<std::size_t>(was.size, 4'096));
  auto& owner = all[was.owner];
  --owner.blocks;
  owner.bytes -= static_cast<std::int64_t>(was.size);
  if (static_cast<int>(was.owner) == own) {
    recycle(owner, was.base, was.order);
    return;
  }
  ++owner.freed_elsewhere;
  auto* b = free_block::make(was.base, was.order);
  b->next = owner.returned.load(std::memory_order_relaxed);
  while (!owner.returned.compare_exchange_weak(b->next, b, std::memory_order_release, std::memory_order_relaxed)) {
  }
}

}  // namespace

namespace core_malloc {

account of(int index) {
  const auto& a = all[index];
  return {a.blocks, a.bytes, a.allocations, a.freed_elsewhere};
}

int mine() {
  my_arena();
  return own;
}

void use(int index) {
  if (own >= 0) {
    leave(nullptr);
  }
  if (!take(index)) {
    die("core_malloc: somebody has this arena\n");
  }
}

}  // namespace core_malloc

extern "C" {

void* malloc(std::size_t size) noexcept { return allocate(size); }
void free(void* p) noexcept {
  if (p != nullptr) {
    give_back(p);
  }
}
void* calloc(std::size_t n, std::size_t size) noexcept {
  std::size_t bytes = 0;
  if (__builtin_mul_overflow(n, size, &bytes)) {
    errno = ENOMEM;
    return nullptr;
  }
  void* p = allocate(bytes);
  return p == nullptr ? nullptr : std::memset(p, 0, bytes);
}
void* realloc(void* old, std::size_t size) noexcept {
  if (old == nullptr) {
    return allocate(size);
  }
  const std::size_t old_size = header_of(old)->size;
  void* p = allocate(size);
  if (p != nullptr) {
    std::memcpy(p, old, std::min(size, old_size));
    give_back(old);
  }
  return p;
}
void* reallocarray(void* old, std::size_t n, std::size_t size) noexcept {
  std::size_t bytes = 0;
  if (__builtin_mul_overflow(n, size, &bytes)) {
    errno = ENOMEM;
    return nullptr;
  }
  return realloc(old, bytes);
}
void* memalign(std::size_t alignment, std::size_t size) noexcept { return allocate(size, alignment); }
void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept { return allocate(size, alignment); }
int posix_memalign(void** out, std::size_t alignment, std::size_t size) noexcept {
  void* p = allocate(size, alignment);
  if (p == nullptr) {
    return ENOMEM;
  }
  *out = p;
  return 0;
}
void* valloc(std::size_t size) noexcept { return allocate(size, 4'096); }
std::size_t malloc_usable_size(void* p) noexcept { return p == nullptr ? 0 : header_of(p)->size; }

}  // extern "C"
