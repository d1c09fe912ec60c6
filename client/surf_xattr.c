/* Extended attributes. Most inodes have none, which comes with their attributes: then nobody is asked. */
#include <string.h>

#include "client/surf_internal.h"

#define PREFIX(text)                                                                                                   \
    {                                                                                                                  \
        text, sizeof(text) - 1                                                                                         \
    }

/* What has a meaning to the kernel or to programs (xattr(7)); who may do what in each of them the kernel has checked.
 */
static enum err check_name(struct slice name)
{
    static const struct {
        const char *text;
        size_t size;
    } prefixes[] = {PREFIX("user."), PREFIX("trusted."), PREFIX("security.")};
    if (name.size > LIMIT_XATTR_NAME_BYTES)
        return ERR_RANGE;
    if (name.size == 0 || memchr(name.data, 0, name.size))
        return ERR_INVAL;
    if (slice_equal(name, slice_str(META_ACL_ACCESS)) || slice_equal(name, slice_str(META_ACL_DEFAULT)))
        return ERR_OK;
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
        if (name.size >= prefixes[i].size && memcmp(name.data, prefixes[i].text, prefixes[i].size) == 0)
            return name.size > prefixes[i].size ? ERR_OK : ERR_INVAL;
    return ERR_NOTSUP;
}

enum err surf_setxattr(struct surf *s, const struct surf_caller *c, uint64_t ino, struct slice name, struct slice value,
                       uint32_t flags)
{
    TRY(check_name(name));
    if (value.size > LIMIT_XATTR_VALUE_BYTES)
        return ERR_TOO_BIG;
    struct meta_command command = {.op = META_SETXATTR,
                                   .xattr = {.ino = ino, .name = name, .value = value, .flags = flags}};
    struct meta_reply reply;
    return surf_change(s, c, &command, &reply);
}

enum err surf_removexattr(struct surf *s, const struct surf_caller *c, uint64_t ino, struct slice name)
{
    TRY(check_name(name));
    struct meta_command command = {.op = META_REMOVEXATTR, .xattr = {.ino = ino, .name = name}};
    struct meta_reply reply;
    return surf_change(s, c, &command, &reply);
}

static bool has_none(struct surf *s, uint64_t ino)
{
    struct meta_attr attr;
    return s->known && known_attr(s->known, ino, &attr) && attr.xattrs == 0;
}

enum err surf_getxattr(struct surf *s, const struct surf_caller *c, uint64_t ino, struct slice name,
                       struct arena *arena, struct slice *ret)
{
    TRY(check_name(name));
    enum known_name known = s->known ? known_xattr(s->known, ino, name, arena, ret) : KNOWN_NOT;
    if (known != KNOWN_NOT)
        return known == KNOWN_THERE ? ERR_OK : ERR_NODATA;
    struct meta_query query = {.op = META_QUERY_GETXATTR, .ino = ino, .name = name};
    struct meta_query_reply reply;
    TRY(surf_query(s, c, &query, arena, &reply));
    *ret = reply.xattr;
    return ERR_OK;
}

enum err surf_listxattr(struct surf *s, const struct surf_caller *c, uint64_t ino, struct arena *arena,
                        struct slice *ret)
{
    if (has_none(s, ino)) {
        *ret = SLICE(NULL, 0);
        return ERR_OK;
    }
    struct meta_query query = {.op = META_QUERY_LISTXATTR, .ino = ino};
    struct meta_query_reply reply;
    TRY(surf_query(s, c, &query, arena, &reply));
    *ret = reply.xattr;
    return ERR_OK;
}
