#include "tests/fuzz/wire/samples_internal.h"

#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"

uint64_t sample_u64(struct prng *p, uint64_t low, uint64_t high)
{
    switch (prng_below(p, 6)) {
    case 0:
        return low;
    case 1:
        return high;
    case 2:
        return low + prng_below(p, MIN(high - low, 100u) + 1);
    default:
        return high - low == UINT64_MAX ? prng_next(p) : low + prng_below(p, high - low + 1);
    }
}

uint32_t sample_u32(struct prng *p)
{
    return (uint32_t)sample_u64(p, 0, UINT32_MAX);
}

uint64_t any_u64(struct prng *p)
{
    return sample_u64(p, 0, UINT64_MAX);
}

int64_t any_i64(struct prng *p)
{
    return (int64_t)any_u64(p);
}

bool sample_bool(struct prng *p)
{
    return prng_below(p, 2);
}

void fill(struct prng *p, void *to, size_t size)
{
    uint8_t *bytes = to;
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)prng_next(p);
}

/* A size that is usually small. */
static size_t sample_size(struct prng *p, size_t low, size_t high)
{
    return prng_below(p, 4) ? low + prng_below(p, MIN(high - low, (size_t)20) + 1) : sample_u64(p, low, high);
}

struct slice sample_bytes(struct prng *p, struct arena *a, size_t low, size_t high)
{
    size_t size = sample_size(p, low, high);
    uint8_t *bytes = arena_alloc(a, size);
    fill(p, bytes, size);
    return SLICE(bytes, size);
}

static struct slice without(struct prng *p, struct arena *a, size_t low, size_t high, uint8_t from, uint8_t to,
                            char not_this)
{
    size_t size = sample_size(p, low, high);
    uint8_t *bytes = arena_alloc(a, size);
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)prng_between(p, from, to);
        if (bytes[i] == not_this)
            bytes[i] = from == '/' ? 'x' : from;
    }
    return SLICE(bytes, size);
}

struct slice sample_name(struct prng *p, struct arena *a)
{
    for (;;) {
        struct slice s = without(p, a, 1, LIMIT_NAME_BYTES, 1, 255, '/');
        if (s.data[0] != '.')
            return s;
    }
}

struct slice sample_address(struct prng *p, struct arena *a)
{
    return without(p, a, 1, LIMIT_ADDRESS_BYTES, '!', '~', 0);
}

struct slice sample_zone(struct prng *p, struct arena *a)
{
    return without(p, a, 0, LIMIT_ZONE_BYTES, 'a', 'z', 0);
}

void sample_hello(struct prng *p, struct arena *a, struct wire_hello *ret)
{
    *ret = (struct wire_hello){.role = (enum wire_hello_role)prng_between(p, WIRE_ROLE_NODE, WIRE_ROLE_ADMIN)};
    ret->version_min = (uint32_t)sample_u64(p, 1, UINT32_MAX);
    ret->version_max = (uint32_t)sample_u64(p, ret->version_min, UINT32_MAX);
    if (ret->role == WIRE_ROLE_NODE)
        ret->node_id = (uint32_t)sample_u64(p, 1, UINT32_MAX);
    ret->has_cluster_id = sample_bool(p);
    if (ret->has_cluster_id)
        fill(p, ret->cluster_id, sizeof ret->cluster_id);
    ret->name = sample_bytes(p, a, 0, 255);
}

void sample_error(struct prng *p, struct arena *a, struct wire_error *ret)
{
    *ret = (struct wire_error){.leader_id = sample_u32(p), .not_done = sample_bool(p)};
    if (sample_bool(p))
        ret->leader_address = sample_address(p, a);
    ret->text = sample_bytes(p, a, 0, WIRE_TEXT_BYTES);
}

