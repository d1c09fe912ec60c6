/* Messages of block servers, administration, notices, changes and checks. */
#include "base/mem.h"
#include "tests/fuzz/wire/samples_internal.h"

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
        .durable = sample_bool(p), .ids = sample_ids(p, a, count), .sizes = sizes, .count = count, .epoch = any_u64(p)};
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
    *ret = (struct wire_block_present){
        .boot_id = any_u64(p), .present = present, .count = count, .map_version = any_u64(p), .read_bytes = any_u64(p)};
}

static void sample_upkeep(struct prng *p, struct wire_block_upkeep *ret)
{
    *ret = (struct wire_block_upkeep){.walking = sample_bool(p), .walk_due = sample_bool(p)};
#define X(name) ret->name = any_u64(p);
    WIRE_UPKEEP_NUMBERS(X)
#undef X
    ret->walk_position = sample_u64(p, 0, WIRE_UPKEEP_WHOLE);
    ret->scrub_position = sample_u64(p, 0, WIRE_UPKEEP_WHOLE);
}

void sample_block_info(struct prng *p, struct arena *a, struct wire_block_info *ret)
{
    *ret = (struct wire_block_info){.node_id = (uint32_t)sample_u64(p, 1, UINT32_MAX),
                                    .address = sample_address(p, a),
                                    .zone = sample_zone(p, a),
                                    .boot_id = any_u64(p),
                                    .blocks = any_u64(p),
                                    .block_bytes = any_u64(p),
                                    .disk_total = any_u64(p),
                                    .disk_free = any_u64(p),
                                    .disk_kept = any_u64(p),
                                    .full = sample_bool(p),
                                    .failed = sample_bool(p)};
    sample_upkeep(p, &ret->upkeep);
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
                                            .match = any_u64(p),
                                            .next = any_u64(p),
                                            .foreign = sample_bool(p)};
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
    for (unsigned i = 0; i < q->block_server_count; i++) {
        servers[i] = (struct wire_admin_block_server){.id = (uint32_t)sample_u64(p, 1, UINT32_MAX),
                                                      .address = sample_address(p, a),
                                                      .zone = sample_zone(p, a),
                                                      .reporting = sample_bool(p),
                                                      .blocks = any_u64(p),
                                                      .block_bytes = any_u64(p),
                                                      .disk_total = any_u64(p),
                                                      .disk_free = any_u64(p),
                                                      .disk_kept = any_u64(p),
                                                      .full = sample_bool(p),
                                                      .failed = sample_bool(p),
                                                      .weight = any_u64(p),
                                                      .draining = sample_bool(p),
                                                      .weight_fixed = sample_bool(p)};
        sample_upkeep(p, &servers[i].upkeep);
    }
    q->session_count = (unsigned)sample_u64(p, 0, MIN(max_count, WIRE_ADMIN_SESSIONS));
    struct wire_admin_session *sessions = arena_alloc(a, q->session_count * sizeof *sessions);
    for (unsigned i = 0; i < q->session_count; i++)
        sessions[i] = (struct wire_admin_session){.id = any_u64(p),
                                                  .last_seq = any_u64(p),
                                                  .client = sample_bytes(p, a, 0, 255),
                                                  .export = sample_bytes(p, a, 0, LIMIT_EXPORT_BYTES),
                                                  .opened_ns = any_i64(p),
                                                  .silent_ns = any_i64(p),
                                                  .locks = any_u64(p),
                                                  .waits = any_u64(p)};
    sample_admin_activity(p, a, max_count, &q->activity);
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
        .last_term = any_u64(p),
        .compacted = any_u64(p),
        .flushed = any_u64(p),
        .leader = sample_u32(p),
        .vote = sample_u32(p),
        .chain_hash = sample_bool(p) ? sample_bytes(p, a, 32, 32) : SLICE(NULL, 0),
        .log_bytes = any_u64(p),
        .log_segments = sample_u32(p),
        .level = sample_u32(p),
        .level_max = sample_u32(p),
        .replicas = sample_u32(p),
        .inodes = any_u64(p),
        .file_bytes = any_u64(p),
        .blocks = any_u64(p),
        .block_bytes = any_u64(p),
        .disk_total = any_u64(p),
        .disk_free = any_u64(p),
        .disk_kept = any_u64(p),
        .blocks_full = sample_bool(p),
        .blocks_failed = sample_bool(p),
    };
    if (ret->has_cluster_id)
        fill(p, ret->cluster_id, 16);
    sample_admin_lists(p, a, max_count, ret);
}

