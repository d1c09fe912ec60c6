/* main.c: random commands to the state machine and to the model; every reply and now and then the whole tree must
 * agree.
 *
 *   model --seed N --steps K [--only I,J,...] [--verbose]
 *
 * Each step is made from (seed, its number) alone, so steps can be left out: a failing run is shrunk to a few steps,
 * and printed as a command that replays it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/prng.h"
#include "tests/model/compare.h"
#include "tests/model/inlined.h"
#include "tests/model/rewrites.h"

#define CHECK_EVERY 250u
#define OPEN_MAX_HINTS 4u
#define READS_MAX 4u
#define ALIGNED_BLOCKS 2u
#define PAST_MAX 32u /* requests of a session that may be repeated */

/* What a step chose; the arrays are what the command borrows. */
struct step {
    struct meta_command command;
    unsigned session;
    char name[1], new_name[1], target[40];
    uint64_t inos[OPEN_MAX_HINTS];
    struct meta_read reads[READS_MAX];
    struct meta_extent extents[4], rewritten[REWRITE_EXTENTS_MAX];
    uint8_t value[MODEL_VALUE_BYTES];
    struct inlined_choice inlined;
    bool retry;
};

struct past {
    struct step step;
    struct meta_reply reply;
};

struct run {
    const char *path;
    struct meta *meta;
    struct model model;
    uint64_t index, sessions[MODEL_SESSIONS], seqs[MODEL_SESSIONS], acked[MODEL_SESSIONS];
    uint64_t told[MODEL_SESSIONS]; /* the highest acknowledgement that was sent */
    struct past past[MODEL_SESSIONS][PAST_MAX];
    unsigned past_count[MODEL_SESSIONS]; /* ever; the ring holds the last ones */
    uint64_t blocks;                     /* made so far, besides the aligned ones */
    int64_t time_ns;
    bool verbose;
    struct err_text why;
};

static uint64_t any_inode(const struct run *r, struct prng *p, bool directory)
{
    uint64_t found[MODEL_INODES];
    unsigned count = 0;
    for (unsigned i = 1; i < MODEL_INODES; i++)
        if (r->model.inodes[i].used && (!directory || S_ISDIR(r->model.inodes[i].mode)))
            found[count++] = r->model.inodes[i].ino;
    /* Now and then one that is not what is asked for, or is long gone. */
    if (prng_below(p, 40) == 0)
        return prng_below(p, 200);
    return found[prng_below(p, count)];
}

static struct slice any_name(struct prng *p, char *to)
{
    to[0] = (char)('a' + prng_below(p, MODEL_NAMES));
    return SLICE(to, 1);
}

static unsigned any_hints(const struct run *r, struct prng *p, uint64_t *to)
{
    unsigned count = (unsigned)prng_below(p, OPEN_MAX_HINTS + 1);
    for (unsigned i = 0; i < count; i++)
        to[i] = any_inode(r, p, false);
    return count;
}

static int64_t ctime_of(const struct run *r, uint64_t ino)
{
    unsigned i = model_find(&r->model, ino);
    return i ? r->model.inodes[i].ctime : 0;
}

/* One of them may be there twice, or be gone. */
static void choose_reads(const struct run *r, struct prng *p, struct step *s)
{
    s->command.reads.count = 1 + (unsigned)prng_below(p, READS_MAX);
    s->command.reads.list = s->reads;
    for (unsigned i = 0; i < s->command.reads.count; i++) {
        uint64_t ino = any_inode(r, p, false);
        s->reads[i] = (struct meta_read){
            .ino = ino,
            .ns = (int64_t)prng_below(p, prng_below(p, 3) ? 1000 : UINT64_C(200000000000000)),
            .ctime_ns = prng_below(p, 5) ? ctime_of(r, ino) : (int64_t)prng_below(p, 1000),
        };
    }
}

/* Bytes of the first few blocks go where they belong, and often from one round offset to another: so that extents
 * continue one another, and some bytes are written again just as they were. */