void sample_raft(struct prng *p, struct arena *a, enum raft_message_type type, unsigned entry_count,
                 struct raft_message *ret)
{
    *ret = (struct raft_message){.type = type,
                                 .from = (uint32_t)sample_u64(p, 1, UINT32_MAX),
                                 .to = (uint32_t)sample_u64(p, 1, UINT32_MAX),
                                 .term = any_u64(p),
                                 .commit = any_u64(p),
                                 .round = any_u64(p),
                                 .compactable = any_u64(p),
                                 .reject = sample_bool(p),
                                 .force = sample_bool(p),
                                 .entry_count = entry_count};
    ret->index = sample_u64(p, 0, UINT64_MAX - entry_count);
    ret->log_term = sample_u64(p, 0, ret->term);
    struct raft_entry *entries = arena_alloc(a, entry_count * sizeof *entries);
    uint64_t term = ret->log_term;
    for (unsigned i = 0; i < entry_count; i++) {
        term = prng_below(p, 4) ? term : sample_u64(p, term, ret->term);
        entries[i] =
            (struct raft_entry){.index = ret->index + 1 + i,
                                .term = term,
                                .type = (enum raft_entry_type)prng_between(p, RAFT_ENTRY_NOOP, RAFT_ENTRY_CONFIG),
                                .data = sample_bytes(p, a, 0, 300)};
    }
    ret->entries = entry_count ? entries : NULL;
}

void sample_attr(struct prng *p, struct meta_attr *ret)
{
    *ret = (struct meta_attr){.ino = sample_u64(p, 1, UINT64_MAX),
                              .mode = (uint32_t)sample_u64(p, 0, 0177777),
                              .uid = sample_u32(p),
                              .gid = sample_u32(p),
                              .nlink = sample_u32(p),
                              .rdev = sample_u32(p),
                              .size = sample_u64(p, 0, META_SIZE_MAX),
                              .allocated = sample_u64(p, 0, META_SIZE_MAX),
                              .atime_ns = any_i64(p),
                              .mtime_ns = any_i64(p),
                              .ctime_ns = any_i64(p),
                              .btime_ns = any_i64(p),
                              .version = any_u64(p),
                              .content_id = any_u64(p),
                              .xattrs = (uint32_t)sample_u64(p, 0, LIMIT_XATTRS)};
}

struct meta_extent *sample_extents(struct prng *p, struct arena *a, unsigned count, bool gaps)
{
    struct meta_extent *extents = arena_zalloc(a, count * sizeof *extents);
    uint64_t end = 0;
    for (unsigned i = 0; i < count; i++) {
        struct meta_extent *e = &extents[i];
        e->file_offset = end + (gaps && sample_bool(p) ? prng_below(p, UINT64_C(1) << 50) : 0);
        if (prng_below(p, 4) == 0) {
            e->length = 1 + prng_below(p, UINT64_C(1) << 50);
        } else {
            e->block_offset = (uint32_t)sample_u64(p, 0, LIMIT_BLOCK_BYTES - 1);
            e->length = sample_u64(p, 1, LIMIT_BLOCK_BYTES - e->block_offset);
            fill(p, &e->block, sizeof e->block);
            e->block.bytes[0] |= 1;
        }
        end = e->file_offset + e->length;
    }
    return extents;
}

static const uint64_t *sample_inos(struct prng *p, struct arena *a, unsigned *ret_count)
{
    *ret_count = (unsigned)sample_size(p, 0, LIMIT_RELEASE);
    uint64_t *inos = arena_alloc(a, *ret_count * sizeof *inos);
    for (unsigned i = 0; i < *ret_count; i++)
        inos[i] = sample_u64(p, 1, UINT64_MAX);
    return inos;
}

static void sample_make(struct prng *p, struct arena *a, struct meta_command *c)
{
    c->make.parent = sample_u64(p, 1, UINT64_MAX);
    c->make.name = sample_name(p, a);
    c->make.mode = (uint32_t)sample_u64(p, 0, 0177777);
    c->make.uid = sample_u32(p), c->make.gid = sample_u32(p), c->make.rdev = sample_u32(p);
    c->make.umask = (uint32_t)prng_below(p, 01000);
    c->make.exclusive = sample_bool(p);
    c->make.target = c->op == META_SYMLINK ? without(p, a, 1, LIMIT_SYMLINK_BYTES, 1, 255, 0) : SLICE(NULL, 0);
}

