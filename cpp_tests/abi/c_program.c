/* SPDX-License-Identifier: Apache-2.0 */
/* A host in plain C: c_program GUEST.wasm, for a guest that writes each record as often as its first digit says. */
#include "c_transform.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
  static uint8_t module[1 << 20];
  FILE *file = argc == 2 ? fopen(argv[1], "rb") : NULL;
  if (file == NULL) {
    fprintf(stderr, "usage: c_program GUEST.wasm\n");
    return 2;
  }
  const size_t size = fread(module, 1, sizeof module, file);
  fclose(file);
  size_t records = 0, bytes = 0;
  const wasm_status status = c_transform((wasm_slice){module, size}, &records, &bytes);
  printf("%s: %s, %zu records, %zu bytes\n", wasm_library_version(), wasm_status_name(status), records, bytes);
  return status == WASM_STATUS_OK && records == 3 && bytes == 15 ? 0 : 1;
}
