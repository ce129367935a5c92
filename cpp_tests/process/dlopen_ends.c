/* SPDX-License-Identifier: Apache-2.0 */
/* Ends of a process that has the library loaded: the exit status is the program's, whatever is still alive.
 *
 *   dlopen_ends LIBRARY GUEST.wasm WHAT HOW
 *
 * WHAT is alive at the end: `runtime`; an `engine` whose guest is idle; one whose guest has asked the host for something
 * (`suspended`); `nothing`, because a destructor of the program releases it all; or the same, after the destructor has
 * gone on with the engine (`used`), or been told that no new guest can start (`renewed`).
 *
 * HOW it ends: by `return` from main, by `exit` there, by exit() on another `thread`; or by a fault of the host's own,
 * which its own handler, installed before, must get: `fault` after the library was closed, `fault-open` before. */
#define _GNU_SOURCE
#include "dlopen_host.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STATUS = 42, HANDLED = 43 };

static struct world world;
static enum { LEAVE, RELEASE, USE, RENEW } at_end = LEAVE;
static char *volatile nowhere = (char *)8;

/* Runs when main has ended, its thread-locals are gone, and the functions of atexit have run. */
__attribute__((destructor)) static void static_destructor(void) {
  if (at_end == USE || at_end == RENEW) {
    answer(&world);
    if (at_end == RENEW) {
      refuse_to_renew(&world);
    } else {
      ask(&world);
      answer(&world);
    }
  }
  if (at_end != LEAVE) end_world(&world);
}

static void on_fault(int signal, siginfo_t *info, void *context) {
  (void)context;
  _exit(signal == SIGSEGV && info->si_addr == (void *)nowhere ? HANDLED : 3);
}

static void *exit_here(void *unused) {
  (void)unused;
  exit(STATUS);
}

int main(int argc, char **argv) {
  static struct module module;
  check(argc == 5, "usage: dlopen_ends LIBRARY GUEST.wasm WHAT HOW");
  const char *what = argv[3], *how = argv[4];
  read_module(&module, argv[2]);
  struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
  check(sigaction(SIGSEGV, &action, NULL) == 0, "sigaction");

  begin_world(&world, argv[1], &module);
  if (strcmp(what, "runtime") == 0) {
    check(world.lib.engine_release(world.engine, NULL) == WASM_STATUS_OK, "release the engine");
    world.lib.factory_release(world.factory);
  } else if (strcmp(what, "engine") == 0) {
    ask(&world);
    answer(&world);
  } else {
    ask(&world);
    at_end = strcmp(what, "nothing") == 0   ? RELEASE
             : strcmp(what, "used") == 0    ? USE
             : strcmp(what, "renewed") == 0 ? RENEW
                                            : LEAVE;
  }

  if (strcmp(how, "return") == 0) return STATUS;
  if (strcmp(how, "exit") == 0) exit(STATUS);
  if (strcmp(how, "thread") == 0) {
    pthread_t thread;
    check(pthread_create(&thread, NULL, exit_here, NULL) == 0, "a thread");
    for (;;) pause();
  }
  if (strcmp(how, "fault") == 0) {
    at_end = LEAVE;
    end_world(&world);
  }
  *nowhere = 1;
  return 2;
}
