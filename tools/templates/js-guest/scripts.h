/* The scripts of a transform in JavaScript, which the build writes. SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>

struct script {
  const char *name; /* below src, as in `lib/text.js` */
  const char *text; /* ends with a zero that is not counted */
  size_t size;
};

/* Ends with a name that is null. */
extern const struct script scripts[];
