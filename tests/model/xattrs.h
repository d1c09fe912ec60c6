/* xattrs.h: extended attributes of the model: two that mean nothing, a program's capabilities, and two lists. */
#pragma once

#include "meta/types.h"

#define MODEL_XATTRS 5u
#define MODEL_VALUE_BYTES 44u

/* One attribute, as bytes. Lists have u::, [u:5:,] g::, [mask,] o:: and nothing else: 28 or 44 bytes. */
struct model_xattr {
    bool there;
    size_t size;
    uint8_t value[MODEL_VALUE_BYTES];
};

extern const char *const model_xattr_names[MODEL_XATTRS];
struct model_xattrs {
    struct model_xattr list[MODEL_XATTRS];
};

unsigned model_xattrs_count(const struct model_xattrs *x);
enum err model_xattrs_set(struct model_xattrs *x, uint32_t *mode, const struct meta_command *c);
enum err model_xattrs_remove(struct model_xattrs *x, const struct meta_command *c);
/* What a new inode has, and its mode as it becomes. */
void model_xattrs_inherit(const struct model_xattrs *parent, uint32_t umask, struct model_xattrs *child,
                          uint32_t *mode);
void model_xattrs_chmod(struct model_xattrs *x, uint32_t mode);
void model_xattrs_kill_capability(struct model_xattrs *x);
void model_kill_set_id(uint32_t *mode);
/* A value for that attribute, made of random bits: a list, if it is one. Returns its size. */
size_t model_xattr_value(unsigned attribute, uint64_t bits, uint8_t to[MODEL_VALUE_BYTES]);