static void sample_commit(struct prng *p, struct arena *a, struct meta_command *c)
{
    c->commit.ino = sample_u64(p, 1, UINT64_MAX);
    c->commit.append = sample_bool(p);
    c->commit.extent_count = (unsigned)sample_size(p, 0, LIMIT_COMMIT_EXTENTS);
    c->commit.extents = sample_extents(p, a, c->commit.extent_count, !c->commit.append);
    c->commit.size_at_least = sample_u64(p, 0, META_SIZE_MAX);
    c->commit.has_expected_version = sample_bool(p), c->commit.expected_version = any_u64(p);
    c->commit.has_mtime = sample_bool(p), c->commit.mtime_ns = any_i64(p);
    c->commit.kill_set_id = sample_bool(p);
    c->commit.epoch = any_u64(p);
    struct slice *inlined = arena_alloc(a, LIMIT_INLINE_BLOCKS * sizeof *inlined);
    c->commit.inlined = inlined;
    c->commit.inlined_count = (unsigned)prng_below(p, LIMIT_INLINE_BLOCKS + 1);
    for (unsigned i = 0; i < c->commit.inlined_count; i++)
        inlined[i] = sample_bytes(p, a, 1, LIMIT_INLINE_BYTES / LIMIT_INLINE_BLOCKS);
}

static void sample_reads(struct prng *p, struct arena *a, struct meta_command *c)
{
    c->reads.count = (unsigned)prng_between(p, 1, LIMIT_READS);
    struct meta_read *list = arena_alloc(a, c->reads.count * sizeof *list);
    for (unsigned i = 0; i < c->reads.count; i++)
        list[i] = (struct meta_read){sample_u64(p, 1, UINT64_MAX), any_i64(p), any_i64(p)};
    c->reads.list = list;
}

static void sample_rewrite(struct prng *p, struct arena *a, struct meta_command *c)
{
    c->rewrite.ino = sample_u64(p, 1, UINT64_MAX);
    c->rewrite.version = any_u64(p), c->rewrite.epoch = any_u64(p);
    c->rewrite.length = (uint32_t)sample_u64(p, 0, LIMIT_BLOCK_BYTES);
    c->rewrite.offset = sample_u64(p, 0, META_SIZE_MAX - c->rewrite.length);
    if (c->rewrite.length == 0)
        return;
    c->rewrite.extent_count = (unsigned)sample_u64(p, 1, LIMIT_REWRITE_EXTENTS);
    c->rewrite.extents = sample_extents(p, a, c->rewrite.extent_count, false);
    fill(p, &c->rewrite.block, sizeof c->rewrite.block);
}

static void sample_moved(struct prng *p, struct arena *a, struct meta_command *c)
{
    c->moved.count = (unsigned)sample_size(p, 0, LIMIT_MOVED_BLOCKS);
    struct meta_inline_block *blocks = arena_zalloc(a, c->moved.count * sizeof *blocks);
    for (unsigned i = 0; i < c->moved.count; i++) {
        fill(p, &blocks[i].id, sizeof blocks[i].id);
        blocks[i].ino = sample_u64(p, 1, UINT64_MAX);
        blocks[i].version = any_u64(p);
    }
    c->moved.blocks = blocks;
}

static void sample_server(struct prng *p, struct arena *a, struct meta_block_server *ret)
{
    struct slice address = sample_address(p, a);
    memset(ret, 0, sizeof *ret);
    ret->id = (uint32_t)sample_u64(p, 1, UINT32_MAX);
    memcpy(ret->address, address.data, address.size);
    struct slice zone = sample_zone(p, a);
    memcpy(ret->zone, zone.data, zone.size);
    ret->weight = sample_u64(p, 1, UINT64_MAX);
    ret->draining = sample_bool(p);
    ret->weight_fixed = sample_bool(p);
    ret->change = (enum meta_server_change)prng_below(p, META_SERVER_CHANGE_LAST + 1);
}

