#include "tests/model/compare.h"

#include <string.h>
#include <sys/stat.h>

#include "base/check.h"
#include "base/map.h"
#include "meta/extent.h"
#include "meta/store.h"

#define WINDOW 300u

static bool differ(struct err_text *why, uint64_t ino, const char *what, uint64_t found, uint64_t expected)
{
    (void)err_explain(why, ERR_CORRUPT, "inode %llu: %s is %llu, must be %llu", (unsigned long long)ino, what,
                      (unsigned long long)found, (unsigned long long)expected);
    return false;
}

static unsigned entries_of(const struct model_inode *i)
{
    unsigned count = 0;
    for (unsigned n = 0; n < MODEL_NAMES; n++)
        count += i->entries[n] != 0;
    return count;
}

bool compare_attr(const struct meta_attr *a, const struct model_inode *i, struct err_text *why)
{
    uint64_t size = S_ISDIR(i->mode) ? entries_of(i) : i->size;
    if (a->ino != i->ino)
        return differ(why, a->ino, "the inode", a->ino, i->ino);
    if (a->mode != i->mode)
        return differ(why, a->ino, "mode", a->mode, i->mode);
    if (a->uid != i->uid)
        return differ(why, a->ino, "uid", a->uid, i->uid);
    if (a->gid != i->gid)
        return differ(why, a->ino, "gid", a->gid, i->gid);
    if (a->nlink != i->nlink)
        return differ(why, a->ino, "nlink", a->nlink, i->nlink);
    if (a->rdev != i->rdev)
        return differ(why, a->ino, "rdev", a->rdev, i->rdev);
    if (a->size != size)
        return differ(why, a->ino, "size", a->size, size);
    if (a->xattrs != model_xattrs_count(&i->xattrs))
        return differ(why, a->ino, "xattrs", a->xattrs, model_xattrs_count(&i->xattrs));
    if (a->version != i->version)
        return differ(why, a->ino, "version", a->version, i->version);
    if (a->atime_ns != i->atime)
        return differ(why, a->ino, "atime", (uint64_t)a->atime_ns, (uint64_t)i->atime);
    if (a->mtime_ns != i->mtime)
        return differ(why, a->ino, "mtime", (uint64_t)a->mtime_ns, (uint64_t)i->mtime);
    if (a->ctime_ns != i->ctime)
        return differ(why, a->ino, "ctime", (uint64_t)a->ctime_ns, (uint64_t)i->ctime);
    return true;
}

/* Parts of the layout are what overlaps them, and together all of it. */
static bool compare_windows(struct meta *meta, const struct model_inode *i, unsigned extents, struct arena *a,
                            struct err_text *why)
{
    unsigned seen = 0;
    uint64_t end_of_last = 0;
    for (uint64_t at = 0; at < MODEL_BYTES; at += WINDOW) {
        struct meta_query query = {.op = META_QUERY_LAYOUT, .ino = i->ino, .offset = at, .length = WINDOW};
        struct meta_query_reply reply;
        CHECK(meta_query(meta, &query, a, &reply) == ERR_OK && reply.status == ERR_OK);
        for (unsigned e = 0; e < reply.extent_count; e++) {
            const struct meta_extent *x = &reply.extents[e];
            uint64_t end = x->file_offset + x->length;
            if (x->file_offset >= at + WINDOW || end <= at)
                return differ(why, i->ino, "an extent outside of what was asked for", x->file_offset, at);
            seen += end > end_of_last;
            end_of_last = end;
        }
    }
    return seen == extents || differ(why, i->ino, "the number of extents by parts", seen, extents);
}

