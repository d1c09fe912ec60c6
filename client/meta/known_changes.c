/* known_changes.c: what this mount's own commands do to what is believed. */
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "client/meta/known_internal.h"

/* The inode is not as it was, and how it is now isn't known, but for the names that it has. */
static void own_change(struct known *k, uint64_t ino, uint64_t index)
{
    if (ino != 0)
        marks_put(&k->changed, ino, index);
    struct known_inode *i = ino != 0 ? map_u64_get(&k->inodes, ino) : NULL;
    if (!i)
        return;
    known_drop_xattrs(k, i);
    if (i->index <= index)
        i->has_attr = false;
}

/* Whether an own change of that index is known to be the latest: the inode has been believed since before, so that
 * every change of others after it would have been noticed, and no own one is newer. */
static bool continues(const struct known *k, const struct known_inode *i, uint64_t index)
{
    return i && k->attachment != 0 && i->attachment == k->attachment && i->since <= index &&
           !marks_above(&k->changed, i->ino, index);
}

static void own_attr(struct known *k, bool has, const struct meta_attr *attr, const struct meta_reply *r)
{
    if (!has)
        return;
    marks_put(&k->changed, attr->ino, r->index);
    struct known_inode *i = map_u64_get(&k->inodes, attr->ino);
    if (attr->nlink == 0) {
        if (i)
            known_disbelieve(k, i);
        return;
    }
    if (continues(k, i, r->index) && (!i->has_attr || i->index <= r->index)) {
        i->has_attr = true;
        i->attr = *attr;
        i->index = r->index;
    } else if (r->grant.attachment != 0) {
        known_learn_attr(k, &r->grant, r->index, attr);
    }
}

static void forget_name(struct known *k, uint64_t directory, struct slice name)
{
    uint8_t bytes[8 + LIMIT_NAME_BYTES];
    struct slice key;
    known_make_key(bytes, directory, name, &key);
    struct name_entry *n = map_bytes_get(&k->names, key);
    if (n)
        known_drop_name(k, n);
}

/* In a directory that is believed, or that the reply grants. ino 0: absent. */
static void own_name(struct known *k, const struct meta_reply *r, uint64_t directory, struct slice name, uint64_t ino)
{
    struct known_inode *i = map_u64_get(&k->inodes, directory);
    if (continues(k, i, r->index)) {
        known_set_name(k, i, name, r->index, ino);
        return;
    }
    forget_name(k, directory, name); /* what was known of it is of before */
    if (r->grant.attachment != 0)
        known_learn_name(k, &r->grant, r->index, directory, name, ino);
}

struct named {
    uint64_t inos[LIMIT_READS];
    unsigned count;
};

static struct named named_reads(const struct meta_command *c)
{
    struct named named = {.count = c->reads.count};
    CHECK(c->reads.count <= LIMIT_READS);
    for (unsigned n = 0; n < c->reads.count; n++)
        named.inos[n] = c->reads.list[n].ino;
    return named;
}

/* The inodes that a command names and changes. */
static struct named named_by(const struct meta_command *c)
{
    switch (c->op) {
    case META_CREATE:
    case META_MKDIR:
    case META_MKNOD:
    case META_SYMLINK:
        return (struct named){{c->make.parent}, 1};
    case META_LINK:
        return (struct named){{c->link.parent, c->link.ino}, 2};
    case META_UNLINK:
    case META_RMDIR:
        return (struct named){{c->unlink.parent}, 1};
    case META_RENAME:
        return (struct named){{c->rename.parent, c->rename.new_parent}, 2};
    case META_SETATTR:
        return (struct named){{c->setattr.ino}, 1};
    case META_COMMIT:
        return (struct named){{c->commit.ino}, 1};
    case META_CLONE:
        return (struct named){{c->clone.ino}, 1};
    case META_READS:
        return named_reads(c);
    case META_SETXATTR:
    case META_REMOVEXATTR:
        return (struct named){{c->xattr.ino}, 1};
    default:
        return (struct named){{0}, 0};
    }
}