void sample_notices(struct prng *p, struct arena *a, unsigned max, struct wire_notices *ret)
{
    *ret = (struct wire_notices){.seq = prng_next(p), .count = (unsigned)prng_between(p, 0, max)};
    ret->list = arena_alloc(a, (ret->count + 1) * sizeof *ret->list);
    for (unsigned i = 0; i < ret->count; i++) {
        ret->list[i].kind = (enum meta_notice_kind)prng_between(p, META_NOTICE_CHANGED, META_NOTICE_LAST);
        ret->list[i].ino = sample_u64(p, 1, UINT64_MAX);
    }
}

void sample_notices_query(struct prng *p, struct arena *a, unsigned max, struct wire_notices_query *ret)
{
    *ret = (struct wire_notices_query){.session = sample_u64(p, 1, UINT64_MAX),
                                       .attachment = sample_u64(p, 1, UINT64_MAX),
                                       .acknowledged = prng_next(p),
                                       .released_count = (unsigned)prng_between(p, 0, max)};
    ret->released = arena_alloc(a, (ret->released_count + 1) * sizeof *ret->released);
    for (unsigned i = 0; i < ret->released_count; i++)
        ret->released[i] = sample_u64(p, 1, UINT64_MAX);
}

static struct slice sample_path(struct prng *p, struct arena *a)
{
    if (!sample_bool(p))
        return SLICE(NULL, 0);
    struct slice path = sample_bytes(p, a, 1, prng_below(p, 10) == 0 ? WIRE_CHANGE_PATH_BYTES : 50);
    *(uint8_t *)(uintptr_t)path.data = '/';
    return path;
}

void sample_changes(struct prng *p, struct arena *a, unsigned max, struct wire_changes *ret)
{
    *ret = (struct wire_changes){
        .through = prng_next(p), .missed_upto = any_u64(p), .count = (unsigned)prng_between(p, 0, max)};
    ret->list = arena_alloc(a, (ret->count + 1) * sizeof *ret->list);
    for (unsigned i = 0; i < ret->count; i++)
        ret->list[i] = (struct wire_change){.index = any_u64(p),
                                            .time_ns = (int64_t)prng_next(p),
                                            .op = (enum wire_change_op)prng_between(p, 1, WIRE_CHANGE_LAST),
                                            .mode = sample_u32(p),
                                            .ino = any_u64(p),
                                            .path = sample_path(p, a),
                                            .new_path = sample_path(p, a),
                                            .session = any_u64(p),
                                            .client = sample_bytes(p, a, 0, 255)};
}

void sample_changes_query(struct prng *p, struct arena *a, struct wire_changes_query *ret)
{
    *ret = (struct wire_changes_query){.after = any_u64(p), .from_now = sample_bool(p), .path = sample_path(p, a)};
}

static struct sha256 sample_id(struct prng *p)
{
    struct sha256 id;
    for (unsigned i = 0; i < SHA256_SIZE; i++)
        id.bytes[i] = (uint8_t)prng_next(p);
    return id;
}

void sample_files_query(struct prng *p, struct arena *a, struct meta_files_query *ret)
{
    *ret = (struct meta_files_query){.path = sample_bytes(p, a, 0, 100),
                                     .after = sample_bytes(p, a, 0, 100),
                                     .max = (unsigned)prng_between(p, 1, META_FILES_MAX),
                                     .blocks_max = (unsigned)prng_between(p, 0, META_FILE_BLOCKS_MAX)};
}