static bool compare_contents(struct meta *meta, const struct model_inode *i, struct arena *a, struct err_text *why)
{
    static struct model_byte found[MODEL_BYTES];
    struct meta_query query = {.op = META_QUERY_LAYOUT, .ino = i->ino, .length = UINT64_MAX};
    struct meta_query_reply reply;
    uint64_t allocated = 0;
    CHECK(meta_query(meta, &query, a, &reply) == ERR_OK);
    if (reply.status != ERR_OK || !reply.end)
        return differ(why, i->ino, "layout's status", reply.status, ERR_OK);
    memset(found, 0, sizeof found);
    for (unsigned e = 0; e < reply.extent_count; e++) {
        const struct meta_extent *x = &reply.extents[e];
        for (uint64_t b = 0; b < x->length; b++)
            found[x->file_offset + b] = (struct model_byte){get_u32be(x->block.bytes), x->block_offset + (uint32_t)b};
        allocated += x->length;
        struct meta_extent both;
        if (e > 0 && extent_merge(&reply.extents[e - 1], x, &both))
            return differ(why, i->ino, "the number of extents", reply.extent_count, reply.extent_count - 1);
    }
    if (reply.attr.allocated != allocated)
        return differ(why, i->ino, "allocated", reply.attr.allocated, allocated);
    for (unsigned b = 0; b < MODEL_BYTES; b++)
        if (found[b].block != i->bytes[b].block || found[b].at != i->bytes[b].at)
            return differ(why, i->ino, "the block of a byte", found[b].block, i->bytes[b].block);
    return compare_windows(meta, i, reply.extent_count, a, why);
}

/* Each name by itself; and an unlinked inode can be opened by who holds it only. */
static bool compare_lookups(struct meta *meta, const struct model *model, const struct model_inode *i, struct arena *a,
                            struct err_text *why)
{
    for (unsigned n = 0; n < MODEL_NAMES; n++) {
        char name = (char)('a' + n);
        struct meta_query query = {.op = META_QUERY_LOOKUP, .ino = i->ino, .name = SLICE(&name, 1)};
        struct meta_query_reply reply;
        CHECK(meta_query(meta, &query, a, &reply) == ERR_OK);
        enum err expected = !S_ISDIR(i->mode) ? ERR_NOTDIR : i->entries[n] ? ERR_OK : ERR_NOENT;
        if (reply.status != expected)
            return differ(why, i->ino, "lookup's status", reply.status, expected);
        if (expected == ERR_OK && !compare_attr(&reply.attr, &model->inodes[i->entries[n]], why))
            return false;
    }
    return true;
}

static bool compare_directory(struct meta *meta, const struct model *model, const struct model_inode *i,
                              struct arena *a, struct err_text *why)
{
    bool seen[MODEL_NAMES] = {false};
    uint64_t cookie = 0;
    struct meta_query_reply reply;
    do { /* pages of two, so that cookies are used */
        struct meta_query query = {
            .op = META_QUERY_READDIR, .ino = i->ino, .cookie = cookie, .max_count = 2, .with_attr = true};
        CHECK(meta_query(meta, &query, a, &reply) == ERR_OK);
        if (reply.status != ERR_OK)
            return differ(why, i->ino, "readdir's status", reply.status, ERR_OK);
        if (reply.parent_ino != model->inodes[i->parent].ino)
            return differ(why, i->ino, "the parent", reply.parent_ino, model->inodes[i->parent].ino);
        for (unsigned e = 0; e < reply.entry_count; e++) {
            unsigned name = model_name(reply.entries[e].name);
            if (seen[name] || !i->entries[name])
                return differ(why, i->ino, "an entry too many", name, 0);
            seen[name] = true;
            const struct model_inode *child = &model->inodes[i->entries[name]];
            if (!compare_attr(&reply.entries[e].attr, child, why))
                return false;
            if (reply.entries[e].type_mode != (child->mode & S_IFMT))
                return differ(why, i->ino, "an entry's type", reply.entries[e].type_mode, child->mode & S_IFMT);
            cookie = reply.entries[e].cookie;
        }
    } while (!reply.end);
    for (unsigned n = 0; n < MODEL_NAMES; n++)
        if (i->entries[n] && !seen[n])
            return differ(why, i->ino, "a missing entry", n, n);
    return true;
}