struct named_names {
    uint64_t directories[2];
    struct slice names[2];
    unsigned count;
};

/* The names that a command makes, removes or replaces. */
static struct named_names names_by(const struct meta_command *c)
{
    switch (c->op) {
    case META_CREATE:
    case META_MKDIR:
    case META_MKNOD:
    case META_SYMLINK:
        return (struct named_names){{c->make.parent}, {c->make.name}, 1};
    case META_LINK:
        return (struct named_names){{c->link.parent}, {c->link.name}, 1};
    case META_UNLINK:
    case META_RMDIR:
        return (struct named_names){{c->unlink.parent}, {c->unlink.name}, 1};
    case META_RENAME:
        return (struct named_names){{c->rename.parent, c->rename.new_parent}, {c->rename.name, c->rename.new_name}, 2};
    default:
        return (struct named_names){{0}, {{NULL, 0}}, 0};
    }
}

static void count_name(struct known *k, uint64_t directory, struct slice name, bool begins)
{
    uint8_t bytes[8 + LIMIT_NAME_BYTES];
    struct slice key;
    if (name.size > LIMIT_NAME_BYTES)
        return;
    known_make_key(bytes, directory, name, &key);
    struct changing_name *n = map_bytes_get(&k->changing_names, key);
    if (begins && !n) {
        n = mem_alloc(sizeof *n + key.size);
        n->commands = 0;
        n->size = key.size;
        memcpy(n->key, key.data, key.size);
        map_bytes_put(&k->changing_names, SLICE(n->key, n->size), n);
    }
    if (begins) {
        n->commands++;
    } else if (--n->commands == 0) {
        map_bytes_remove(&k->changing_names, key);
        free(n);
    }
}

static void count_inode(struct map_u64 *map, uint64_t ino, bool begins)
{
    uintptr_t count = (uintptr_t)map_u64_remove(map, ino);
    count = begins ? count + 1 : count - 1;
    if (count > 0)
        map_u64_put(map, ino, (void *)count);
}

static void count_change(struct known *k, const struct meta_command *c, bool begins)
{
    struct named named = named_by(c);
    struct named_names names = names_by(c);
    pthread_mutex_lock(&k->lock);
    for (unsigned n = 0; n < named.count; n++)
        count_inode(&k->changing, named.inos[n], begins);
    for (unsigned n = 0; n < names.count; n++)
        count_name(k, names.directories[n], names.names[n], begins);
    pthread_mutex_unlock(&k->lock);
}

void known_change_begin(struct known *k, const struct meta_command *c)
{
    count_change(k, c, true);
}

void known_change_end(struct known *k, const struct meta_command *c)
{
    count_change(k, c, false);
}

static void learn_names_of(struct known *k, const struct meta_command *c, const struct meta_reply *r)
{
    switch (c->op) {
    case META_CREATE:
    case META_MKDIR:
    case META_MKNOD:
    case META_SYMLINK:
        own_name(k, r, c->make.parent, c->make.name, r->attr.ino);
        break;
    case META_LINK:
        own_name(k, r, c->link.parent, c->link.name, c->link.ino);
        break;
    case META_UNLINK:
    case META_RMDIR:
        own_name(k, r, c->unlink.parent, c->unlink.name, 0);
        break;
    case META_RENAME:
        /* The old name may still be there: of two names of one inode neither goes. */
        forget_name(k, c->rename.parent, c->rename.name);
        own_name(k, r, c->rename.new_parent, c->rename.new_name, r->attr.ino);
        break;
    default:
        break;
    }
}

/* It is not known what has become of what the command names: the names go too. */
static void disbelieve_named(struct known *k, const struct named *named)
{
    for (unsigned n = 0; n < named->count; n++) {
        struct known_inode *i = map_u64_get(&k->inodes, named->inos[n]);
        if (i)
            known_disbelieve(k, i);
    }
}

/* The kernel knows of its own changes, but not when they are committed, which sets times. */
static bool is_made_later(const struct meta_command *c)
{
    return c->op == META_COMMIT || c->op == META_CLONE || (c->op == META_SETATTR && (c->setattr.mask & META_SET_READ));
}