void sample_files(struct prng *p, struct arena *a, unsigned max, struct meta_files *ret)
{
    *ret = (struct meta_files){.count = (unsigned)prng_between(p, 0, MIN(max, META_FILES_MAX)),
                               .index = any_u64(p),
                               .left_out = (unsigned)any_u64(p),
                               .next = sample_bytes(p, a, 0, 100)};
    struct meta_file *files = arena_alloc(a, (ret->count + 1) * sizeof *files);
    for (unsigned i = 0; i < ret->count; i++) {
        files[i] = (struct meta_file){.path = sample_bytes(p, a, 1, 100),
                                      .ino = any_u64(p),
                                      .size = any_u64(p),
                                      .version = any_u64(p),
                                      .mode = (uint32_t)any_u64(p),
                                      .nlink = (uint32_t)any_u64(p),
                                      .mtime_ns = (int64_t)any_u64(p),
                                      .extent_count = any_u64(p),
                                      .extents_more = sample_bool(p),
                                      .block_count = (unsigned)prng_between(p, 0, MIN(max, META_FILE_BLOCKS_MAX))};
        files[i].blocks = sample_ids(p, a, files[i].block_count);
    }
    ret->files = files;
}

void sample_check_query(struct prng *p, struct arena *a, unsigned max, struct wire_check_query *ret)
{
    *ret = (struct wire_check_query){.ticket = any_u64(p),
                                     .kind = (enum wire_check_kind)prng_between(p, WIRE_CHECK_STATE, WIRE_CHECK_LAST),
                                     .count = (unsigned)prng_between(p, 0, MIN(max, LIMIT_BLOCKS_PER_FRAME))};
    ret->blocks = sample_ids(p, a, ret->count);
}

void sample_check(struct prng *p, struct arena *a, unsigned max, struct wire_check *ret)
{
    *ret = (struct wire_check){.ticket = any_u64(p),
                               .rows = any_u64(p),
                               .running = sample_bool(p),
                               .has_hashes = sample_bool(p),
                               .unread = sample_bool(p),
                               .problem_count = any_u64(p),
                               .problems_told = (unsigned)prng_between(p, 0, MIN(max, WIRE_CHECK_PROBLEMS)),
                               .use_count = (unsigned)prng_between(p, 0, MIN(max, WIRE_CHECK_USES))};
#define X(name) ret->name = any_u64(p);
    WIRE_CHECK_NUMBERS(X)
#undef X
    if (ret->has_hashes)
        ret->chain = sample_id(p), ret->state = sample_id(p);
    struct slice *problems = arena_alloc(a, (ret->problems_told + 1) * sizeof *problems);
    struct wire_check_use *uses = arena_alloc(a, (ret->use_count + 1) * sizeof *uses);
    for (unsigned i = 0; i < ret->problems_told; i++)
        problems[i] = sample_bytes(p, a, 0, WIRE_TEXT_BYTES);
    for (unsigned i = 0; i < ret->use_count; i++)
        uses[i] = (struct wire_check_use){.block = (unsigned)prng_below(p, LIMIT_BLOCKS_PER_FRAME),
                                          .ino = any_u64(p),
                                          .offset = any_u64(p),
                                          .path = sample_bytes(p, a, 0, 60)};
    ret->problems = problems;
    ret->uses = uses;
}

void sample_ids_query(struct prng *p, struct arena *a, unsigned max, struct wire_ids_query *ret)
{
    *ret = (struct wire_ids_query){.after = sample_id(p),
                                   .upto = sample_id(p),
                                   .max = (unsigned)prng_between(p, 1, LIMIT_HASHES_PER_FRAME),
                                   .count = (unsigned)prng_between(p, 0, max)};
    ret->after.bytes[0] /= 2;
    ret->upto.bytes[0] |= 0x80;
    ret->ids = sample_ids(p, a, ret->count);
}

void sample_ids_page(struct prng *p, struct arena *a, unsigned max, struct wire_ids *ret)
{
    *ret = (struct wire_ids){.count = (unsigned)prng_between(p, 0, max), .through = sample_id(p)};
    ret->ids = sample_ids(p, a, ret->count);
}
