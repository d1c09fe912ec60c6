/* meta.c: opening, one apply from beginning to end, exactly-once, indexes and hashes. */
#include "meta/meta.h"

#include <string.h>

#define LOG_MODULE "meta"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/plant.h"
#include "base/rocks.h"
#include "meta/level.h"
#include "meta/store.h"

#define DEFAULT_CACHE (32u * MIB)
#define DEFAULT_WRITE_BUFFER (16u * MIB)
#define OPEN_FILES_MAX 256
#define INFO_LOG_BYTES (4u * MIB)
#define READ_TIER_PERSISTED 2 /* rocksdb::kPersistedTier: not what is only in memory */
#define BATCH_HEADER_BYTES 12 /* RocksDB's sequence number and count; the first differs between replicas */

static const op_function operations[META_OP_LAST + 1] = {
    [META_INIT] = op_init,
    [META_SESSION_OPEN] = op_session_open,
    [META_SESSION_END] = op_session_end,
    [META_SETATTR] = op_setattr,
    [META_CREATE] = op_create,
    [META_MKDIR] = op_mkdir,
    [META_MKNOD] = op_mknod,
    [META_SYMLINK] = op_symlink,
    [META_LINK] = op_link,
    [META_UNLINK] = op_unlink,
    [META_RMDIR] = op_rmdir,
    [META_RENAME] = op_rename,
    [META_COMMIT] = op_commit,
    [META_RELEASE] = op_release,
    [META_REAP] = op_reap,
    [META_BLOCK_SERVER] = op_block_server,
    [META_LOCK] = op_lock,
    [META_LOCK_CANCEL] = op_lock_cancel,
    [META_CLONE] = op_clone,
    [META_MOVED] = op_moved,
    [META_READS] = op_reads,
    [META_SETXATTR] = op_setxattr,
    [META_REMOVEXATTR] = op_removexattr,
    [META_EXPORT] = op_export,
    [META_EPOCH] = op_epoch,
    [META_KV] = op_kv,
    [META_KV_EXPIRE] = op_kv_expire,
    [META_REWRITE] = op_rewrite,
    [META_SET_LEVEL] = op_set_level,
    [META_REPLICAS] = op_replicas,
    [META_NEXT] = op_next,
};

bool is_outcome(enum err e)
{
    return e != ERR_CORRUPT && e != ERR_IO && e != ERR_NOMEM && e != ERR_NOSPC && e != ERR_LOCKED;
}

