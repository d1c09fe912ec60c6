#include "tests/model/model.h"

#include <string.h>
#include <sys/stat.h>

#include "base/check.h"

void model_init(struct model *m, int64_t time_ns)
{
    memset(m, 0, sizeof *m);
    m->now = time_ns;
    m->inodes[1] = (struct model_inode){.used = true,
                                        .ino = META_ROOT_INO,
                                        .mode = S_IFDIR | 0755,
                                        .nlink = 2,
                                        .parent = 1,
                                        .atime = time_ns,
                                        .mtime = time_ns,
                                        .ctime = time_ns};
}

unsigned model_find(const struct model *m, uint64_t ino)
{
    for (unsigned i = 1; i < MODEL_INODES; i++)
        if (m->inodes[i].used && m->inodes[i].ino == ino)
            return i;
    return 0;
}

unsigned model_name(struct slice name)
{
    CHECK(name.size == 1 && name.data[0] >= 'a' && name.data[0] < 'a' + MODEL_NAMES);
    return name.data[0] - 'a';
}

static bool is_directory(const struct model_inode *i)
{
    return S_ISDIR(i->mode);
}

static unsigned count_entries(const struct model_inode *i)
{
    unsigned count = 0;
    for (unsigned n = 0; n < MODEL_NAMES; n++)
        count += i->entries[n] != 0;
    return count;
}

static void remove_if_free(struct model_inode *i)
{
    bool held = false;
    for (unsigned s = 0; s < MODEL_SESSIONS; s++)
        held = held || i->held[s];
    if (i->nlink == 0 && !held)
        i->used = false;
}

static bool wants_open(const uint64_t *inos, unsigned count, bool unknown, uint64_t ino)
{
    for (unsigned i = 0; i < count; i++)
        if (inos[i] == ino)
            return true;
    return unknown;
}

static void modified(struct model *m, unsigned directory)
{
    m->inodes[directory].mtime = m->inodes[directory].ctime = m->now;
}

static bool drop_link(const struct model *m, struct model_inode *i, const uint64_t *inos, unsigned count, bool unknown,
                      unsigned session)
{
    i->nlink--;
    i->ctime = m->now;
    if (i->nlink == 0)
        i->held[session] = wants_open(inos, count, unknown, i->ino);
    return i->nlink == 0 && i->held[session];
}

static unsigned make(struct model *m, uint64_t ino, uint32_t mode)
{
    for (unsigned i = 1; i < MODEL_INODES; i++)
        if (!m->inodes[i].used) {
            m->inodes[i] = (struct model_inode){.used = true,
                                                .ino = ino,
                                                .mode = mode,
                                                .nlink = S_ISDIR(mode) ? 2 : 1,
                                                .atime = m->now,
                                                .mtime = m->now,
                                                .ctime = m->now};
            return i;
        }
    CHECK(false);
    return 0;
}

#define FAIL(e)                                                                                                        \
    return (struct model_outcome)                                                                                      \
    {                                                                                                                  \
        .status = (e)                                                                                                  \
    }

/* The directory with this number, or an error. */
#define DIRECTORY(variable, number)                                                                                    \
    unsigned variable = model_find(m, (number));                                                                       \
    if (!variable)                                                                                                     \
        FAIL(ERR_STALE);                                                                                               \
    if (!is_directory(&m->inodes[variable]))                                                                           \
    FAIL(ERR_NOTDIR)

static struct model_outcome done(struct model *m, unsigned inode)
{
    return (struct model_outcome){.inode = inode, .copy = m->inodes[inode]};
}

static struct model_outcome apply_make(struct model *m, const struct meta_command *c, uint64_t new_ino)
{
    DIRECTORY(parent, c->make.parent);
    unsigned *entry = &m->inodes[parent].entries[model_name(c->make.name)];
    if (*entry) {
        if (c->op != META_CREATE || c->make.exclusive)
            FAIL(ERR_EXIST);
        if (is_directory(&m->inodes[*entry]))
            FAIL(ERR_ISDIR);
        if (!S_ISREG(m->inodes[*entry].mode))
            FAIL(ERR_EXIST);
        struct model_outcome o = done(m, *entry);
        o.existed = true;
        return o;
    }
    uint32_t mode = c->make.mode & 07777;
    mode |= c->op == META_CREATE    ? S_IFREG
            : c->op == META_MKDIR   ? S_IFDIR
            : c->op == META_SYMLINK ? S_IFLNK
                                    : c->make.mode & S_IFMT;
    if (c->op == META_SYMLINK)
        mode = S_IFLNK | 0777;
    unsigned i = make(m, new_ino, mode);
    struct model_inode *child = &m->inodes[i], *p = &m->inodes[parent];
    child->uid = c->make.uid;
    child->gid = p->mode & S_ISGID ? p->gid : c->make.gid;
    if (S_ISDIR(mode)) {
        child->mode |= p->mode & S_ISGID;
        child->parent = parent;
        p->nlink++;
    }
    if (S_ISCHR(mode))
        child->rdev = c->make.rdev;
    if (S_ISLNK(mode))
        child->size = child->target = (unsigned)c->make.target.size;
    *entry = i;
    modified(m, parent);
    return done(m, i);
}

