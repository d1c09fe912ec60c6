#include "tests/model/xattrs.h"

#include <string.h>
#include <sys/stat.h>

#include "base/check.h"

enum { USER_A, USER_B, CAPABILITY, ACCESS, DEFAULT };
const char *const model_xattr_names[MODEL_XATTRS] = {"user.a", "user.b", "security.capability",
                                                     "system.posix_acl_access", "system.posix_acl_default"};

/* Where the permissions of each entry are in a list of either size. */
#define USER_AT 6u
static unsigned group_class_at(size_t size) /* the group's, or the mask's */
{
    return size == 28 ? 14 : 30;
}
static unsigned other_at(size_t size)
{
    return size == 28 ? 22 : 38;
}

static unsigned index_of(struct slice name)
{
    for (unsigned i = 0; i < MODEL_XATTRS; i++)
        if (slice_equal(name, slice_str(model_xattr_names[i])))
            return i;
    CHECK(!"a name of the model");
}

unsigned model_xattrs_count(const struct model_xattrs *x)
{
    unsigned count = 0;
    for (unsigned i = 0; i < MODEL_XATTRS; i++)
        count += x->list[i].there;
    return count;
}

static uint32_t mode_of(const struct model_xattr *a)
{
    return (uint32_t)(a->value[USER_AT] << 6 | a->value[group_class_at(a->size)] << 3 | a->value[other_at(a->size)]);
}

static void set_mode(struct model_xattr *a, uint32_t mode)
{
    a->value[USER_AT] = mode >> 6 & 7;
    a->value[group_class_at(a->size)] = mode >> 3 & 7;
    a->value[other_at(a->size)] = mode & 7;
}

enum err model_xattrs_set(struct model_xattrs *x, uint32_t *mode, const struct meta_command *c)
{
    unsigned i = index_of(c->xattr.name);
    struct model_xattr *a = &x->list[i], new = {.there = true, .size = c->xattr.value.size};
    if (new.size > 0)
        memcpy(new.value, c->xattr.value.data, new.size);
    if (a->there && (c->xattr.flags & META_XATTR_CREATE))
        return ERR_EXIST;
    if (!a->there && (c->xattr.flags & META_XATTR_REPLACE))
        return ERR_NODATA;
    if ((i == ACCESS || i == DEFAULT) && S_ISLNK(*mode))
        return ERR_NOTSUP;
    if (i == DEFAULT && !S_ISDIR(*mode))
        return ERR_ACCES;
    if (i == ACCESS) {
        *mode = (*mode & ~0777u) | mode_of(&new);
        if (c->xattr.flags & META_XATTR_KILL_SGID)
            *mode &= ~(uint32_t)S_ISGID;
        new.there = new.size > 28;
    }
    *a = new;
    return ERR_OK;
}

enum err model_xattrs_remove(struct model_xattrs *x, const struct meta_command *c)
{
    unsigned i = index_of(c->xattr.name);
    if (!x->list[i].there && i != ACCESS && i != DEFAULT)
        return ERR_NODATA;
    x->list[i].there = false;
    return ERR_OK;
}

void model_xattrs_inherit(const struct model_xattrs *parent, uint32_t umask, struct model_xattrs *child, uint32_t *mode)
{
    const struct model_xattr *inherited = &parent->list[DEFAULT];
    if (S_ISLNK(*mode))
        return;
    if (!inherited->there) {
        *mode &= ~umask;
        return;
    }
    struct model_xattr access = *inherited;
    *mode &= ~0777u | mode_of(&access);
    set_mode(&access, *mode);
    if (access.size > 28)
        child->list[ACCESS] = access;
    if (S_ISDIR(*mode))
        child->list[DEFAULT] = *inherited;
}

void model_xattrs_chmod(struct model_xattrs *x, uint32_t mode)
{
    if (x->list[ACCESS].there)
        set_mode(&x->list[ACCESS], mode);
}

void model_xattrs_kill_capability(struct model_xattrs *x)
{
    x->list[CAPABILITY].there = false;
}

void model_kill_set_id(uint32_t *mode)
{
    *mode &= ~(uint32_t)(S_ISUID | ((*mode & S_IXGRP) ? S_ISGID : 0));
}

size_t model_xattr_value(unsigned attribute, uint64_t bits, uint8_t to[MODEL_VALUE_BYTES])
{
    static const uint8_t tags[2][5] = {{0x01, 0x04, 0x20}, {0x01, 0x02, 0x04, 0x10, 0x20}};
    if (attribute != ACCESS && attribute != DEFAULT) {
        memset(to, (int)(bits & 0xff), MODEL_VALUE_BYTES);
        return bits >> 8 & 31;
    }
    bool named = bits & 1;
    size_t count = named ? 5 : 3;
    memset(to, 0, MODEL_VALUE_BYTES);
    to[0] = 2;
    for (size_t i = 0; i < count; i++) {
        uint8_t *entry = to + 4 + 8 * i;
        entry[0] = tags[named][i];
        entry[2] = bits >> (1 + 3 * i) & 7;
        memset(entry + 4, 0xff, 4);
        if (entry[0] == 0x02)
            memcpy(entry + 4, "\5\0\0\0", 4);
    }
    return 4 + 8 * count;
}