static void choose_block(struct run *r, struct prng *p, struct meta_extent *e)
{
    uint64_t pick = prng_below(p, 6), block = 0;
    if (pick == 0)
        return; /* a hole */
    if (pick <= 3) {
        block = 1 + prng_below(p, ALIGNED_BLOCKS);
        e->block_offset = (uint32_t)e->file_offset;
    } else {
        block = pick == 4 && r->blocks > 0 ? 1 + ALIGNED_BLOCKS + prng_below(p, r->blocks)
                                           : 1 + ALIGNED_BLOCKS + r->blocks++;
        e->block_offset = (uint32_t)prng_below(p, 100);
    }
    put_u32be(e->block.bytes, (uint32_t)block);
}

static void choose_extents(struct run *r, struct prng *p, struct step *s, uint64_t room)
{
    struct meta_command *c = &s->command;
    uint64_t unit = prng_below(p, 2) ? 100 : 1;
    uint64_t at = c->commit.append ? 0 : prng_below(p, room / unit) * unit;
    while (c->commit.extent_count < ARRAY_SIZE(s->extents)) {
        uint64_t length = (1 + prng_below(p, 400 / unit)) * unit;
        if (at + length > room)
            break;
        struct meta_extent *e = &s->extents[c->commit.extent_count++];
        *e = (struct meta_extent){.file_offset = at, .length = length};
        choose_block(r, p, e);
        bool gap = !c->commit.append && prng_below(p, 2) == 0;
        at += length + (gap ? prng_below(p, 100) / unit * unit : 0);
        if (prng_below(p, 3) == 0)
            break;
    }
    c->commit.extents = s->extents;
    c->commit.size_at_least = prng_below(p, 4) == 0 ? prng_below(p, MODEL_BYTES) : at > MODEL_BYTES ? MODEL_BYTES : at;
}

/* As a hole is punched: one that may be as long as the file. */
static void choose_hole(struct prng *p, struct step *s)
{
    struct meta_command *c = &s->command;
    uint64_t from = prng_below(p, MODEL_BYTES);
    s->extents[0] = (struct meta_extent){.file_offset = from, .length = 1 + prng_below(p, MODEL_BYTES - from)};
    c->commit.extents = s->extents;
    c->commit.extent_count = 1;
    c->commit.append = false;
}

/* Half of the contents go to one file, so that there is something to overwrite. */
static uint64_t any_file(const struct run *r, struct prng *p)
{
    if (prng_below(p, 2))
        for (unsigned i = 1; i < MODEL_INODES; i++)
            if (r->model.inodes[i].used && S_ISREG(r->model.inodes[i].mode))
                return r->model.inodes[i].ino;
    return any_inode(r, p, false);
}

static bool is_crowded(const struct model *m)
{
    unsigned used = 0;
    for (unsigned i = 1; i < MODEL_INODES; i++)
        used += m->inodes[i].used;
    return used > MODEL_INODES * 3 / 4;
}

static void choose_xattr(struct run *r, struct prng *p, struct step *s)
{
    struct meta_command *c = &s->command;
    unsigned attribute = (unsigned)prng_below(p, MODEL_XATTRS);
    c->xattr.ino = any_inode(r, p, prng_below(p, 2));
    c->xattr.name = slice_str(model_xattr_names[attribute]);
    if (c->op == META_REMOVEXATTR)
        return;
    c->xattr.value = SLICE(s->value, model_xattr_value(attribute, prng_next(p), s->value));
    c->xattr.flags = prng_below(p, 3) ? 0 : (uint32_t)prng_below(p, 8);
}