static void make_options(struct meta *m, const struct meta_options *o)
{
    m->cache = rocksdb_cache_create_lru(o->cache_bytes ? o->cache_bytes : DEFAULT_CACHE);
    m->table = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_cache(m->table, m->cache);
    rocksdb_block_based_options_set_filter_policy(m->table, rocksdb_filterpolicy_create_bloom_full(10));
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(m->table, 1);
    /* In parts of a few KiB: a whole filter is larger than a shard of the cache keeps, and would be read for each get.
     */
    rocksdb_block_based_options_set_index_type(m->table, rocksdb_block_based_table_index_type_two_level_index_search);
    rocksdb_block_based_options_set_partition_filters(m->table, 1);
    rocksdb_block_based_options_set_pin_top_level_index_and_filter(m->table, 1);
    rocksdb_block_based_options_set_format_version(m->table, 5);
    m->options = rocksdb_options_create();
    m->filter = count_rows_filter();
    rocksdb_options_set_merge_operator(m->options, count_rows_merge_operator());
    rocksdb_options_set_compaction_filter(m->options, m->filter);
    rocksdb_options_set_create_if_missing(m->options, 1);
    rocksdb_options_set_paranoid_checks(m->options, 1);
    rocksdb_options_set_write_buffer_size(m->options,
                                          o->write_buffer_bytes ? o->write_buffer_bytes : DEFAULT_WRITE_BUFFER);
    rocksdb_options_set_max_write_buffer_number(m->options, 3);
    /* Most lookups find their row in the memtable or nowhere; both cost tens of comparisons without a filter. */
    rocksdb_options_set_memtable_prefix_bloom_size_ratio(m->options, 0.05);
    rocksdb_options_set_memtable_whole_key_filtering(m->options, 1);
    rocksdb_block_based_options_set_data_block_index_type(
        m->table, rocksdb_block_based_table_data_block_index_type_binary_search_and_hash);
    rocksdb_block_based_options_set_data_block_hash_ratio(m->table, 0.75);
    rocksdb_options_set_max_open_files(m->options, OPEN_FILES_MAX);
    rocksdb_options_set_max_background_jobs(m->options, 2);
    rocksdb_options_set_compression(m->options, rocksdb_no_compression);
    rocksdb_options_set_keep_log_file_num(m->options, 2);
    rocksdb_options_set_max_log_file_size(m->options, INFO_LOG_BYTES);
    rocksdb_options_set_stats_dump_period_sec(m->options, 0);
    rocksdb_options_set_block_based_table_factory(m->options, m->table);
    m->write = rocksdb_writeoptions_create();
    rocksdb_writeoptions_disable_WAL(m->write, 1);
    m->read = rocksdb_readoptions_create();
    m->read_persisted = rocksdb_readoptions_create();
    rocksdb_readoptions_set_read_tier(m->read_persisted, READ_TIER_PERSISTED);
    m->flush = rocksdb_flushoptions_create();
    m->flush_waits = o->lose_unflushed;
    /* What it merges, and when, is its threads' affair: the files of a simulated state would differ from run to run. */
    rocksdb_options_set_disable_auto_compactions(m->options, o->lose_unflushed);
    m->batch = rocksdb_writebatch_create();
    m->out = rocksdb_writebatch_create();
}

/* Options that the C API has no functions for. */
static enum err set_more_options(struct meta *m, bool lose_unflushed, struct err_text *why)
{
    /* Where the last row of the same table went is where the search for the next one's place begins: a command writes
     * rows that lie beside those of the command before it. */
    const char *text = lose_unflushed ? "memtable_insert_with_hint_prefix_extractor=rocksdb.FixedPrefix.1;"
                                        "avoid_flush_during_shutdown=true"
                                      : "memtable_insert_with_hint_prefix_extractor=rocksdb.FixedPrefix.1";
    rocksdb_options_t *changed = rocksdb_options_create();
    char *message = NULL;
    rocksdb_get_options_from_string(m->options, text, changed, &message);
    rocksdb_options_destroy(m->options);
    m->options = changed;
    return rocks_result(message, "metadata options", why);
}

static void keep_chain(struct meta *m)
{
    m->chains[m->state.applied % META_CHAINS_KEPT] = get_u64be(m->state.chain.bytes);
}

static enum err load_state(struct meta *m, struct err_text *why)
{
    struct arena a = {0};
    struct schema_key key = schema_meta(), cluster = schema_cluster();
    struct slice value = {0};
    bool found;
    enum err e = store_read(m, &key, &a, &value, &found);
    if (e == ERR_OK && found)
        e = row_meta_decode(value, &m->state);
    if (e == ERR_OK)
        e = store_read(m, &cluster, &a, &value, &found);
    if (e == ERR_OK && found) {
        e = row_cluster_decode(value, &m->cluster);
        m->initialised = true;
    }
    arena_free(&a);
    return e == ERR_OK
               ? ERR_OK
               : err_explain(why, e, "metadata: the row of the applied index can't be read (%s)", err_message(e));
}

static enum err load_inline(struct meta *m, struct err_text *why)
{
    enum err e = inline_blocks_load(m);
    return e == ERR_OK ? ERR_OK : err_explain(why, e, "metadata: the inline blocks can't be read (%s)", err_message(e));
}