static void sample_lock(struct prng *p, struct meta_lock *ret)
{
    *ret = (struct meta_lock){.kind = (enum meta_lock_kind)prng_between(p, META_LOCK_POSIX, META_LOCK_FLOCK),
                              .type = (enum meta_lock_type)prng_between(p, META_LOCK_READ, META_LOCK_UNLOCK),
                              .end = META_SIZE_MAX,
                              .owner = any_u64(p),
                              .pid = sample_u32(p)};
    if (ret->kind == META_LOCK_POSIX) {
        ret->start = sample_u64(p, 0, META_SIZE_MAX);
        ret->end = sample_u64(p, ret->start, META_SIZE_MAX);
    }
}

static struct slice sample_xattr_name(struct prng *p, struct arena *a)
{
    return without(p, a, 1, LIMIT_XATTR_NAME_BYTES, 1, 255, 0);
}

static void sample_body(struct prng *p, struct arena *a, struct meta_command *c)
{
    switch (c->op) {
    case META_INIT:
        fill(p, c->init.cluster_id, 16), fill(p, c->init.cookie_key, 16);
        break;
    case META_SESSION_OPEN:
        c->session_open.export = sample_bytes(p, a, 1, LIMIT_EXPORT_BYTES);
        c->session_open.client = sample_bytes(p, a, 0, 255);
        fill(p, c->session_open.nonce, 16);
        break;
    case META_SESSION_END:
        c->session_end.session = sample_u64(p, 1, UINT64_MAX);
        break;
    case META_SETATTR:
        c->setattr.ino = sample_u64(p, 1, UINT64_MAX);
        c->setattr.mask = prng_below(p, 8) == 0
                              ? META_SET_READ
                              : (uint32_t)sample_u64(p, 0, 0x1ff) | (sample_bool(p) ? META_KILL_SET_ID : 0);
        c->setattr.mode = (uint32_t)sample_u64(p, 0, 0177777);
        c->setattr.uid = sample_u32(p), c->setattr.gid = sample_u32(p);
        c->setattr.size = sample_u64(p, 0, META_SIZE_MAX);
        c->setattr.atime_ns = any_i64(p), c->setattr.mtime_ns = any_i64(p);
        c->setattr.ctime_ns = any_i64(p);
        break;
    case META_CREATE:
    case META_MKDIR:
    case META_MKNOD:
    case META_SYMLINK:
        sample_make(p, a, c);
        break;
    case META_LINK:
        c->link.ino = sample_u64(p, 1, UINT64_MAX), c->link.parent = sample_u64(p, 1, UINT64_MAX);
        c->link.name = sample_name(p, a);
        break;
    case META_UNLINK:
    case META_RMDIR:
        c->unlink.parent = sample_u64(p, 1, UINT64_MAX);
        c->unlink.name = sample_name(p, a);
        c->unlink.expected_ino = any_u64(p), c->unlink.expected_version = any_u64(p);
        break;
    case META_RENAME:
        c->rename.parent = sample_u64(p, 1, UINT64_MAX), c->rename.new_parent = sample_u64(p, 1, UINT64_MAX);
        c->rename.name = sample_name(p, a), c->rename.new_name = sample_name(p, a);
        c->rename.flags = (uint32_t)prng_below(p, 4);
        break;
    case META_COMMIT:
        sample_commit(p, a, c);
        break;
    case META_MOVED:
        sample_moved(p, a, c);
        break;
    case META_READS:
        sample_reads(p, a, c);
        break;
    case META_REWRITE:
        sample_rewrite(p, a, c);
        break;
    case META_EPOCH:
        c->epoch.after = any_u64(p);
        c->epoch.look = sample_bool(p);
        break;
    case META_CLONE:
        c->clone.source = sample_u64(p, 1, UINT64_MAX), c->clone.ino = sample_u64(p, 1, UINT64_MAX);
        c->clone.length = sample_u64(p, 1, META_SIZE_MAX);
        c->clone.source_offset = sample_u64(p, 0, META_SIZE_MAX - c->clone.length);
        c->clone.offset = sample_u64(p, 0, META_SIZE_MAX - c->clone.length);
        c->clone.has_expected_version = sample_bool(p), c->clone.expected_version = any_u64(p);
        c->clone.kill_set_id = sample_bool(p);
        c->clone.take = sample_bool(p), c->clone.version = sample_u64(p, 0, META_SIZE_MAX);
        if (c->clone.take) {
            c->clone.length = META_SIZE_MAX, c->clone.source_offset = c->clone.offset = 0;
            c->clone.has_expected_version = true;
        }
        break;
    case META_RELEASE:
        c->release.inos = sample_inos(p, a, &c->release.count);
        break;
    case META_REAP:
        c->reap.content_id = any_u64(p);
        break;
    case META_KV:
        c->kv.changes = sample_kv_changes(p, a, &c->kv.count);
        break;
    case META_KV_EXPIRE:
    case META_NEXT:
        break;
    case META_SET_LEVEL:
        c->set_level.level = (uint32_t)sample_u64(p, 1, UINT32_MAX);
        break;
    case META_REPLICAS:
        c->replicas.count = (uint32_t)prng_between(p, 1, LIMIT_REPLICAS);
        break;
    case META_BLOCK_SERVER:
        sample_server(p, a, &c->block_server);
        break;
    case META_LOCK:
        c->lock.ino = sample_u64(p, 1, UINT64_MAX);
        c->lock.wait = sample_bool(p);
        sample_lock(p, &c->lock.lock);
        break;
    case META_LOCK_CANCEL:
        c->lock_cancel.ticket = sample_u64(p, 1, UINT64_MAX);
        c->lock_cancel.place = (uint32_t)sample_u64(p, 0, LIMIT_SESSION_WAITS - 1);
        break;
    case META_EXPORT:
        c->export.name = sample_bytes(p, a, 1, LIMIT_EXPORT_BYTES);
        c->export.mask = (uint32_t)prng_below(p, META_EXPORT_OPTIONS_ALL + 1);
        c->export.options = c->export.mask & (uint32_t)prng_next(p);
        break;
    case META_SETXATTR:
    case META_REMOVEXATTR:
        if (c->op == META_SETXATTR) {
            c->xattr.value = sample_bytes(p, a, 0, LIMIT_XATTR_VALUE_BYTES);
            c->xattr.flags = (uint32_t)prng_below(p, 8);
        }
        c->xattr.ino = sample_u64(p, 1, UINT64_MAX);
        c->xattr.name = sample_xattr_name(p, a);
        break;
    }
}

