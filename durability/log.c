/* The records of a durability log: kind u8, floor u64 (records before it don't count any more), settled u64; and of a
 * put: order u64, term u64, session u64, seq u64, count of keys u8, their hashes u64, the command. */
#include "durability/log.h"

#include <string.h>

#include "base/check.h"
#include "base/list.h"
#include "base/plant.h"
#include "raftlog/raftlog.h"

#define RECORD_TERM 1u /* of all entries: a raftlog asks for one */
#define READ_ENTRIES 64u
#define RECORD_OVERHEAD_BYTES 256u /* at most, of a put beside its command */

enum record_kind { RECORD_PUT = 1, RECORD_SETTLED = 2 };

struct live_put {
    struct list_node link, by_age;
    struct durability_put put; /* its command is the end of `record` */
    uint64_t order;            /* its place among the puts */
    uint64_t number;           /* of its newest record */
    uint64_t bytes_before;     /* of all records before that one */
    uint64_t keys[DURABILITY_KEYS_MAX];
    unsigned key_count;
    struct bytes command;
};

struct durability_log {
    struct raftlog *raftlog;
    struct list live;   /* by order */
    struct list by_age; /* the same, by number */
    unsigned count;
    uint64_t next_number, next_order, written;
    uint64_t bytes;   /* of all records */
    uint64_t settled; /* term */
    struct durability_write *next, *under_way;
};

struct durability_write {
    struct arena arena;
    struct raft_entry *entries;
    unsigned count, room;
    uint64_t bytes;
    uint64_t compact; /* records up to here are not needed */
    bool first;       /* of an empty log */
    enum err error;
};

static void write_free(struct durability_write *w)
{
    if (!w)
        return;
    arena_free(&w->arena);
    free(w->entries);
    free(w);
}

static struct live_put *by_age_front(const struct durability_log *l)
{
    struct list_node *node = list_first(&l->by_age);
    return node ? container_of(node, struct live_put, by_age) : NULL;
}

static uint64_t floor_of(const struct durability_log *l)
{
    const struct live_put *oldest = by_age_front(l);
    return oldest ? oldest->number : l->next_number;
}

static struct live_put *find(const struct durability_log *l, uint64_t session, uint64_t seq)
{
    list_for_each (node, &l->live) {
        struct live_put *p = container_of(node, struct live_put, link);
        if (p->put.seq == seq && p->put.session == session)
            return p;
    }
    return NULL;
}

static void forget(struct durability_log *l, struct live_put *p)
{
    list_remove(&p->link);
    list_remove(&p->by_age);
    bytes_free(&p->command);
    free(p);
    l->count--;
}

/* ---- records ---- */

static void put_header(struct bytes *to, enum record_kind kind, uint64_t floor, uint64_t settled)
{
    bytes_u8(to, (uint8_t)kind);
    bytes_u64(to, floor);
    bytes_u64(to, settled);
}

static uint64_t push(struct durability_log *l, const struct bytes *record)
{
    if (!l->next)
        l->next = MEM_NEW(struct durability_write);
    struct durability_write *w = l->next;
    if (w->count == w->room) {
        w->room = MAX(2 * w->room, 16u);
        w->entries = mem_realloc(w->entries, w->room * sizeof *w->entries);
    }
    w->entries[w->count++] = (struct raft_entry){.index = l->next_number,
                                                 .term = RECORD_TERM,
                                                 .type = RAFT_ENTRY_COMMAND,
                                                 .data = arena_slice(&w->arena, bytes_slice(record))};
    w->bytes += record->size;
    l->bytes += record->size;
    return l->next_number++;
}

/* The newest of all records from here on. */
static void push_put(struct durability_log *l, struct live_put *p)
{
    _cleanup_(bytes_free) struct bytes record = {0};
    list_remove(&p->by_age);
    list_push_back(&l->by_age, &p->by_age);
    p->number = l->next_number;
    p->bytes_before = l->bytes;
    put_header(&record, RECORD_PUT, floor_of(l), l->settled);
    bytes_u64(&record, p->order);
    bytes_u64(&record, p->put.term);
    bytes_u64(&record, p->put.session);
    bytes_u64(&record, p->put.seq);
    bytes_u8(&record, (uint8_t)p->key_count);
    for (unsigned i = 0; i < p->key_count; i++)
        bytes_u64(&record, p->keys[i]);
    bytes_append(&record, p->put.command);
    CHECK(push(l, &record) == p->number);
}

/* ---- adding and removing ---- */