enum err meta_open(const struct meta_options *options, struct meta **ret, struct err_text *why)
{
    struct meta *m = MEM_NEW(struct meta);
    /* RocksDB counts comparisons, for each of this thread's calls and for nobody. */
    rocksdb_set_perf_level(rocksdb_disable);
    make_options(m, options);
    char *message = NULL;
    enum err e = set_more_options(m, options->lose_unflushed, why);
    if (e == ERR_OK) {
        m->db = rocksdb_open(m->options, options->path, &message);
        e = rocks_result(message, options->path, why);
    }
    m->level_max = options->level_max ? options->level_max : META_LEVEL_MAX;
    if (e == ERR_OK)
        e = level_load(m, why);
    if (e == ERR_OK)
        e = load_state(m, why);
    if (e == ERR_OK)
        e = load_inline(m, why);
    m->chains_from = m->state.applied;
    keep_chain(m);
    if (e != ERR_OK) {
        meta_close(m);
        return e;
    }
    *ret = m;
    return ERR_OK;
}

void meta_close(struct meta *m)
{
    if (!m)
        return;
    /* A range is left open by what failed. What can't be written now is applied again from the log. */
    if (m->db && m->open_ranges == 0 && store_write_out(m) != ERR_OK)
        log_warn("the newest changes of the metadata can't be written");
    if (m->db)
        rocksdb_close(m->db);
    rocksdb_writebatch_destroy(m->batch);
    rocksdb_writebatch_destroy(m->out);
    recent_free(&m->recent);
    inline_blocks_free(m);
    free(m->changes);
    written_free(&m->written);
    rocksdb_flushoptions_destroy(m->flush);
    rocksdb_readoptions_destroy(m->read_persisted);
    rocksdb_readoptions_destroy(m->read);
    rocksdb_writeoptions_destroy(m->write);
    rocksdb_options_destroy(m->options);
    rocksdb_block_based_options_destroy(m->table);
    rocksdb_cache_destroy(m->cache);
    rocksdb_compactionfilter_destroy(m->filter);
    bytes_free(&m->scratch);
    arena_free(&m->arena);
    touch_free(m);
    free(m);
}

/* Every command has a time of its own, also behind a leader whose clock was ahead: ctime then says of which state of a
 * directory a listing is. */
static int64_t next_time_ns(int64_t last_ns, int64_t stamped_ns)
{
    return stamped_ns > last_ns ? stamped_ns : last_ns + (last_ns < INT64_MAX);
}

static void begin(struct meta *m, uint64_t index, uint64_t term, int64_t time_ns)
{
    CHECK(index == m->state.applied + 1);
    store_clear(m);
    arena_reset(&m->arena);
    bytes_clear(&m->scratch);
    m->next = m->state;
    m->next.applied = index;
    m->next.term = term;
    m->next.last_time_ns = next_time_ns(m->state.last_time_ns, time_ns);
    m->time_ns = m->next.last_time_ns;
    m->next_cluster = m->cluster;
    m->cluster_changed = false;
    m->next_level = m->level;
    m->rows = 0;
    m->count_change = 0;
    m->own_id = 0;
    m->grant_count = 0;
    m->kv_event_count = 0;
    touch_begin(m);
}

/* What a failed operation has written so far goes. */
static void undo(struct meta *m)
{
    struct row_meta kept = m->state;
    kept.applied = m->next.applied;
    kept.term = m->next.term;
    kept.last_time_ns = m->next.last_time_ns;
    m->next = kept;
    m->next_cluster = m->cluster;
    m->cluster_changed = false;
    m->next_level = m->level;
    m->own = m->own_before;
    m->grant_count = 0;
    m->kv_event_count = 0;
    m->wrote.count = 0;
    m->count_change = 0;
    store_clear(m);
    bytes_clear(&m->scratch);
}