void sample_command(struct prng *p, struct arena *a, enum meta_op op, struct meta_command *ret)
{
    memset(ret, 0, sizeof *ret);
    ret->op = op;
    ret->time_ns = any_i64(p);
    if (sample_bool(p)) {
        ret->session = sample_u64(p, 1, UINT64_MAX);
        ret->seq = sample_u64(p, 1, UINT64_MAX);
        ret->acked = ret->seq - sample_u64(p, 1, MIN(ret->seq, LIMIT_REPLY_WINDOW));
    }
    sample_body(p, a, ret);
}

static enum err sample_status(struct prng *p)
{
    static const enum err some[] = {ERR_OK, ERR_NOENT, ERR_VERSION, ERR_SPLIT, ERR_NO_EXPORT, ERR_BLOCKS};
    return some[prng_below(p, ARRAY_SIZE(some))];
}

void sample_reply(struct prng *p, struct arena *a, struct meta_reply *ret)
{
    (void)a;
    *ret = (struct meta_reply){.status = sample_status(p),
                               .has_attr = sample_bool(p),
                               .has_parent = sample_bool(p),
                               .has_replaced = sample_bool(p),
                               .existed = sample_bool(p),
                               .orphaned = sample_bool(p),
                               .session = any_u64(p),
                               .offset = sample_u64(p, 0, META_SIZE_MAX),
                               .more = sample_bool(p),
                               .ticket = any_u64(p),
                               .place = (uint32_t)sample_u64(p, 0, LIMIT_SESSION_WAITS - 1),
                               .held = (uint32_t)sample_u64(p, 0, LIMIT_FILE_LOCKS),
                               .export_options = sample_u32(p),
                               .kv_version = any_u64(p),
                               .kv_refused = (uint32_t)prng_below(p, LIMIT_KV_KEYS)};
    if (ret->has_attr)
        sample_attr(p, &ret->attr);
    if (ret->has_parent)
        sample_attr(p, &ret->parent);
    if (ret->has_replaced)
        sample_attr(p, &ret->replaced);
}

