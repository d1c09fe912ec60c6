#include "tests/fuzz/wire/samples.h"

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

static uint32_t sample_u32(struct prng *p)
{
    return (uint32_t)sample_u64(p, 0, UINT32_MAX);
}

static uint64_t any_u64(struct prng *p)
{
    return sample_u64(p, 0, UINT64_MAX);
}

static int64_t any_i64(struct prng *p)
{
    return (int64_t)any_u64(p);
}

static bool sample_bool(struct prng *p)
{
    return prng_below(p, 2);
}

static void fill(struct prng *p, void *to, size_t size)
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
    *ret = (struct wire_error){.leader_id = sample_u32(p)};
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
                              .content_id = any_u64(p)};
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
    *ret_count = (unsigned)sample_size(p, 0, LIMIT_OPEN_HINTS);
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
}

static void sample_server(struct prng *p, struct arena *a, struct meta_block_server *ret)
{
    struct slice address = sample_address(p, a);
    memset(ret, 0, sizeof *ret);
    ret->id = (uint32_t)sample_u64(p, 1, UINT32_MAX);
    memcpy(ret->address, address.data, address.size);
    ret->weight = sample_u64(p, 1, UINT64_MAX);
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
        c->setattr.mask = (uint32_t)sample_u64(p, 0, 0x1ff);
        c->setattr.mode = (uint32_t)sample_u64(p, 0, 0177777);
        c->setattr.uid = sample_u32(p), c->setattr.gid = sample_u32(p);
        c->setattr.size = sample_u64(p, 0, META_SIZE_MAX);
        c->setattr.atime_ns = any_i64(p), c->setattr.mtime_ns = any_i64(p);
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
        c->unlink.open_inos = sample_inos(p, a, &c->unlink.open_count);
        c->unlink.open_unknown = sample_bool(p);
        break;
    case META_RENAME:
        c->rename.parent = sample_u64(p, 1, UINT64_MAX), c->rename.new_parent = sample_u64(p, 1, UINT64_MAX);
        c->rename.name = sample_name(p, a), c->rename.new_name = sample_name(p, a);
        c->rename.flags = (uint32_t)prng_below(p, 4);
        c->rename.open_inos = sample_inos(p, a, &c->rename.open_count);
        c->rename.open_unknown = sample_bool(p);
        break;
    case META_COMMIT:
        sample_commit(p, a, c);
        break;
    case META_RELEASE:
        c->release.inos = sample_inos(p, a, &c->release.count);
        break;
    case META_REAP:
        c->reap.content_id = any_u64(p);
        break;
    case META_BLOCK_SERVER:
        sample_server(p, a, &c->block_server);
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
                               .more = sample_bool(p)};
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
                               .with_attr = sample_bool(p)};
    ret->length = sample_u64(p, 0, META_SIZE_MAX - ret->offset);
    if (op == META_QUERY_LOOKUP)
        ret->name = sample_name(p, a);
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
                                                    .orphans = any_u64(p),
                                                    .export = sample_bytes(p, a, 0, LIMIT_EXPORT_BYTES),
                                                    .client = sample_bytes(p, a, 0, 255),
                                                    .opened_ns = any_i64(p)};
}

void sample_query_reply(struct prng *p, struct arena *a, unsigned max_count, struct meta_query_reply *ret)
{
    memset(ret, 0, sizeof *ret);
    ret->status = sample_status(p);
    ret->has_attr = sample_bool(p);
    if (ret->has_attr)
        sample_attr(p, &ret->attr);
    ret->target = sample_bytes(p, a, 0, LIMIT_SYMLINK_BYTES);
    sample_entries(p, a, (unsigned)sample_u64(p, 0, max_count), ret);
    ret->end = sample_bool(p);
    ret->parent_ino = any_u64(p);
    ret->extent_count = (unsigned)sample_u64(p, 0, max_count);
    ret->extents = sample_extents(p, a, ret->extent_count, true);
    ret->statfs.inodes = any_u64(p), ret->statfs.bytes = any_u64(p);
    sample_cluster(p, a, max_count, ret);
}

static const struct sha256 *sample_ids(struct prng *p, struct arena *a, unsigned count)
{
    struct sha256 *ids = arena_alloc(a, count * sizeof *ids);
    fill(p, ids, count * sizeof *ids);
    return ids;
}

void sample_block_put(struct prng *p, struct arena *a, unsigned count, struct wire_block_put *ret,
                      size_t *ret_payload_size)
{
    uint32_t *sizes = arena_alloc(a, count * sizeof *sizes);
    *ret_payload_size = 0;
    for (unsigned i = 0; i < count; i++) {
        sizes[i] = (uint32_t)prng_between(p, 1, prng_below(p, 8) ? 5000 : LIMIT_BLOCK_BYTES);
        *ret_payload_size += sizes[i];
    }
    *ret = (struct wire_block_put){
        .durable = sample_bool(p), .ids = sample_ids(p, a, count), .sizes = sizes, .count = count};
}

void sample_block_sizes(struct prng *p, struct arena *a, unsigned count, struct wire_block_sizes *ret,
                        size_t *ret_payload_size)
{
    uint32_t *sizes = arena_alloc(a, count * sizeof *sizes);
    *ret_payload_size = 0;
    for (unsigned i = 0; i < count; i++) {
        sizes[i] = prng_below(p, 3) ? (uint32_t)prng_between(p, 1, LIMIT_BLOCK_BYTES) : WIRE_BLOCK_ABSENT;
        *ret_payload_size += sizes[i] == WIRE_BLOCK_ABSENT ? 0 : sizes[i];
    }
    *ret = (struct wire_block_sizes){.sizes = sizes, .count = count};
}