static enum err finish(struct meta *m)
{
    store_count_settle(m);
    if (m->cluster_changed) {
        struct schema_key key = schema_cluster();
        row_cluster_encode(&m->next_cluster, &m->scratch);
        store_put_scratch(m, &key);
    }
    size_t size = 0;
    const char *data = rocksdb_writebatch_data(m->batch, &size);
    CHECK(size >= BATCH_HEADER_BYTES);
    sha256_of2(SLICE(m->state.chain.bytes, SHA256_SIZE), SLICE(data + BATCH_HEADER_BYTES, size - BATCH_HEADER_BYTES),
               &m->next.chain);
    struct schema_key key = schema_meta();
    row_meta_encode(&m->next, &m->scratch);
    store_put_scratch(m, &key);
    TRY(store_commit(m));
    m->state = m->next;
    keep_chain(m);
    m->cluster = m->next_cluster;
    m->level = m->next_level;
    m->initialised = m->initialised || m->cluster_changed;
    return ERR_OK;
}

/* Whether the request is new: then *ret_new. Else *r is its answer: the one that it got before, or a refusal. */
static enum err admit(struct meta *m, const struct meta_command *c, bool *ret_new, struct meta_reply *r)
{
    bool found;
    *ret_new = false;
    TRY(session_begin(m, c->session, &found));
    if (!found)
        return outcome(r, ERR_SESSION_EXPIRED);
    uint64_t acked = MAX(m->own.acked, c->acked);
    uint64_t newest = PLANTED(META_WINDOW_OFF_BY_ONE) ? m->own.last_seq - 1 : m->own.last_seq;
    if (c->seq > m->own.acked && c->seq <= newest) { /* else no reply is kept */
        struct schema_key key = schema_reply(c->session, c->seq);
        struct slice value = {0};
        TRY(store_get(m, &key, &value, &found));
        if (found)
            return row_reply_decode(value, r);
    }
    if (c->seq <= acked || c->seq - acked > LIMIT_REPLY_WINDOW)
        return outcome(r, ERR_SEQUENCE);
    *ret_new = true;
    return ERR_OK;
}

/* The reply is kept until the client says that it has it. */
static void record(struct meta *m, const struct meta_command *c, const struct meta_reply *r)
{
    if (m->own_id == 0)
        return; /* the command has ended its own session */
    uint64_t acked = MAX(m->own.acked, c->acked);
    /* At most a window's worth: seq is within the window of what was acknowledged. */
    for (uint64_t seq = m->own.acked + 1; seq <= acked && seq <= m->own.last_seq; seq++) {
        struct schema_key old = schema_reply(c->session, seq);
        store_delete(m, &old);
    }
    m->own.acked = acked;
    m->own.last_seq = MAX(m->own.last_seq, c->seq);
    session_end_apply(m);
    struct schema_key key = schema_reply(c->session, c->seq);
    row_reply_encode(r, &m->scratch);
    store_put_scratch(m, &key);
}

static bool changed_something(const struct meta_reply *r)
{
    return r->status == ERR_OK || r->status == ERR_PARTIAL;
}

enum err meta_apply(struct meta *m, uint64_t index, uint64_t term, const struct meta_command *command,
                    struct meta_reply *ret)
{
    CHECK(command->op > 0 && command->op <= META_OP_LAST && operations[command->op]);
    if (meta_level_of(command) > m->level_max)
        return PLANTED(LEVEL_PASSED_OVER) ? meta_apply_nothing(m, index, term) : ERR_LEVEL;
    begin(m, index, term, command->time_ns);
    struct meta_reply r = {0};
    bool is_new = true;
    if (PLANTED(META_NONDETERMINISTIC)) {
        static unsigned commands; /* of this process, whoever's they are */
        m->time_ns += commands++ % 250 == 0;
    }
    if (!m->initialised && command->op != META_INIT) {
        r.status = ERR_NO_LEADER; /* the first leader has not formed the cluster yet: wait */
        is_new = false;
    } else if (command->op != META_SET_LEVEL && meta_level_of(command) > m->level) {
        /* Nobody proposes it yet; but whatever is in the log must have one outcome. */
        r.status = ERR_LEVEL;
        is_new = false;
    } else if (command->session != 0) {
        TRY(admit(m, command, &is_new, &r));
    }
    if (is_new) {
        TRY(operations[command->op](m, command, &r));
        if (!changed_something(&r))
            undo(m);
        /* AGAIN means that nothing has happened, and the same request may come again. */
        if (command->session != 0 && r.status != ERR_AGAIN)
            record(m, command, &r);
    }
    TRY(finish(m));
    *ret = r;
    ret->epoch = m->state.epoch;
    return ERR_OK;
}