static bool has_key(const struct durability_log *l, const uint64_t *keys, unsigned key_count)
{
    list_for_each (node, &l->live) {
        const struct live_put *p = container_of(node, struct live_put, link);
        for (unsigned i = 0; i < p->key_count; i++)
            for (unsigned j = 0; j < key_count; j++)
                if (p->keys[i] == keys[j])
                    return true;
    }
    return false;
}

static uint64_t span_records(const struct durability_log *l)
{
    return l->next_number - floor_of(l);
}

static uint64_t span_bytes(const struct durability_log *l)
{
    const struct live_put *oldest = by_age_front(l);
    return oldest ? l->bytes - oldest->bytes_before : 0;
}

static struct live_put *new_put(struct durability_log *l, const struct durability_put *put, const uint64_t *keys,
                                unsigned key_count)
{
    struct live_put *p = MEM_NEW(struct live_put);
    p->put = *put;
    bytes_append(&p->command, put->command);
    p->put.command = bytes_slice(&p->command);
    p->key_count = key_count;
    memcpy(p->keys, keys, key_count * sizeof *keys);
    list_push_back(&l->live, &p->link);
    list_push_back(&l->by_age, &p->by_age);
    l->count++;
    return p;
}

enum err durability_log_add(struct durability_log *l, const struct durability_put *put, const uint64_t *keys,
                            unsigned key_count, bool exclusive, uint64_t *ret_number)
{
    if (key_count > DURABILITY_KEYS_MAX || put->command.size > DURABILITY_COMMAND_BYTES)
        return ERR_TOO_BIG;
    if (find(l, put->session, put->seq) || (exclusive && has_key(l, keys, key_count)))
        return ERR_EXIST;
    uint64_t more = put->command.size + RECORD_OVERHEAD_BYTES;
    /* What has been applied meanwhile doesn't count as live, and waits for a disk that is slow all the same. */
    if (l->next && l->next->bytes + more > DURABILITY_LIVE_BYTES)
        return ERR_BUSY_NOW;
    /* One that stays long is moved to the end before it makes the log full for all others. */
    struct live_put *oldest = by_age_front(l);
    if (oldest && (span_records(l) > DURABILITY_PUTS_MAX / 2 || span_bytes(l) > DURABILITY_LIVE_BYTES / 2) &&
        l->count < DURABILITY_PUTS_MAX / 4)
        push_put(l, oldest);
    if (span_records(l) + 1 > DURABILITY_PUTS_MAX || span_bytes(l) + more > DURABILITY_LIVE_BYTES)
        return ERR_BUSY_NOW;
    struct live_put *p = new_put(l, put, keys, key_count);
    p->order = l->next_order++;
    push_put(l, p);
    *ret_number = p->number;
    return ERR_OK;
}

void durability_log_remove(struct durability_log *l, uint64_t session, uint64_t seq)
{
    struct live_put *p = find(l, session, seq);
    if (p)
        forget(l, p);
}

static void settle(struct durability_log *l, uint64_t term)
{
    l->settled = MAX(l->settled, term);
    list_for_each_safe (node, &l->live) {
        struct live_put *p = container_of(node, struct live_put, link);
        if (p->put.term < l->settled)
            forget(l, p);
    }
}

void durability_log_settle(struct durability_log *l, uint64_t term)
{
    if (term <= l->settled)
        return;
    settle(l, term);
    _cleanup_(bytes_free) struct bytes record = {0};
    put_header(&record, RECORD_SETTLED, floor_of(l), l->settled);
    (void)push(l, &record);
}

uint64_t durability_log_settled(const struct durability_log *l)
{
    return l->settled;
}

unsigned durability_log_count(const struct durability_log *l)
{
    return l->count;
}

void durability_log_copy(const struct durability_log *l, struct arena *a, struct durability_copy *ret)
{
    *ret = (struct durability_copy){.settled = l->settled, .puts = arena_alloc(a, (l->count + 1) * sizeof *ret->puts)};
    list_for_each (node, &l->live) {
        const struct live_put *p = container_of(node, struct live_put, link);
        ret->puts[ret->count] = p->put;
        ret->puts[ret->count++].command = arena_slice(a, p->put.command);
    }
}

/* ---- writing ---- */

struct durability_write *durability_log_write_begin(struct durability_log *l)
{
    if (!l->next || l->under_way)
        return NULL;
    struct durability_write *w = l->under_way = l->next;
    l->next = NULL;
    w->compact = floor_of(l) - 1;
    w->first = w->entries[0].index == 1;
    return w;
}

void durability_log_write(struct durability_log *l, struct durability_write *w)
{
    struct raftlog_batch batch = {.entries = w->entries, .entry_count = w->count};
    if (w->first) {
        batch.hard_state_changed = true;
        batch.hard.term = RECORD_TERM;
    }
    w->error = raftlog_write(l->raftlog, &batch);
    /* Only when it is on disk from which record on the log counts, those before may go. */
    if (w->error == ERR_OK)
        w->error = raftlog_compact(l->raftlog, w->compact, &w->compact);
}