void sample_block_present(struct prng *p, struct arena *a, unsigned count, struct wire_block_present *ret)
{
    uint8_t *present = arena_alloc(a, count);
    for (unsigned i = 0; i < count; i++)
        present[i] = sample_bool(p);
    *ret = (struct wire_block_present){.boot_id = any_u64(p), .present = present, .count = count};
}

void sample_block_info(struct prng *p, struct arena *a, struct wire_block_info *ret)
{
    *ret = (struct wire_block_info){.node_id = (uint32_t)sample_u64(p, 1, UINT32_MAX),
                                    .address = sample_address(p, a),
                                    .boot_id = any_u64(p),
                                    .blocks = any_u64(p),
                                    .block_bytes = any_u64(p),
                                    .disk_total = any_u64(p),
                                    .disk_free = any_u64(p)};
}

static void sample_admin_lists(struct prng *p, struct arena *a, unsigned max_count, struct wire_admin_state *q)
{
    q->peer_count = (unsigned)prng_below(p, MIN(max_count, LIMIT_NODES) + 1);
    struct wire_admin_peer *peers = arena_alloc(a, q->peer_count * sizeof *peers);
    for (unsigned i = 0; i < q->peer_count; i++)
        peers[i] = (struct wire_admin_peer){.id = (uint32_t)sample_u64(p, 1, UINT32_MAX),
                                            .address = sample_address(p, a),
                                            .voter = sample_bool(p),
                                            .active = sample_bool(p),
                                            .match = any_u64(p)};
    q->unreachable_count = (unsigned)prng_below(p, MIN(max_count, LIMIT_NODES) + 1);
    uint32_t *unreachable = arena_alloc(a, q->unreachable_count * sizeof *unreachable);
    for (unsigned i = 0; i < q->unreachable_count; i++)
        unreachable[i] = (uint32_t)sample_u64(p, 1, UINT32_MAX);
    q->log_count = (unsigned)sample_u64(p, 0, MIN(max_count, WIRE_ADMIN_LOG_ENTRIES));
    struct wire_admin_log_entry *log = arena_alloc(a, q->log_count * sizeof *log);
    for (unsigned i = 0; i < q->log_count; i++)
        log[i] = (struct wire_admin_log_entry){
            .index = any_u64(p), .term = any_u64(p), .text = sample_bytes(p, a, 0, WIRE_TEXT_BYTES)};
    q->block_server_count = (unsigned)sample_u64(p, 0, MIN(max_count, LIMIT_BLOCK_SERVERS));
    struct wire_admin_block_server *servers = arena_alloc(a, q->block_server_count * sizeof *servers);
    for (unsigned i = 0; i < q->block_server_count; i++)
        servers[i] = (struct wire_admin_block_server){.id = (uint32_t)sample_u64(p, 1, UINT32_MAX),
                                                      .address = sample_address(p, a),
                                                      .reporting = sample_bool(p),
                                                      .blocks = any_u64(p),
                                                      .block_bytes = any_u64(p),
                                                      .disk_total = any_u64(p),
                                                      .disk_free = any_u64(p)};
    q->session_count = (unsigned)sample_u64(p, 0, MIN(max_count, WIRE_ADMIN_SESSIONS));
    struct wire_admin_session *sessions = arena_alloc(a, q->session_count * sizeof *sessions);
    for (unsigned i = 0; i < q->session_count; i++)
        sessions[i] = (struct wire_admin_session){.id = any_u64(p),
                                                  .last_seq = any_u64(p),
                                                  .orphans = any_u64(p),
                                                  .client = sample_bytes(p, a, 0, 255),
                                                  .export = sample_bytes(p, a, 0, LIMIT_EXPORT_BYTES),
                                                  .opened_ns = any_i64(p),
                                                  .silent_ns = any_i64(p)};
    q->peers = peers, q->unreachable = unreachable, q->log = log, q->block_servers = servers, q->sessions = sessions;
}

void sample_admin_state(struct prng *p, struct arena *a, unsigned max_count, struct wire_admin_state *ret)
{
    *ret = (struct wire_admin_state){
        .node_id = (uint32_t)sample_u64(p, 1, UINT32_MAX),
        .address = sample_address(p, a),
        .version = sample_bytes(p, a, 0, 255),
        .roles = (uint32_t)prng_below(p, 4),
        .crashed = sample_bool(p),
        .has_cluster_id = sample_bool(p),
        .pid = sample_u32(p),
        .uptime_ns = any_i64(p),
        .fault = sample_bytes(p, a, 0, WIRE_TEXT_BYTES),
        .role = (enum raft_role)prng_below(p, RAFT_LEADER + 1),
        .election_manual = sample_bool(p),
        .term = any_u64(p),
        .commit = any_u64(p),
        .applied = any_u64(p),
        .persisted = any_u64(p),
        .last = any_u64(p),
        .compacted = any_u64(p),
        .flushed = any_u64(p),
        .leader = sample_u32(p),
        .vote = sample_u32(p),
        .chain_hash = sample_bool(p) ? sample_bytes(p, a, 32, 32) : SLICE(NULL, 0),
        .log_bytes = any_u64(p),
        .log_segments = sample_u32(p),
        .inodes = any_u64(p),
        .file_bytes = any_u64(p),
        .blocks = any_u64(p),
        .block_bytes = any_u64(p),
        .disk_total = any_u64(p),
        .disk_free = any_u64(p),
    };
    if (ret->has_cluster_id)
        fill(p, ret->cluster_id, 16);
    sample_admin_lists(p, a, max_count, ret);
}