static void choose(struct run *r, struct prng *p, struct step *s)
{
    static const struct {
        enum meta_op op;
        unsigned weight;
    } table[] = {{META_CREATE, 14}, {META_MKDIR, 8}, {META_MKNOD, 2},       {META_SYMLINK, 2},   {META_LINK, 6},
                 {META_UNLINK, 10}, {META_RMDIR, 5}, {META_RENAME, 18},     {META_COMMIT, 22},   {META_SETATTR, 8},
                 {META_RELEASE, 3}, {META_REAP, 4},  {META_SESSION_END, 1}, {META_SETXATTR, 12}, {META_REMOVEXATTR, 3},
                 {META_CLONE, 12},  {META_MOVED, 8}, {META_READS, 4},       {META_REWRITE, 12}};
    unsigned total = 0, pick;
    for (unsigned i = 0; i < ARRAY_SIZE(table); i++)
        total += table[i].weight;
    pick = (unsigned)prng_below(p, total);
    unsigned at = 0;
    for (; pick >= table[at].weight; at++)
        pick -= table[at].weight;
    struct meta_command *c = &s->command;
    *c = (struct meta_command){.op = table[at].op};
    bool makes = c->op == META_CREATE || c->op == META_MKDIR || c->op == META_MKNOD || c->op == META_SYMLINK;
    if (makes && is_crowded(&r->model)) /* long runs must not outgrow the model */
        c->op = prng_below(p, 3) ? META_UNLINK : META_RMDIR;
    s->session = (unsigned)prng_below(p, MODEL_SESSIONS);
    s->retry = prng_below(p, 10) == 0;
    switch (c->op) {
    case META_CREATE:
    case META_MKDIR:
    case META_MKNOD:
    case META_SYMLINK:
        c->make.parent = any_inode(r, p, true);
        c->make.name = any_name(p, s->name);
        c->make.mode = (uint32_t)prng_below(p, 07777 + 1) | (prng_below(p, 2) ? S_IFIFO : S_IFCHR);
        c->make.uid = (uint32_t)prng_below(p, 3);
        c->make.gid = (uint32_t)prng_below(p, 3);
        c->make.rdev = (uint32_t)prng_below(p, 100);
        c->make.umask = (uint32_t)prng_below(p, 0777 + 1);
        c->make.exclusive = prng_below(p, 2);
        memset(s->target, 't', sizeof s->target);
        c->make.target = SLICE(s->target, 1 + prng_below(p, sizeof s->target));
        break;
    case META_LINK:
        c->link.ino = any_inode(r, p, false);
        c->link.parent = any_inode(r, p, true);
        c->link.name = any_name(p, s->name);
        break;
    case META_UNLINK:
    case META_RMDIR:
        c->unlink.parent = any_inode(r, p, true);
        c->unlink.name = any_name(p, s->name);
        if (c->op == META_UNLINK && prng_below(p, 4) == 0) {
            c->unlink.expected_ino = any_file(r, p);
            c->unlink.expected_version = r->model.inodes[model_find(&r->model, c->unlink.expected_ino)].version;
        }
        break;
    case META_RENAME:
        c->rename.parent = any_inode(r, p, true);
        c->rename.new_parent = any_inode(r, p, true);
        c->rename.name = any_name(p, s->name);
        c->rename.new_name = any_name(p, s->new_name);
        c->rename.flags = (uint32_t)prng_below(p, 3);
        break;
    case META_COMMIT: {
        c->commit.ino = any_file(r, p);
        c->commit.append = prng_below(p, 5) == 0;
        c->commit.has_expected_version = prng_below(p, 10) == 0;
        c->commit.expected_version = prng_below(p, 5);
        unsigned i = model_find(&r->model, c->commit.ino);
        uint64_t size = i ? r->model.inodes[i].size : 0;
        c->commit.has_mtime = prng_below(p, 2);
        c->commit.kill_set_id = prng_below(p, 2);
        c->commit.mtime_ns = prng_below(p, 2) ? r->time_ns - (int64_t)prng_below(p, 5) : (int64_t)prng_below(p, 1000);
        if (prng_below(p, 8) == 0)
            choose_hole(p, s);
        else
            choose_extents(r, p, s, c->commit.append ? (size < MODEL_BYTES - 900 ? 900 : 0) : MODEL_BYTES);
        if (prng_below(p, 3) == 0)
            inlined_choose(p, &s->inlined, c);
        break;
    }
    case META_MOVED:
        inlined_choose_moved(&r->model, p, &s->inlined, c);
        break;
    case META_REWRITE:
        rewrite_choose(r->meta, p, any_file(r, p), (uint32_t)(1 + ALIGNED_BLOCKS + r->blocks++), s->rewritten, c);
        break;
    case META_CLONE:
        c->clone.source = any_file(r, p);
        c->clone.ino = prng_below(p, 4) ? any_file(r, p) : c->clone.source;
        c->clone.length = 1 + prng_below(p, prng_below(p, 2) ? 200 : MODEL_BYTES);
        c->clone.source_offset = prng_below(p, MODEL_BYTES - c->clone.length + 1);
        c->clone.offset = prng_below(p, MODEL_BYTES - c->clone.length + 1);
        c->clone.has_expected_version = prng_below(p, 10) == 0;
        c->clone.expected_version = prng_below(p, 5);
        c->clone.kill_set_id = prng_below(p, 2);
        if (prng_below(p, 4) == 0) {
            const struct model_inode *i = &r->model.inodes[model_find(&r->model, c->clone.ino)];
            c->clone.take = c->clone.has_expected_version = true;
            c->clone.source_offset = c->clone.offset = 0;
            c->clone.length = META_SIZE_MAX;
            c->clone.expected_version = i->version + (prng_below(p, 8) == 0);
            c->clone.version = i->version + prng_below(p, 3);
        }
        break;
    case META_SETATTR:
        c->setattr.ino = any_file(r, p);
        c->setattr.mask = META_SET_READ;
        if (prng_below(p, 6))
            c->setattr.mask = (uint32_t)prng_below(p, 256) | (prng_below(p, 2) ? META_KILL_SET_ID : 0) |
                              (prng_below(p, 4) ? 0 : META_KILL_SET_GID);
        c->setattr.atime_ns = (int64_t)prng_below(p, prng_below(p, 3) ? 1000 : UINT64_C(200000000000000));
        c->setattr.mtime_ns = (int64_t)prng_below(p, 1000);
        c->setattr.ctime_ns = prng_below(p, 5) ? ctime_of(r, c->setattr.ino) : (int64_t)prng_below(p, 1000);
        c->setattr.size = prng_below(p, 3) == 0 ? 0 : prng_below(p, MODEL_BYTES);
        c->setattr.mode = (uint32_t)prng_below(p, 07777 + 1);
        c->setattr.uid = (uint32_t)prng_below(p, 3);
        c->setattr.gid = (uint32_t)prng_below(p, 3);
        break;
    case META_READS:
        choose_reads(r, p, s);
        break;
    case META_RELEASE:
        c->release.count = any_hints(r, p, s->inos);
        c->release.inos = s->inos;
        break;
    case META_SESSION_END:
        c->session_end.session = r->sessions[s->session];
        break;
    case META_SETXATTR:
    case META_REMOVEXATTR:
        choose_xattr(r, p, s);
        break;
    default:
        break;
    }
}