enum err durability_log_write_end(struct durability_log *l, struct durability_write *w)
{
    CHECK(w == l->under_way);
    enum err e = w->error;
    if (e == ERR_OK)
        l->written = w->entries[w->count - 1].index;
    l->under_way = NULL;
    write_free(w);
    return e;
}

uint64_t durability_log_written(const struct durability_log *l)
{
    return l->written;
}

/* ---- opening ---- */

static enum err take_record(struct durability_log *l, const struct raft_entry *e)
{
    struct cursor c = cursor_of(e->data);
    uint64_t keys[DURABILITY_KEYS_MAX] = {0};
    uint8_t kind = cursor_u8(&c);
    uint64_t floor = cursor_u64(&c), settled = cursor_u64(&c);
    for (struct live_put *oldest; (oldest = by_age_front(l)) && oldest->number < floor;)
        forget(l, oldest);
    settle(l, settled);
    if (kind == RECORD_SETTLED)
        return cursor_done(&c) ? ERR_OK : ERR_CORRUPT;
    uint64_t order = cursor_u64(&c);
    struct durability_put put = {.term = cursor_u64(&c), .session = cursor_u64(&c), .seq = cursor_u64(&c)};
    unsigned key_count = cursor_u8(&c);
    if (kind != RECORD_PUT || !cursor_ok(&c) || key_count > DURABILITY_KEYS_MAX)
        return ERR_CORRUPT;
    for (unsigned i = 0; i < key_count; i++)
        keys[i] = cursor_u64(&c);
    if (!cursor_ok(&c) || (size_t)(c.end - c.at) > DURABILITY_COMMAND_BYTES || put.session == 0 || put.seq == 0)
        return ERR_CORRUPT;
    put.command = cursor_take(&c, (size_t)(c.end - c.at));
    /* Written again: it keeps its place. */
    struct live_put *again = find(l, put.session, put.seq);
    if (again)
        forget(l, again);
    struct live_put *p = new_put(l, &put, keys, key_count);
    p->order = order;
    p->number = e->index;
    p->bytes_before = l->bytes;
    struct list_node *at = p->link.prev;
    list_remove(&p->link);
    while (at != &l->live.head && container_of(at, struct live_put, link)->order > order)
        at = at->prev;
    list_insert_before(at->next, &p->link);
    l->next_order = MAX(l->next_order, order + 1);
    return l->count <= DURABILITY_PUTS_MAX ? ERR_OK : ERR_CORRUPT;
}

static enum err load(struct durability_log *l, const struct raft_restart *restart)
{
    _cleanup_(bytes_free) struct bytes buffer = {0};
    struct raft_entry entries[READ_ENTRIES];
    unsigned count;
    for (uint64_t at = restart->compacted_index + 1; at <= restart->last_index; at += count) {
        TRY(raftlog_read(l->raftlog, at, READ_ENTRIES, MIB, &buffer, entries, &count));
        for (unsigned i = 0; i < count; i++) {
            TRY(take_record(l, &entries[i]));
            l->bytes += entries[i].data.size;
        }
    }
    return ERR_OK;
}

enum err durability_log_open(const struct durability_log_options *options, struct durability_log **ret,
                             struct err_text *why)
{
    struct raftlog_options raftlog = {
        .files = options->files, .path = options->path, .segment_bytes = DURABILITY_SEGMENT_BYTES};
    struct raft_restart restart;
    memcpy(raftlog.identity, options->identity, sizeof raftlog.identity);
    struct durability_log *l = MEM_NEW(struct durability_log);
    list_init(&l->live);
    list_init(&l->by_age);
    enum err e = raftlog_open(&raftlog, &l->raftlog, &restart, why);
    if (e == ERR_OK) {
        e = load(l, &restart);
        if (e != ERR_OK)
            e = err_explain(why, e, "%.200s holds a record that can't be read: %s", options->path, err_message(e));
    }
    if (e != ERR_OK) {
        durability_log_close(l);
        return e;
    }
    l->next_number = restart.last_index + 1;
    l->written = restart.last_index;
    *ret = l;
    return ERR_OK;
}

void durability_log_close(struct durability_log *l)
{
    if (!l)
        return;
    CHECK(!l->under_way);
    list_for_each_safe (node, &l->live)
        forget(l, container_of(node, struct live_put, link));
    write_free(l->next);
    raftlog_close(l->raftlog);
    free(l);
}
