/* verify_tree.c: whether each directory is reached from the root: by going up its parents. That each has one name, in
 * the directory that it says is its parent, is verify.c's to check; so who isn't reached lies on a ring of directories,
 * or below one, or below what is not there.
 *
 * Directories that were reached are remembered, as many as there is room for, so that most ways up are short. */
#include <sys/stat.h>

#include "base/map.h"
#include "base/mem.h"
#include "meta/check.h"

#define WAY_REMEMBERED 64u /* directories on one way up */

struct tree {
    struct meta *m;
    struct meta_check *check;
    uint64_t known_max;
    struct map_u64 known; /* directories that are reached */
    struct arena arena;   /* of one row */
    check_lost_function lost;
    void *context;
};

static void remember(struct tree *t, uint64_t ino)
{
    if (t->known.count >= t->known_max)
        map_u64_free(&t->known); /* those that come next will do */
    map_u64_put(&t->known, ino, t);
}

/* 0: it is not there, or no directory. */
static enum err parent_of(struct tree *t, uint64_t ino, uint64_t *ret)
{
    struct schema_key key = schema_inode(ino);
    struct slice value = {0};
    struct row_inode row;
    bool found = false;
    *ret = 0;
    if (check_row_read(t->check))
        return ERR_CANCELLED;
    arena_reset(&t->arena);
    TRY(store_read(t->m, &key, &t->arena, &value, &found));
    if (found && row_inode_decode(value, &row) == ERR_OK && S_ISDIR(row.attr.mode))
        *ret = row.parent;
    return ERR_OK;
}

/* A way that comes by the same directory again never ends: one on the way is kept, and another one after twice as many
 * steps (Brent's method). */
static enum err go_up(struct tree *t, uint64_t ino, bool *ret_reached)
{
    uint64_t way[WAY_REMEMBERED], at = ino, kept = 0, steps = 0, next_kept = 1;
    unsigned count = 0;
    while (at != META_ROOT_INO && !map_u64_get(&t->known, at)) {
        if (at == 0 || at == kept) {
            *ret_reached = false;
            return ERR_OK;
        }
        if (++steps == next_kept) {
            kept = at;
            next_kept *= 2;
        }
        if (count < WAY_REMEMBERED)
            way[count++] = at;
        TRY(parent_of(t, at, &at));
    }
    for (unsigned i = 0; i < count; i++)
        remember(t, way[i]);
    *ret_reached = true;
    return ERR_OK;
}

static enum err on_inode(void *context, struct slice key, struct slice value)
{
    struct tree *t = context;
    struct row_inode row;
    bool reached = true;
    if (key.size != 9 || row_inode_decode(value, &row) != ERR_OK || !S_ISDIR(row.attr.mode))
        return ERR_OK; /* what can't be decoded has been told of */
    uint64_t ino = schema_key_u64(key, 1);
    TRY(go_up(t, ino, &reached));
    return reached ? ERR_OK : t->lost(t->context, ino);
}

enum err check_tree(struct meta *m, struct meta_check *check, uint64_t known_max, check_lost_function lost,
                    void *context)
{
    struct tree t = {.m = m, .check = check, .known_max = known_max, .lost = lost, .context = context};
    struct schema_key from = {.bytes = {'i'}, .size = 1}, to = schema_prefix_end(&from, 1);
    enum err e = check_each_row(m, check, &from, &to, on_inode, &t);
    map_u64_free(&t.known);
    arena_free(&t.arena);
    return e;
}