/* A leader's clock may be behind the one before. */
static struct meta_reply apply(struct run *r, const struct meta_command *c)
{
    struct meta_reply reply;
    struct meta_command stamped = *c;
    r->time_ns++;
    stamped.time_ns = r->time_ns - (r->time_ns % 7 == 0 ? 3 : 0);
    CHECK(meta_apply(r->meta, ++r->index, 1, &stamped, &reply) == ERR_OK);
    model_time(&r->model, stamped.time_ns);
    return reply;
}

static void open_session(struct run *r, unsigned n)
{
    struct meta_command c = {.op = META_SESSION_OPEN};
    c.session_open.export = slice_str(META_EXPORT_DEFAULT);
    c.session_open.client = slice_str("model");
    put_u64be(c.session_open.nonce, r->index);
    struct meta_reply reply = apply(r, &c);
    CHECK(reply.status == ERR_OK && reply.session == r->index);
    r->sessions[n] = reply.session;
    r->seqs[n] = r->acked[n] = r->told[n] = 0;
    r->past_count[n] = 0;
}

static bool reap(struct run *r)
{
    struct meta_command c = {.op = META_REAP};
    if (!meta_reap_pending(r->meta, &c.reap.content_id))
        return false;
    CHECK(apply(r, &c).status == ERR_OK);
    return true;
}