/* Nothing but this time was changed. What is known is of before, but of the same ctime, which no other change leaves as
 * it is: so it is known still, with the new time. True: the kernel may believe the old one. */
static bool own_read(struct known *k, const struct meta_read *x, const struct meta_reply *r)
{
    struct known_inode *i = map_u64_get(&k->inodes, x->ino);
    bool kept = continues(k, i, r->index) && i->has_attr && i->index <= r->index && i->attr.ctime_ns == x->ctime_ns;
    own_change(k, x->ino, r->index);
    if (kept) {
        i->has_attr = true;
        i->attr.atime_ns = x->ns;
        i->index = r->index;
    }
    return !i || i->kernel_attr_until_ns > clock_boot_ns();
}

static void learn_reads(struct known *k, const struct meta_command *c, const struct meta_reply *r)
{
    bool told[LIMIT_READS] = {false};
    struct named named = named_by(c);
    pthread_mutex_lock(&k->lock);
    if (r->repeated)
        disbelieve_named(k, &named);
    for (unsigned n = 0; n < c->reads.count; n++) {
        if (r->repeated)
            own_change(k, c->reads.list[n].ino, r->index);
        told[n] = r->repeated || ((r->set >> n & 1) && own_read(k, &c->reads.list[n], r));
    }
    pthread_mutex_unlock(&k->lock);
    for (unsigned n = 0; n < c->reads.count; n++)
        if (told[n])
            k->options.forget_attr(k->options.context, c->reads.list[n].ino, true);
}

void known_learn_reply(struct known *k, const struct meta_command *c, const struct meta_reply *r)
{
    if (c->op == META_READS && r->status == ERR_OK) {
        learn_reads(k, c, r);
        return;
    }
    struct named named = named_by(c);
    if ((r->status != ERR_OK && r->status != ERR_PARTIAL) || named.count == 0)
        return;
    pthread_mutex_lock(&k->lock);
    for (unsigned n = 0; n < named.count; n++)
        own_change(k, named.inos[n], r->index);
    const struct meta_attr *attrs[] = {&r->attr, &r->parent, &r->replaced};
    const bool has[] = {r->has_attr, r->has_parent, r->has_replaced};
    if (r->repeated) {
        disbelieve_named(k, &named);
        for (unsigned n = 0; n < ARRAY_SIZE(attrs); n++)
            if (has[n])
                own_change(k, attrs[n]->ino, r->index);
    } else {
        for (unsigned n = 0; n < ARRAY_SIZE(attrs); n++)
            own_attr(k, has[n], attrs[n], r);
        if (r->has_attr)
            learn_names_of(k, c, r);
    }
    bool later = r->has_attr && is_made_later(c);
    int64_t now_ns = clock_boot_ns();
    struct known_inode *i = later ? map_u64_get(&k->inodes, r->attr.ino) : NULL;
    bool told = later && (!i || i->kernel_attr_until_ns > now_ns);
    pthread_mutex_unlock(&k->lock);
    if (told)
        k->options.forget_attr(k->options.context, r->attr.ino, true);
}

void known_uncertain(struct known *k, const struct meta_command *c)
{
    struct named named = named_by(c);
    pthread_mutex_lock(&k->lock);
    for (unsigned n = 0; n < named.count; n++)
        count_inode(&k->unsure, named.inos[n], true);
    disbelieve_named(k, &named);
    pthread_mutex_unlock(&k->lock);
    /* No notice will come of it, and the kernel takes it for a change that has failed. */
    if (named.count > 0)
        k->options.forget_names(k->options.context);
    for (unsigned n = 0; n < named.count; n++)
        k->options.forget_attr(k->options.context, named.inos[n], true);
}

void known_certain(struct known *k, const struct meta_command *c)
{
    struct named named = named_by(c);
    pthread_mutex_lock(&k->lock);
    for (unsigned n = 0; n < named.count; n++)
        count_inode(&k->unsure, named.inos[n], false);
    disbelieve_named(k, &named);
    pthread_mutex_unlock(&k->lock);
}
