/* known_xattr.h: the few extended attributes of an inode that programs and the kernel ask for again and again (labels,
 * access control lists), with what was answered. Part of known.c, whose lock protects it. */
#pragma once

#include "base/arena.h"
#include "base/list.h"

#define KNOWN_XATTRS_MAX 8u          /* of an inode; the ones asked for first stay */
#define KNOWN_XATTR_VALUE_BYTES 512u /* larger ones are not kept */

struct known_xattrs {
    struct list entries; /* struct known_xattr */
    unsigned count;
};

void known_xattrs_init(struct known_xattrs *x);
void known_xattrs_clear(struct known_xattrs *x);
/* value NULL: there is none of that name. False: it is not kept. */
bool known_xattrs_put(struct known_xattrs *x, struct slice name, const struct slice *value);
/* False: it is not known. The value goes into the arena. */
bool known_xattrs_get(const struct known_xattrs *x, struct slice name, struct arena *arena, struct slice *ret_value,
                      bool *ret_there);