/* Not memcmp: there is padding. */
static bool same_attr(const struct meta_attr *a, const struct meta_attr *b)
{
    return a->ino == b->ino && a->mode == b->mode && a->uid == b->uid && a->gid == b->gid && a->nlink == b->nlink &&
           a->rdev == b->rdev && a->size == b->size && a->allocated == b->allocated && a->atime_ns == b->atime_ns &&
           a->mtime_ns == b->mtime_ns && a->ctime_ns == b->ctime_ns && a->btime_ns == b->btime_ns &&
           a->version == b->version && a->content_id == b->content_id && a->xattrs == b->xattrs;
}

static bool same_reply(const struct meta_reply *a, const struct meta_reply *b)
{
    return a->status == b->status && a->has_attr == b->has_attr && a->orphaned == b->orphaned &&
           a->existed == b->existed && a->has_parent == b->has_parent && a->has_replaced == b->has_replaced &&
           a->offset == b->offset && (!a->has_attr || same_attr(&a->attr, &b->attr)) &&
           (!a->has_parent || same_attr(&a->parent, &b->parent)) &&
           (!a->has_replaced || same_attr(&a->replaced, &b->replaced));
}

/* A copied step borrows from the one that it was copied from, until this. */
static void own_arrays(struct step *s)
{
    struct meta_command *c = &s->command;
    switch (c->op) {
    case META_CREATE:
    case META_MKDIR:
    case META_MKNOD:
    case META_SYMLINK:
        c->make.name.data = (const uint8_t *)s->name;
        c->make.target.data = (const uint8_t *)s->target;
        break;
    case META_LINK:
        c->link.name.data = (const uint8_t *)s->name;
        break;
    case META_UNLINK:
    case META_RMDIR:
        c->unlink.name.data = (const uint8_t *)s->name;
        break;
    case META_RENAME:
        c->rename.name.data = (const uint8_t *)s->name;
        c->rename.new_name.data = (const uint8_t *)s->new_name;
        break;
    case META_COMMIT:
        c->commit.extents = s->extents;
        inlined_own(&s->inlined, c);
        break;
    case META_MOVED:
        c->moved.blocks = s->inlined.moved;
        break;
    case META_READS:
        c->reads.list = s->reads;
        break;
    case META_REWRITE:
        c->rewrite.extents = s->rewritten;
        break;
    case META_SETXATTR:
        c->xattr.value.data = s->value;
        break;
    case META_RELEASE:
        c->release.inos = s->inos;
        break;
    default:
        break;
    }
}

static void remember(struct run *r, const struct step *s, const struct meta_reply *reply)
{
    struct past *p = &r->past[s->session][r->past_count[s->session]++ % PAST_MAX];
    *p = (struct past){.step = *s, .reply = *reply};
    own_arrays(&p->step);
}

/* A request of long ago once more: its first answer, or a refusal when that has been acknowledged. */
static bool repeat(struct run *r, struct prng *p, unsigned session)
{
    unsigned count = r->past_count[session] < PAST_MAX ? r->past_count[session] : PAST_MAX;
    if (count == 0)
        return true;
    const struct past *past = &r->past[session][prng_below(p, count)];
    struct meta_reply again = apply(r, &past->step.command), refused = {.status = ERR_SEQUENCE};
    bool kept = past->step.command.seq > r->told[session];
    if (same_reply(&again, kept ? &past->reply : &refused))
        return true;
    (void)err_explain(&r->why, ERR_CORRUPT, "a late retry got %s, must be %s", err_name(again.status),
                      err_name(kept ? past->reply.status : ERR_SEQUENCE));
    return false;
}

