#include "tests/model/inlined.h"
#include "tests/model/rewrites.h"

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
    if (i->nlink == 0 && !i->orphan)
        i->used = false;
}

static void modified(struct model *m, unsigned directory)
{
    m->inodes[directory].mtime = m->inodes[directory].ctime = m->now;
}

static bool drop_link(const struct model *m, struct model_inode *i)
{
    i->nlink--;
    i->ctime = m->now;
    i->orphan = i->nlink == 0 && S_ISREG(i->mode);
    return i->orphan;
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
    struct model_xattrs inherited = {0};
    model_xattrs_inherit(&m->inodes[parent].xattrs, c->make.umask, &inherited, &mode);
    unsigned i = make(m, new_ino, mode);
    struct model_inode *child = &m->inodes[i], *p = &m->inodes[parent];
    child->xattrs = inherited;
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

static struct model_outcome apply_unlink(struct model *m, const struct meta_command *c)
{
    DIRECTORY(parent, c->unlink.parent);
    unsigned *entry = &m->inodes[parent].entries[model_name(c->unlink.name)];
    if (!*entry)
        FAIL(ERR_NOENT);
    unsigned i = *entry;
    struct model_inode *child = &m->inodes[i];
    bool orphaned = false;
    uint64_t expected = c->op == META_UNLINK && !is_directory(child) ? c->unlink.expected_ino : 0;
    if (expected && (child->ino != expected || child->version != c->unlink.expected_version))
        FAIL(ERR_VERSION);
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
        orphaned = drop_link(m, child);
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

static struct model_outcome apply_rename(struct model *m, const struct meta_command *c)
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
            orphaned = drop_link(m, replaced);
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

static bool was_read(struct model_inode *n, int64_t now, int64_t ctime)
{
    int64_t day = INT64_C(86400000000000);
    bool due =
        ctime == n->ctime && now > n->atime && (n->atime <= n->mtime || n->atime <= n->ctime || n->atime + day <= now);
    if (due)
        n->atime = now;
    return due;
}

static struct model_outcome apply_reads(struct model *m, const struct meta_command *c)
{
    struct model_outcome o = {.status = ERR_OK};
    for (unsigned n = 0; n < c->reads.count; n++) {
        const struct meta_read *x = &c->reads.list[n];
        unsigned i = model_find(m, x->ino);
        if (i && was_read(&m->inodes[i], x->ns, x->ctime_ns))
            o.set |= UINT64_C(1) << n;
    }
    return o;
}

static struct model_outcome apply_setattr(struct model *m, const struct meta_command *c)
{
    unsigned i = model_find(m, c->setattr.ino);
    if (!i)
        FAIL(ERR_STALE);
    struct model_inode *n = &m->inodes[i];
    uint32_t mask = c->setattr.mask;
    if (mask & META_SET_READ) {
        was_read(n, c->setattr.atime_ns, c->setattr.ctime_ns);
        return done(m, i);
    }
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
        if (mask & META_KILL_SET_ID)
            model_kill_set_id(&n->mode);
    }
    if (mask & (META_SET_SIZE | META_SET_UID | META_SET_GID))
        model_xattrs_kill_capability(&n->xattrs);
    if ((mask & META_KILL_SET_GID) && S_ISREG(n->mode))
        n->mode &= ~(uint32_t)S_ISGID;
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
        model_kill_set_id(&n->mode);
    if (mask & META_SET_MODE)
        model_xattrs_chmod(&n->xattrs, n->mode);
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
    for (unsigned b = 0; b < c->commit.inlined_count; b++)
        m->inlined[c->commit.inlined[b].data[0]] = (struct model_inlined){true, n->ino, n->version};
    n->mtime = c->commit.has_mtime ? c->commit.mtime_ns : m->now;
    n->ctime = n->mtime > n->ctime && n->mtime < m->now ? n->mtime : m->now;
    model_xattrs_kill_capability(&n->xattrs);
    if (c->commit.kill_set_id)
        model_kill_set_id(&n->mode);
    return done(m, i);
}

static struct model_outcome apply_xattr(struct model *m, const struct meta_command *c)
{
    unsigned i = model_find(m, c->xattr.ino);
    if (!i)
        FAIL(ERR_STALE);
    struct model_inode *n = &m->inodes[i];
    enum err e =
        c->op == META_SETXATTR ? model_xattrs_set(&n->xattrs, &n->mode, c) : model_xattrs_remove(&n->xattrs, c);
    if (e != ERR_OK)
        FAIL(e);
    n->ctime = m->now;
    return done(m, i);
}

static struct model_outcome apply_take(struct model *m, const struct meta_command *c, unsigned s, unsigned i)
{
    struct model_inode *source = &m->inodes[s], *n = &m->inodes[i];
    if (n->nlink == 0)
        FAIL(ERR_STALE);
    if (c->clone.version <= n->version)
        FAIL(ERR_INVAL);
    n->version = c->clone.version;
    n->ctime = m->now;
    if (s == i)
        return done(m, i);
    memcpy(n->bytes, source->bytes, sizeof n->bytes);
    n->size = source->size;
    n->mtime = m->now;
    memset(source->bytes, 0, sizeof source->bytes);
    source->size = 0;
    source->version++;
    source->ctime = source->mtime = m->now;
    model_xattrs_kill_capability(&n->xattrs);
    if (c->clone.kill_set_id)
        model_kill_set_id(&n->mode);
    return done(m, i);
}

static struct model_outcome apply_clone(struct model *m, const struct meta_command *c)
{
    unsigned s = model_find(m, c->clone.source), i = model_find(m, c->clone.ino);
    if (!s || !i)
        FAIL(ERR_STALE);
    const struct model_inode *source = &m->inodes[s];
    struct model_inode *n = &m->inodes[i];
    if (!S_ISREG(source->mode))
        FAIL(S_ISDIR(source->mode) ? ERR_ISDIR : ERR_INVAL);
    if (!S_ISREG(n->mode))
        FAIL(S_ISDIR(n->mode) ? ERR_ISDIR : ERR_INVAL);
    if (c->clone.has_expected_version && c->clone.expected_version != n->version)
        FAIL(ERR_VERSION);
    if (c->clone.take)
        return apply_take(m, c, s, i);
    uint64_t from = c->clone.source_offset, to = c->clone.offset, length = c->clone.length;
    if (s == i && from < to + length && to < from + length)
        FAIL(ERR_INVAL);
    if (from >= source->size)
        return done(m, i);
    for (uint64_t b = 0, end = source->size; b < length && from + b < end; b++) {
        n->bytes[to + b] = source->bytes[from + b];
        n->size = to + b + 1 > n->size ? to + b + 1 : n->size;
    }
    n->version++;
    n->ctime = n->mtime = m->now;
    model_xattrs_kill_capability(&n->xattrs);
    if (c->clone.kill_set_id)
        model_kill_set_id(&n->mode);
    return done(m, i);
}

static void release(struct model *m, uint64_t ino)
{
    unsigned i = model_find(m, ino);
    m->inodes[i].orphan = false;
    if (i)
        remove_if_free(&m->inodes[i]);
}

void model_time(struct model *m, int64_t time_ns)
{
    m->now = time_ns > m->now ? time_ns : m->now + 1;
}

struct model_outcome model_apply(struct model *m, const struct meta_command *c, uint64_t new_ino)
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
        return apply_unlink(m, c);
    case META_RENAME:
        return apply_rename(m, c);
    case META_SETATTR:
        return apply_setattr(m, c);
    case META_COMMIT:
        return apply_commit(m, c);
    case META_CLONE:
        return apply_clone(m, c);
    case META_REWRITE:
        return model_rewrite(m, c);
    case META_MOVED:
        for (unsigned i = 0; i < c->moved.count; i++)
            model_moved(m, &c->moved.blocks[i]);
        return (struct model_outcome){.status = ERR_OK};
    case META_SETXATTR:
    case META_REMOVEXATTR:
        return apply_xattr(m, c);
    case META_READS:
        return apply_reads(m, c);
    case META_RELEASE:
        for (unsigned i = 0; i < c->release.count; i++)
            release(m, c->release.inos[i]);
        return (struct model_outcome){.status = ERR_OK};
    default:
        return (struct model_outcome){.status = ERR_OK};
    }
}
