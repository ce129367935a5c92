/* SPDX-License-Identifier: Apache-2.0 */
/* Loads the library, works with it, and closes it, a thousand times in one process, which must not grow.
 *
 *   dlopen_cycles LIBRARY GUEST.wasm
 *
 * The C library's malloc counts blocks as used that are in its caches, so these must be switched off by GLIBC_TUNABLES:
 * glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0:glibc.malloc.arena_max=1. */
#define _GNU_SOURCE
#include "dlopen_host.h"

#include <dirent.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { WARM_UP = 100, CYCLES = 1100 };

/* What the process has. */
struct belongings {
  size_t threads, files, mappings, resident, heap;
};

static size_t entries(const char *directory) {
  size_t count = 0;
  DIR *open = opendir(directory);
  check(open != NULL, directory);
  for (const struct dirent *entry; (entry = readdir(open)) != NULL;) count += entry->d_name[0] != '.';
  closedir(open);
  return count;
}

static size_t mappings(void) {
  FILE *file = fopen("/proc/self/maps", "r");
  check(file != NULL, "/proc/self/maps");
  size_t lines = 0;
  for (int c; (c = fgetc(file)) != EOF;) lines += c == '\n';
  fclose(file);
  return lines;
}

static size_t resident(void) {
  FILE *file = fopen("/proc/self/statm", "r");
  size_t all = 0, pages = 0;
  check(file != NULL && fscanf(file, "%zu %zu", &all, &pages) == 2, "/proc/self/statm");
  fclose(file);
  return pages * 4096;
}

static struct belongings measure(void) {
  return (struct belongings){entries("/proc/self/task"), entries("/proc/self/fd"), mappings(), resident(),
                             mallinfo2().uordblks};
}

/* Compile threads end a little after their runtime. */
static void wait_for_threads(size_t count) {
  const struct timespec pause = {0, 1000000};
  for (int i = 0; i < 10000 && entries("/proc/self/task") > count; i++) nanosleep(&pause, NULL);
  check(entries("/proc/self/task") == count, "all threads end");
}

int main(int argc, char **argv) {
  static struct module module;
  check(argc == 3, "usage: dlopen_cycles LIBRARY GUEST.wasm");
  read_module(&module, argv[2]);
  /* Nothing of this is in a file's buffer when it is measured. */
  setvbuf(stdout, NULL, _IONBF, 0);
  struct belongings before = {0};
  for (int i = 0; i < CYCLES; i++) {
    if (i == WARM_UP) before = measure();
    struct world w;
    begin_world(&w, argv[1], &module);
    ask(&w);
    /* Every other guest is released while it waits. */
    if (i % 2 == 0) answer(&w);
    end_world(&w);
    wait_for_threads(1);
  }
  const struct belongings after = measure();
  printf("threads %zu %zu, files %zu %zu, mappings %zu %zu, resident %zu %zu, heap %zu %zu\n", before.threads,
         after.threads, before.files, after.files, before.mappings, after.mappings, before.resident, after.resident,
         before.heap, after.heap);
  check(after.threads == before.threads, "as many threads");
  check(after.files == before.files, "as many files");
  check(after.mappings <= before.mappings + 4, "as many mappings");
  /* Both vary a little. The smallest block that is left over by each cycle has 32 bytes. */
  check(after.heap < before.heap + (CYCLES - WARM_UP) * 8, "as much of the heap");
  check(after.resident < before.resident + (CYCLES - WARM_UP) * 1024, "as much memory");
  puts("dlopen_cycles: ok");
  return 0;
}