/* The state is on disk after this, whatever was in memory. */
static void reopen(struct run *r)
{
    struct meta_options options = {.path = r->path};
    struct err_text why;
    struct sha256 before, after;
    meta_chain_hash(r->meta, &before);
    meta_close(r->meta);
    CHECK(meta_open(&options, &r->meta, &why) == ERR_OK);
    meta_chain_hash(r->meta, &after);
    CHECK(meta_applied_index(r->meta) == r->index && sha256_equal(&before, &after));
}

static bool check_reply(struct run *r, const struct step *s, const struct meta_reply *reply,
                        const struct model_outcome *o)
{
    if (reply->status != o->status) {
        (void)err_explain(&r->why, ERR_CORRUPT, "status %s, must be %s", err_name(reply->status), err_name(o->status));
        return false;
    }
    if (reply->set != o->set) {
        (void)err_explain(&r->why, ERR_CORRUPT, "set %#llx, must be %#llx", (unsigned long long)reply->set,
                          (unsigned long long)o->set);
        return false;
    }
    if (reply->status != ERR_OK || !o->inode)
        return true;
    if (reply->orphaned != o->orphaned || reply->existed != o->existed) {
        (void)err_explain(&r->why, ERR_CORRUPT, "orphaned %d existed %d, must be %d %d", reply->orphaned,
                          reply->existed, o->orphaned, o->existed);
        return false;
    }
    (void)s;
    return compare_attr(&reply->attr, &o->copy, &r->why);
}

static bool run_step(struct run *r, uint64_t seed, unsigned number)
{
    struct step s;
    struct prng p;
    prng_seed(&p, seed * 1000003 + number);
    prng_next(&p);
    choose(r, &p, &s);
    if (s.command.op == META_REAP)
        return reap(r) || true;
    if (prng_below(&p, 300) == 0)
        reopen(r);
    if (prng_below(&p, 15) == 0 && !repeat(r, &p, s.session))
        return false;
    bool ends = s.command.op == META_SESSION_END;
    bool of_session = !ends && s.command.op != META_RELEASE;
    if (of_session) {
        s.command.session = r->sessions[s.session];
        s.command.seq = ++r->seqs[s.session];
        s.command.acked = r->acked[s.session];
        r->told[s.session] = s.command.acked;
        /* Replies are acknowledged late, as by a client with several requests under way. */
        if (prng_below(&p, 3) == 0)
            r->acked[s.session] = s.command.seq - prng_below(&p, MIN(s.command.seq - r->acked[s.session], 4));
    }
    if (r->verbose) {
        char text[300];
        meta_command_describe(&s.command, text, sizeof text);
        printf("%u: %s\n", number, text);
    }
    struct meta_reply reply = apply(r, &s.command);
    struct model_outcome o = model_apply(&r->model, &s.command, reply.has_attr ? reply.attr.ino : 0);
    if (!check_reply(r, &s, &reply, &o))
        return false;
    if (ends)
        open_session(r, s.session);
    if (of_session)
        remember(r, &s, &reply);
    if (s.retry && of_session) {
        struct meta_reply again = apply(r, &s.command);
        if (!same_reply(&reply, &again)) {
            (void)err_explain(&r->why, ERR_CORRUPT, "a retry got %s, the first answer was %s", err_name(again.status),
                              err_name(reply.status));
            return false;
        }
    }
    return true;
}

