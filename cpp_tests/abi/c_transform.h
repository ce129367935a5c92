/* SPDX-License-Identifier: Apache-2.0 */
/* A transform from end to end, in C11: shared by a program in C and a GoogleTest suite. */
#ifndef C_TRANSFORM_H
#define C_TRANSFORM_H

#include <wasm_engine.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Runs `module` over a batch of the values "0 none", "1 one", "2 two" and counts the output records and bytes. Gives the
 * first status that is not OK; what went wrong is printed to stderr. */
wasm_status c_transform(wasm_slice module, size_t *records, size_t *bytes);

#ifdef __cplusplus
}
#endif

#endif