static struct model_outcome apply_link(struct model *m, const struct meta_command *c)
{
    DIRECTORY(parent, c->link.parent);
    unsigned i = model_find(m, c->link.ino);
    if (!i)
        FAIL(ERR_STALE);
    if (is_directory(&m->inodes[i]))
        FAIL(ERR_PERM);
    if (m->inodes[i].nlink == 0)
        FAIL(ERR_NOENT);
    unsigned *entry = &m->inodes[parent].entries[model_name(c->link.name)];
    if (*entry)
        FAIL(ERR_EXIST);
    *entry = i;
    m->inodes[i].nlink++;
    m->inodes[i].ctime = m->now;
    modified(m, parent);
    return done(m, i);
}

static struct model_outcome apply_unlink(struct model *m, const struct meta_command *c, unsigned session)
{
    DIRECTORY(parent, c->unlink.parent);
    unsigned *entry = &m->inodes[parent].entries[model_name(c->unlink.name)];
    if (!*entry)
        FAIL(ERR_NOENT);
    unsigned i = *entry;
    struct model_inode *child = &m->inodes[i];
    bool orphaned = false;
    if (c->op == META_RMDIR) {
        if (!is_directory(child))
            FAIL(ERR_NOTDIR);
        if (count_entries(child))
            FAIL(ERR_NOTEMPTY);
        child->nlink = 0;
        child->ctime = m->now;
        m->inodes[parent].nlink--;
    } else {
        if (is_directory(child))
            FAIL(ERR_ISDIR);
        orphaned = drop_link(m, child, c->unlink.open_inos, c->unlink.open_count, c->unlink.open_unknown, session);
    }
    *entry = 0;
    modified(m, parent);
    struct model_outcome o = done(m, i);
    o.orphaned = orphaned;
    remove_if_free(child);
    return o;
}

static bool is_above(const struct model *m, unsigned directory, unsigned below)
{
    for (; below != 1; below = m->inodes[below].parent)
        if (below == directory)
            return true;
    return directory == 1;
}

static struct model_outcome apply_rename(struct model *m, const struct meta_command *c, unsigned session)
{
    DIRECTORY(from, c->rename.parent);
    DIRECTORY(to, c->rename.new_parent);
    unsigned *source = &m->inodes[from].entries[model_name(c->rename.name)];
    unsigned *target = &m->inodes[to].entries[model_name(c->rename.new_name)];
    bool exchange = c->rename.flags & META_RENAME_EXCHANGE;
    if (!*source)
        FAIL(ERR_NOENT);
    if (*target && (c->rename.flags & META_RENAME_NOREPLACE))
        FAIL(ERR_EXIST);
    if (!*target && exchange)
        FAIL(ERR_NOENT);
    if (*source == *target)
        return done(m, *source);
    struct model_inode *moved = &m->inodes[*source], *replaced = *target ? &m->inodes[*target] : NULL;
    if (is_directory(moved) && is_above(m, *source, to))
        FAIL(ERR_INVAL);
    if (replaced && is_directory(replaced) && is_above(m, *target, from))
        FAIL(exchange ? ERR_INVAL : ERR_NOTEMPTY);
    bool orphaned = false;
    unsigned i = *source;
    if (replaced && !exchange) {
        if (is_directory(replaced) && !is_directory(moved))
            FAIL(ERR_ISDIR);
        if (!is_directory(replaced) && is_directory(moved))
            FAIL(ERR_NOTDIR);
        if (is_directory(replaced)) {
            if (count_entries(replaced))
                FAIL(ERR_NOTEMPTY);
            replaced->nlink = 0;
            m->inodes[to].nlink--;
        } else {
            orphaned =
                drop_link(m, replaced, c->rename.open_inos, c->rename.open_count, c->rename.open_unknown, session);
        }
        remove_if_free(replaced);
    }
    if (is_directory(moved)) {
        m->inodes[from].nlink--;
        m->inodes[to].nlink++;
        moved->parent = to;
    }
    if (exchange && is_directory(replaced)) {
        m->inodes[to].nlink--;
        m->inodes[from].nlink++;
        replaced->parent = from;
    }
    moved->ctime = m->now;
    if (exchange)
        replaced->ctime = m->now;
    modified(m, from);
    modified(m, to);
    unsigned other = *target;
    *target = i;
    *source = exchange ? other : 0;
    struct model_outcome o = done(m, i);
    o.orphaned = orphaned;
    return o;
}