static bool run_all(uint64_t seed, const unsigned *steps, unsigned count, bool verbose, struct err_text *why,
                    unsigned *ret_at)
{
    static struct run r;
    char path[] = "/tmp/surf-model-XXXXXX";
    CHECK(mkdtemp(path));
    memset(&r, 0, sizeof r); /* too large for a compound literal on the stack */
    r.verbose = verbose;
    r.path = path;
    r.time_ns = 100;
    struct meta_options options = {.path = path};
    CHECK(meta_open(&options, &r.meta, why) == ERR_OK);
    struct meta_command init = {.op = META_INIT, .init = {.cookie_key = {(uint8_t)seed}}};
    CHECK(apply(&r, &init).status == ERR_OK);
    model_init(&r.model, r.model.now);
    for (unsigned n = 0; n < MODEL_SESSIONS; n++)
        open_session(&r, n);
    bool ok = true;
    unsigned at = 0;
    for (; at < count && ok; at++) {
        ok = run_step(&r, seed, steps[at]);
        if (ok && (at % CHECK_EVERY == CHECK_EVERY - 1 || at + 1 == count))
            ok = compare_trees(r.meta, &r.model, &r.why) && inlined_compare(r.meta, &r.model, &r.why);
    }
    while (ok && reap(&r))
        ;
    ok = ok && compare_trees(r.meta, &r.model, &r.why) && compare_counts(r.meta, &r.model, &r.why);
    *why = r.why;
    *ret_at = at;
    meta_close(r.meta);
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", path);
    CHECK(system(command) == 0);
    return ok;
}

/* Leaves out ever smaller parts as long as the rest still fails. */
static unsigned shrink(uint64_t seed, unsigned *steps, unsigned count)
{
    struct err_text why;
    unsigned at;
    for (unsigned part = count / 2; part > 0; part /= 2)
        for (unsigned from = 0; from + part <= count;) {
            unsigned *rest = mem_alloc(count * sizeof *rest);
            memcpy(rest, steps, from * sizeof *rest);
            memcpy(rest + from, steps + from + part, (count - from - part) * sizeof *rest);
            if (!run_all(seed, rest, count - part, false, &why, &at)) {
                count -= part;
                memcpy(steps, rest, count * sizeof *rest);
            } else {
                from += part;
            }
            free(rest);
        }
    return count;
}

int main(int argc, char **argv)
{
    uint64_t seed = 1;
    unsigned count = 2000;
    char *only = NULL;
    bool verbose = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--verbose") == 0)
            verbose = true;
        else if (i + 1 < argc && strcmp(argv[i], "--seed") == 0)
            seed = strtoull(argv[++i], NULL, 10);
        else if (i + 1 < argc && strcmp(argv[i], "--steps") == 0)
            count = (unsigned)strtoul(argv[++i], NULL, 10);
        else if (i + 1 < argc && strcmp(argv[i], "--only") == 0)
            only = argv[++i];
        else
            return fprintf(stderr, "usage: model [--seed N] [--steps K] [--only I,J,...] [--verbose]\n"), 64;
    }
    unsigned *steps = mem_alloc((count + strlen(only ? only : "") + 1) * sizeof *steps), at;
    for (unsigned i = 0; i < count; i++)
        steps[i] = i;
    if (only) {
        count = 0;
        for (char *text; (text = strsep(&only, ","));)
            steps[count++] = (unsigned)strtoul(text, NULL, 10);
    }
    struct err_text why = {""};
    bool ok = run_all(seed, steps, count, verbose, &why, &at);
    if (ok) {
        printf("seed %llu: %u steps agree\n", (unsigned long long)seed, count);
    } else {
        printf("seed %llu, step %u: %s\n", (unsigned long long)seed, at, why.text);
        count = shrink(seed, steps, at < count ? at : count);
        printf("replay: model --verbose --seed %llu --only ", (unsigned long long)seed);
        for (unsigned i = 0; i < count; i++)
            printf("%s%u", i ? "," : "", steps[i]);
        printf("\n");
    }
    free(steps);
    return ok ? 0 : 1;
}