enum err meta_apply_nothing(struct meta *m, uint64_t index, uint64_t term)
{
    begin(m, index, term, 0);
    return finish(m);
}

enum err meta_apply_config(struct meta *m, uint64_t index, uint64_t term, struct slice config)
{
    struct schema_key key = schema_members();
    begin(m, index, term, 0);
    row_members_encode(index, config, &m->scratch);
    store_put_scratch(m, &key);
    return finish(m);
}

enum err meta_config(struct meta *m, struct arena *arena, struct slice *ret, uint64_t *ret_index)
{
    struct schema_key key = schema_members();
    struct slice value = {0};
    bool found;
    TRY(store_read(m, &key, arena, &value, &found));
    if (found)
        return row_members_decode(value, ret_index, ret);
    *ret = SLICE(NULL, 0);
    *ret_index = 0;
    return ERR_OK;
}

uint64_t meta_applied_index(const struct meta *m)
{
    return m->state.applied;
}

uint64_t meta_applied_term(const struct meta *m)
{
    return m->state.term;
}

bool meta_chain_at(const struct meta *m, uint64_t index, uint64_t *ret)
{
    if (index < m->chains_from || index > m->state.applied || m->state.applied - index >= META_CHAINS_KEPT)
        return false;
    *ret = m->chains[index % META_CHAINS_KEPT];
    return true;
}

enum err meta_flushed_index(struct meta *m, uint64_t *ret)
{
    struct schema_key key = schema_meta();
    char *message = NULL;
    size_t size = 0;
    char *value = rocksdb_get(m->db, m->read_persisted, (const char *)key.bytes, key.size, &size, &message);
    TRY(rocks_result(message, "metadata read", NULL));
    struct row_meta row = {0};
    enum err e = value ? row_meta_decode(SLICE(value, size), &row) : ERR_OK;
    rocksdb_free(value);
    if (e == ERR_OK)
        *ret = row.applied;
    return e;
}

enum err meta_write_out(struct meta *m)
{
    return store_write_out(m);
}

enum err meta_flush(struct meta *m, bool wait)
{
    char *message = NULL;
    TRY(store_write_out(m));
    rocksdb_flushoptions_set_wait(m->flush, wait || m->flush_waits);
    rocksdb_flush(m->db, m->flush, &message);
    return rocks_result(message, "metadata flush", NULL);
}

void meta_chain_hash(const struct meta *m, struct sha256 *ret)
{
    *ret = m->state.chain;
}

uint32_t meta_level(const struct meta *m)
{
    return m->level;
}

bool meta_initialised(const struct meta *m)
{
    return m->initialised;
}

void meta_collection(const struct meta *m, struct meta_collection *ret)
{
    *ret = (struct meta_collection){
        .epoch = m->state.epoch, .released = m->state.released, .released_epoch = m->state.released_epoch};
}

bool meta_reap_pending(struct meta *m, uint64_t *ret_content_id)
{
    struct schema_key from = schema_garbage(m->garbage_from);
    struct store_range range;
    struct slice key, value;
    store_range_open_prefix(m, &range, &from, 1);
    bool pending = store_range_get(&range, &key, &value);
    uint64_t first = pending ? schema_key_u64(key, 1) : 0;
    /* A recent row may be found where the one before it can't be read: that one must not be passed over for good. */
    if (store_range_close(&range) != ERR_OK || !pending)
        return false;
    *ret_content_id = m->garbage_from = first;
    return true;
}