static struct model_outcome apply_setattr(struct model *m, const struct meta_command *c)
{
    unsigned i = model_find(m, c->setattr.ino);
    if (!i)
        FAIL(ERR_STALE);
    struct model_inode *n = &m->inodes[i];
    uint32_t mask = c->setattr.mask;
    if (mask & META_SET_SIZE) {
        if (S_ISDIR(n->mode))
            FAIL(ERR_ISDIR);
        if (!S_ISREG(n->mode))
            FAIL(ERR_INVAL);
        for (uint64_t b = c->setattr.size; b < n->size; b++)
            n->bytes[b] = (struct model_byte){0, 0};
        n->size = c->setattr.size;
        n->version++;
        n->mtime = m->now;
    }
    n->ctime = m->now;
    if (mask & (META_SET_ATIME | META_SET_ATIME_NOW))
        n->atime = mask & META_SET_ATIME_NOW ? m->now : c->setattr.atime_ns;
    if (mask & (META_SET_MTIME | META_SET_MTIME_NOW))
        n->mtime = mask & META_SET_MTIME_NOW ? m->now : c->setattr.mtime_ns;
    if (mask & META_SET_UID)
        n->uid = c->setattr.uid;
    if (mask & META_SET_GID)
        n->gid = c->setattr.gid;
    if (mask & META_SET_MODE)
        n->mode = (n->mode & S_IFMT) | (c->setattr.mode & 07777);
    else if ((mask & (META_SET_UID | META_SET_GID)) && !S_ISDIR(n->mode))
        n->mode &= ~(uint32_t)(S_ISUID | ((n->mode & S_IXGRP) ? S_ISGID : 0));
    return done(m, i);
}

static struct model_outcome apply_commit(struct model *m, const struct meta_command *c)
{
    unsigned i = model_find(m, c->commit.ino);
    if (!i)
        FAIL(ERR_STALE);
    struct model_inode *n = &m->inodes[i];
    if (!S_ISREG(n->mode))
        FAIL(S_ISDIR(n->mode) ? ERR_ISDIR : ERR_INVAL);
    if (c->commit.has_expected_version && c->commit.expected_version != n->version)
        FAIL(ERR_VERSION);
    uint64_t base = c->commit.append ? n->size : 0, end = 0;
    for (unsigned e = 0; e < c->commit.extent_count; e++) {
        const struct meta_extent *x = &c->commit.extents[e];
        uint32_t block = get_u32be(x->block.bytes);
        for (uint64_t b = 0; b < x->length; b++)
            n->bytes[base + x->file_offset + b] = (struct model_byte){block, block ? x->block_offset + (uint32_t)b : 0};
        end = base + x->file_offset + x->length;
    }
    uint64_t size = c->commit.append || end > c->commit.size_at_least ? end : c->commit.size_at_least;
    if (size > n->size)
        n->size = size;
    n->version++;
    n->ctime = m->now;
    n->mtime = c->commit.has_mtime ? c->commit.mtime_ns : m->now;
    return done(m, i);
}

static void release(struct model *m, uint64_t ino, unsigned session)
{
    unsigned i = model_find(m, ino);
    if (!i)
        return;
    m->inodes[i].held[session] = false;
    if (m->inodes[i].nlink == 0)
        remove_if_free(&m->inodes[i]);
}

void model_time(struct model *m, int64_t time_ns)
{
    if (time_ns > m->now)
        m->now = time_ns;
}

struct model_outcome model_apply(struct model *m, const struct meta_command *c, unsigned session, uint64_t new_ino)
{
    switch (c->op) {
    case META_CREATE:
    case META_MKDIR:
    case META_MKNOD:
    case META_SYMLINK:
        return apply_make(m, c, new_ino);
    case META_LINK:
        return apply_link(m, c);
    case META_UNLINK:
    case META_RMDIR:
        return apply_unlink(m, c, session);
    case META_RENAME:
        return apply_rename(m, c, session);
    case META_SETATTR:
        return apply_setattr(m, c);
    case META_COMMIT:
        return apply_commit(m, c);
    case META_RELEASE:
        for (unsigned i = 0; i < c->release.count; i++)
            release(m, c->release.inos[i], session);
        return (struct model_outcome){.status = ERR_OK};
    case META_SESSION_END:
        for (unsigned i = 1; i < MODEL_INODES; i++)
            if (m->inodes[i].used && m->inodes[i].held[session])
                release(m, m->inodes[i].ino, session);
        return (struct model_outcome){.status = ERR_OK};
    default:
        return (struct model_outcome){.status = ERR_OK};
    }
}