void sample_query(struct prng *p, struct arena *a, enum meta_query_op op, struct meta_query *ret)
{
    *ret = (struct meta_query){.op = op,
                               .session = any_u64(p),
                               .ino = sample_u64(p, 1, UINT64_MAX),
                               .cookie = any_u64(p),
                               .offset = sample_u64(p, 0, META_SIZE_MAX),
                               .max_count = (unsigned)sample_u64(p, 0, LIMIT_READDIR_ENTRIES),
                               .with_attr = sample_bool(p),
                               .ticket = any_u64(p),
                               .place = (uint32_t)sample_u64(p, 0, LIMIT_SESSION_WAITS - 1)};
    if (op == META_QUERY_LOCK_TEST)
        sample_lock(p, &ret->lock);
    ret->length = sample_u64(p, 0, META_SIZE_MAX - ret->offset);
    if (op == META_QUERY_LOOKUP)
        ret->name = sample_name(p, a), ret->max_count %= LIMIT_LOOK_AHEAD + 1;
    if (op == META_QUERY_BLOCK_REFS) {
        ret->block_count = (unsigned)sample_u64(p, 1, LIMIT_BLOCK_REFS);
        struct sha256 *blocks = arena_alloc(a, ret->block_count * sizeof *blocks);
        fill(p, (uint8_t *)blocks, ret->block_count * sizeof *blocks);
        ret->blocks = blocks;
    }
    if (op == META_QUERY_KV_GET)
        ret->keys = sample_keys(p, a, &ret->key_count);
    if (op == META_QUERY_KV_LIST) {
        ret->prefix = sample_bytes(p, a, 0, LIMIT_KV_KEY_BYTES);
        ret->after = sample_bytes(p, a, 0, LIMIT_KV_KEY_BYTES);
        ret->with_values = sample_bool(p);
    }
    if (op == META_QUERY_GETXATTR)
        ret->name = sample_xattr_name(p, a);
    if (op == META_QUERY_INLINE) {
        fill(p, &ret->block, sizeof ret->block);
        ret->next_block = sample_bool(p);
    }
}

static void sample_entries(struct prng *p, struct arena *a, unsigned count, struct meta_query_reply *r)
{
    r->entries = arena_zalloc(a, count * sizeof *r->entries);
    r->entry_count = count;
    uint64_t cookie = 3;
    for (unsigned i = 0; i < count; i++) {
        struct meta_dirent *e = &r->entries[i];
        cookie += prng_below(p, UINT64_C(1) << 50);
        e->name = sample_name(p, a);
        e->ino = sample_u64(p, 1, UINT64_MAX);
        e->cookie = cookie;
        e->type_mode = (uint32_t)prng_next(p) & S_IFMT;
        if (sample_bool(p))
            sample_attr(p, &e->attr);
    }
}