static bool compare_xattrs(struct meta *meta, const struct model_inode *i, struct arena *a, struct err_text *why)
{
    for (unsigned n = 0; n < MODEL_XATTRS; n++) {
        const struct model_xattr *x = &i->xattrs.list[n];
        struct meta_query query = {.op = META_QUERY_GETXATTR, .ino = i->ino, .name = slice_str(model_xattr_names[n])};
        struct meta_query_reply reply;
        CHECK(meta_query(meta, &query, a, &reply) == ERR_OK);
        enum err expected = x->there ? ERR_OK : ERR_NODATA;
        if (reply.status != expected)
            return differ(why, i->ino, model_xattr_names[n], reply.status, expected);
        if (x->there && !slice_equal(reply.xattr, SLICE(x->value, x->size)))
            return differ(why, i->ino, model_xattr_names[n], reply.xattr.size, x->size);
    }
    return true;
}

bool compare_trees(struct meta *meta, const struct model *model, struct err_text *why)
{
    struct arena a = {0};
    uint64_t inodes = 0;
    bool same = true;
    for (unsigned n = 1; n < MODEL_INODES && same; n++) {
        const struct model_inode *i = &model->inodes[n];
        if (!i->used)
            continue;
        inodes++;
        struct meta_query query = {.op = META_QUERY_GETATTR, .ino = i->ino};
        struct meta_query_reply reply;
        CHECK(meta_query(meta, &query, &a, &reply) == ERR_OK);
        if (reply.status != ERR_OK)
            same = differ(why, i->ino, "getattr's status", reply.status, ERR_OK);
        else
            same = compare_attr(&reply.attr, i, why);
        if (same && S_ISDIR(i->mode))
            same = compare_directory(meta, model, i, &a, why);
        if (same && S_ISREG(i->mode))
            same = compare_contents(meta, i, &a, why);
        same = same && compare_lookups(meta, model, i, &a, why) && compare_xattrs(meta, i, &a, why);
        arena_reset(&a);
    }
    struct meta_query query = {.op = META_QUERY_STATFS};
    struct meta_query_reply reply;
    CHECK(meta_query(meta, &query, &a, &reply) == ERR_OK);
    if (same && reply.statfs.inodes != inodes)
        same = differ(why, 0, "the number of inodes", reply.statfs.inodes, inodes);
    arena_free(&a);
    return same && meta_verify(meta, why) == ERR_OK;
}

bool compare_counts(struct meta *meta, const struct model *model, struct err_text *why)
{
    struct map_u64 named = {0}; /* block -> extents that name it, by the rows */
    struct arena a = {0};
    uint64_t bytes = 0;
    bool same = true;
    for (unsigned n = 1; n < MODEL_INODES; n++) {
        const struct model_inode *i = &model->inodes[n];
        if (!i->used || !S_ISREG(i->mode))
            continue;
        struct meta_query query = {.op = META_QUERY_LAYOUT, .ino = i->ino, .length = UINT64_MAX};
        struct meta_query_reply reply;
        CHECK(meta_query(meta, &query, &a, &reply) == ERR_OK);
        for (unsigned e = 0; e < reply.extent_count; e++) {
            uint64_t block = get_u32be(reply.extents[e].block.bytes);
            map_u64_put(&named, block, (void *)((uintptr_t)map_u64_get(&named, block) + 1));
            bytes += reply.extents[e].length;
        }
    }
    struct store_range range;
    struct slice key, value;
    struct schema_key from = {.bytes = {'r'}, .size = 1};
    store_range_open_prefix(meta, &range, &from, 1);
    for (; store_range_get(&range, &key, &value); store_range_next(&range)) {
        uint64_t block = get_u32be(key.data + 1), expected = (uintptr_t)map_u64_remove(&named, block);
        int64_t count;
        CHECK(row_count_decode(value, &count) == ERR_OK);
        if ((uint64_t)count != expected)
            same = differ(why, block, "references of a block", (uint64_t)count, expected);
    }
    CHECK(store_range_close(&range) == ERR_OK);
    if (same && named.count > 0)
        same = differ(why, 0, "blocks without a count", named.count, 0);
    if (same && meta->state.bytes != bytes)
        same = differ(why, 0, "bytes in files", meta->state.bytes, bytes);
    map_u64_free(&named);
    arena_free(&a);
    return same;
}
