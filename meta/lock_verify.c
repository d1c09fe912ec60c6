#include <inttypes.h>

#include "base/map.h"
#include "base/mem.h"
#include "meta/lock_rows.h"

#define WRONG(v, ...) return err_explain((v)->why, ERR_CORRUPT, __VA_ARGS__)

struct verify {
    struct meta *m;
    struct err_text *why;
    struct arena arena;
    struct map_u64 sessions; /* struct lock_counts */
    struct lock_list list;   /* of the file that is read */
    uint64_t ino;
    enum meta_lock_kind kind;
    uint64_t waits, marks; /* rows that there must be */
};

static enum err check_pair(struct verify *v, const struct row_lock *a, const struct row_lock *b)
{
    if (a->ticket || b->ticket)
        return ERR_OK;
    bool same = a->session == b->session && a->lock.owner == b->lock.owner;
    if (lock_is_in_the_way(a, b->session, &b->lock))
        WRONG(v, "inode %" PRIu64 ": sessions %" PRIu64 " and %" PRIu64 " hold locks that exclude each other", v->ino,
              a->session, b->session);
    if (same && a->lock.start <= b->lock.end && b->lock.start <= a->lock.end)
        WRONG(v, "inode %" PRIu64 ": two locks of one owner of session %" PRIu64 " overlap", v->ino, a->session);
    if (same && a->lock.type == b->lock.type && (a->lock.end + 1 == b->lock.start || b->lock.end + 1 == a->lock.start))
        WRONG(v, "inode %" PRIu64 ": two locks of one owner of session %" PRIu64 " should be one", v->ino, a->session);
    return ERR_OK;
}

static enum err check_mark(struct verify *v, uint64_t session)
{
    struct schema_key key = schema_lock_mark(session, v->ino, v->kind);
    struct slice value = {0};
    bool found;
    TRY(store_read(v->m, &key, &v->arena, &value, &found));
    if (!found)
        WRONG(v, "session %" PRIu64 " has locks of inode %" PRIu64 " and no mark of it", session, v->ino);
    return ERR_OK;
}

static enum err check_wait(struct verify *v, const struct row_lock *r)
{
    struct schema_key key = schema_lock_wait(r->session, r->wait_place);
    struct slice value = {0};
    struct row_lock_wait wait;
    bool found;
    TRY(store_read(v->m, &key, &v->arena, &value, &found));
    if (found)
        TRY(row_lock_wait_decode(value, &wait));
    if (!found || wait.ino != v->ino || wait.kind != v->kind || wait.owner != r->lock.owner || wait.ticket != r->ticket)
        WRONG(v, "session %" PRIu64 " waits for a lock of inode %" PRIu64 " and does not know", r->session, v->ino);
    if (lock_list_conflict(&v->list, r->session, &r->lock) == v->list.count)
        WRONG(v, "session %" PRIu64 " waits for a lock of inode %" PRIu64 " that nobody is in the way of", r->session,
              v->ino);
    return ERR_OK;
}

/* The list is that of one whole file: judges it, counts it, empties it. */
static enum err check_list(struct verify *v)
{
    for (unsigned i = 0; i < v->list.count; i++) {
        const struct row_lock *r = &v->list.entries[i].row;
        struct lock_counts *counts = map_u64_get(&v->sessions, r->session);
        bool first = true;
        for (unsigned n = 0; n < i; n++) {
            TRY(check_pair(v, &v->list.entries[n].row, r));
            first = first && v->list.entries[n].row.session != r->session;
        }
        if (!counts) {
            counts = arena_zalloc(&v->arena, sizeof *counts);
            map_u64_put(&v->sessions, r->session, counts);
        }
        *(r->ticket ? &counts->waiting : &counts->held) += 1;
        v->waits += r->ticket != 0;
        v->marks += first;
        TRY(check_mark(v, r->session));
        if (r->ticket)
            TRY(check_wait(v, r));
    }
    if (lock_list_weight(&v->list) > LIMIT_FILE_LOCKS)
        WRONG(v, "inode %" PRIu64 " has too many locks", v->ino);
    lock_list_free(&v->list);
    return ERR_OK;
}

static enum err on_lock(struct verify *v, struct slice key, struct slice value)
{
    struct row_lock row;
    uint32_t place;
    TRY(schema_key_place(key, 10, &place));
    uint64_t ino = schema_key_u64(key, 1);
    enum meta_lock_kind kind = (enum meta_lock_kind)key.data[9];
    TRY(row_lock_decode(value, kind, &row));
    if (v->list.count > 0 && (ino != v->ino || kind != v->kind))
        TRY(check_list(v));
    v->ino = ino;
    v->kind = kind;
    lock_list_add(&v->list, &row, place);
    return ERR_OK;
}

static enum err on_wait(struct verify *v, struct slice key, struct slice value)
{
    (void)key, (void)value;
    if (v->waits-- == 0)
        WRONG(v, "a session waits for a lock of which the inode does not know");
    return ERR_OK;
}

static enum err on_mark(struct verify *v, struct slice key, struct slice value)
{
    (void)value;
    if (v->marks-- == 0)
        WRONG(v, "session %" PRIu64 " has a mark of an inode and no locks there", schema_key_u64(key, 1));
    return ERR_OK;
}

static enum err on_session(struct verify *v, struct slice key, struct slice value)
{
    struct row_session s;
    TRY(row_session_decode(value, &s));
    uint64_t id = schema_key_u64(key, 1);
    const struct lock_counts *counts = map_u64_remove(&v->sessions, id);
    if (s.locks != (counts ? counts->held : 0) || s.waits != (counts ? counts->waiting : 0))
        WRONG(v, "session %" PRIu64 " counts %" PRIu64 " locks and %" PRIu64 " that it waits for, and has others", id,
              s.locks, s.waits);
    return ERR_OK;
}

static enum err each_row(struct verify *v, char table,
                         enum err (*function)(struct verify *v, struct slice key, struct slice value))
{
    struct schema_key from = {.bytes = {(uint8_t)table}, .size = 1};
    struct store_range range;
    struct slice key, value;
    enum err e = ERR_OK;
    store_range_open_prefix(v->m, &range, &from, 1);
    for (; e == ERR_OK && store_range_get(&range, &key, &value); store_range_next(&range))
        e = key.size < 9 ? ERR_CORRUPT : function(v, key, value);
    enum err closed = store_range_close(&range);
    if (e == ERR_CORRUPT && !v->why->text[0])
        return err_explain(v->why, e, "a row of table '%c' can't be decoded", table);
    return e != ERR_OK ? e : closed;
}

static enum err verify_all(struct verify *v)
{
    TRY(each_row(v, 'l', on_lock));
    TRY(check_list(v));
    TRY(each_row(v, 'w', on_wait));
    TRY(each_row(v, 'h', on_mark));
    TRY(each_row(v, 's', on_session));
    if (v->waits > 0 || v->marks > 0 || v->sessions.count > 0)
        WRONG(v, "there are locks of which their sessions do not know");
    return ERR_OK;
}

enum err lock_verify(struct meta *m, struct err_text *why)
{
    struct verify v = {.m = m, .why = why};
    enum err e = verify_all(&v);
    map_u64_free(&v.sessions);
    lock_list_free(&v.list);
    arena_free(&v.arena);
    return e;
}