static void sample_cluster(struct prng *p, struct arena *a, unsigned max_count, struct meta_query_reply *r)
{
    if (sample_bool(p))
        fill(p, r->cluster.id, 16);
    r->cluster.replicas = (unsigned)prng_below(p, LIMIT_REPLICAS + 1);
    r->cluster.map_version = any_u64(p);
    r->cluster.server_count = (unsigned)sample_u64(p, 0, MIN(max_count, LIMIT_BLOCK_SERVERS));
    r->cluster.servers = arena_alloc(a, r->cluster.server_count * sizeof *r->cluster.servers);
    for (unsigned i = 0; i < r->cluster.server_count; i++) {
        sample_server(p, a, &r->cluster.servers[i]);
        r->cluster.servers[i].id = i * 1000 + 1 + (uint32_t)prng_below(p, 1000);
    }
    r->session_count = (unsigned)sample_u64(p, 0, max_count);
    r->sessions = arena_alloc(a, r->session_count * sizeof *r->sessions);
    for (unsigned i = 0; i < r->session_count; i++)
        r->sessions[i] = (struct meta_session_info){.id = any_u64(p),
                                                    .last_seq = any_u64(p),
                                                    .export = sample_bytes(p, a, 0, LIMIT_EXPORT_BYTES),
                                                    .client = sample_bytes(p, a, 0, 255),
                                                    .opened_ns = any_i64(p),
                                                    .locks = any_u64(p),
                                                    .waits = any_u64(p)};
}

void sample_query_reply(struct prng *p, struct arena *a, unsigned max_count, struct meta_query_reply *ret)
{
    memset(ret, 0, sizeof *ret);
    ret->status = sample_status(p);
    ret->has_attr = sample_bool(p);
    if (ret->has_attr)
        sample_attr(p, &ret->attr);
    ret->epoch = any_u64(p), ret->released = any_u64(p);
    ret->referenced_count = (unsigned)sample_u64(p, 0, LIMIT_BLOCK_REFS);
    ret->referenced = arena_alloc(a, ret->referenced_count);
    for (unsigned i = 0; i < ret->referenced_count; i++)
        ret->referenced[i] = sample_bool(p);
    ret->target = sample_bytes(p, a, 0, LIMIT_SYMLINK_BYTES);
    ret->xattr = sample_bytes(p, a, 0, LIMIT_XATTR_VALUE_BYTES);
    sample_entries(p, a, (unsigned)sample_u64(p, 0, max_count), ret);
    ret->end = sample_bool(p);
    ret->parent_ino = any_u64(p), ret->ahead_cookie = any_u64(p);
    ret->extent_count = (unsigned)sample_u64(p, 0, max_count);
    ret->extents = sample_extents(p, a, ret->extent_count, true);
    ret->statfs.inodes = any_u64(p), ret->statfs.bytes = any_u64(p);
    sample_cluster(p, a, max_count, ret);
    sample_kv_entries(p, a, max_count, ret);
    if (sample_bool(p))
        sample_lock(p, &ret->lock);
    ret->waiting = sample_bool(p);
    ret->fragmented_count = (unsigned)sample_u64(p, 0, MIN(max_count, LIMIT_FRAGMENTED));
    ret->fragmented = arena_alloc(a, ret->fragmented_count * sizeof *ret->fragmented);
    for (unsigned i = 0; i < ret->fragmented_count; i++)
        ret->fragmented[i] = (struct meta_fragmented){.ino = i * 1000 + 1 + prng_below(p, 1000), .version = any_u64(p)};
    ret->inlined_count = (unsigned)sample_u64(p, 0, MIN(max_count, 16u));
    ret->inlined = arena_alloc(a, ret->inlined_count * sizeof *ret->inlined);
    for (unsigned i = 0; i < ret->inlined_count; i++) {
        struct meta_inline_block *b = &ret->inlined[i];
        *b = (struct meta_inline_block){
            .ino = any_u64(p), .version = any_u64(p), .data = sample_bytes(p, a, 1, LIMIT_INLINE_BYTES)};
        sha256_of(b->data, &b->id);
    }
}
