#include "meta/lock_rows.h"

#include "base/mem.h"

#define MARK_KEY_BYTES 18u   /* table, session, inode, kind */
#define FILES_PER_END 512u   /* inodes that one step of a session's end looks at */
#define END_ROWS_ENOUGH 256u /* after so many rows the rest of a session's end is left to the next step */

static enum err load(struct lock_list *l, struct meta *m, uint64_t ino, enum meta_lock_kind kind)
{
    struct schema_key from = schema_lock_prefix(ino, kind);
    struct store_range range;
    struct slice key, value;
    enum err e = ERR_OK;
    store_range_open_prefix(m, &range, &from, from.size);
    for (; e == ERR_OK && store_range_get(&range, &key, &value); store_range_next(&range)) {
        struct row_lock row;
        uint32_t place = 0;
        e = row_lock_decode(value, kind, &row);
        if (e == ERR_OK)
            e = schema_key_place(key, from.size, &place);
        if (e == ERR_OK && place >= LIMIT_FILE_LOCKS)
            e = ERR_CORRUPT;
        if (e == ERR_OK)
            lock_list_add(l, &row, place);
    }
    enum err closed = store_range_close(&range);
    return e != ERR_OK ? e : closed;
}

enum err lock_file_open(struct lock_file *f, struct meta *m, uint64_t ino, enum meta_lock_kind kind)
{
    *f = (struct lock_file){.m = m, .ino = ino, .kind = kind};
    TRY(load(&f->before, m, ino, kind));
    for (unsigned i = 0; i < f->before.count; i++)
        lock_list_add(&f->now, &f->before.entries[i].row, f->before.entries[i].place);
    return ERR_OK;
}

void lock_file_close(struct lock_file *f)
{
    lock_list_free(&f->before);
    lock_list_free(&f->now);
    free(f->sessions);
    *f = (struct lock_file){0};
}

void lock_file_touch(struct lock_file *f, uint64_t session)
{
    for (unsigned i = 0; i < f->session_count; i++)
        if (f->sessions[i] == session)
            return;
    if (f->session_count == f->session_capacity) {
        f->session_capacity = MAX(2 * f->session_capacity, 8u);
        f->sessions = mem_realloc(f->sessions, f->session_capacity * sizeof *f->sessions);
    }
    f->sessions[f->session_count++] = session;
}

void lock_file_grant(struct lock_file *f)
{
    for (unsigned at; (at = lock_list_next(&f->now)) < f->now.count;) {
        struct row_lock row = f->now.entries[at].row;
        struct schema_key wait = schema_lock_wait(row.session, row.wait_place);
        lock_list_remove(&f->now, at);
        lock_list_set(&f->now, row.session, &row.lock);
        lock_file_touch(f, row.session);
        store_delete(f->m, &wait);
        if (f->m->grant_count < META_GRANTS_KEPT)
            f->m->grants[f->m->grant_count++] = row.ticket;
    }
}

/* ---- writing ---- */

static enum err save_rows(struct lock_file *f)
{
    bool was[LIMIT_FILE_LOCKS] = {false}, is[LIMIT_FILE_LOCKS] = {false};
    uint32_t free_place = 0;
    for (unsigned i = 0; i < f->before.count; i++)
        was[f->before.entries[i].place] = true;
    for (unsigned i = 0; i < f->now.count; i++)
        if (f->now.entries[i].place != LOCK_LIST_NEW)
            is[f->now.entries[i].place] = true;
    for (unsigned i = 0; i < f->now.count; i++) {
        struct lock_entry *e = &f->now.entries[i];
        if (e->place != LOCK_LIST_NEW && !e->changed)
            continue;
        if (e->place == LOCK_LIST_NEW) {
            while (free_place < LIMIT_FILE_LOCKS && is[free_place])
                free_place++;
            if (free_place == LIMIT_FILE_LOCKS)
                return ERR_CORRUPT; /* weights have been checked: only rows that nobody wrote get here */
            e->place = free_place;
            is[free_place] = true;
        }
        struct schema_key key = schema_lock(f->ino, f->kind, e->place);
        row_lock_encode(&e->row, &f->m->scratch);
        store_put_scratch(f->m, &key);
    }
    for (uint32_t place = 0; place < LIMIT_FILE_LOCKS; place++) {
        struct schema_key key = schema_lock(f->ino, f->kind, place);
        if (was[place] && !is[place])
            store_delete(f->m, &key);
    }
    return ERR_OK;
}

/* What the session's row counts, and the mark by which its end finds the inode. */
static enum err save_session(struct lock_file *f, uint64_t id)
{
    struct lock_counts before = lock_list_count(&f->before, id), now = lock_list_count(&f->now, id);
    bool was = before.held + before.waiting > 0, is = now.held + now.waiting > 0, found;
    struct schema_key mark = schema_lock_mark(id, f->ino, f->kind);
    struct row_session s;
    if (was && !is)
        store_delete(f->m, &mark);
    if (!was && is) {
        bytes_u8(&f->m->scratch, 1);
        store_put_scratch(f->m, &mark);
    }
    if (before.held == now.held && before.waiting == now.waiting)
        return ERR_OK;
    TRY(session_get(f->m, id, &s, &found));
    if (!found || s.locks + now.held < before.held || s.waits + now.waiting < before.waiting)
        return ERR_CORRUPT;
    s.locks = s.locks + now.held - before.held;
    s.waits = s.waits + now.waiting - before.waiting;
    session_put(f->m, id, &s);
    return ERR_OK;
}

enum err lock_file_save(struct lock_file *f)
{
    TRY(save_rows(f));
    for (unsigned i = 0; i < f->session_count; i++)
        TRY(save_session(f, f->sessions[i]));
    return ERR_OK;
}

const uint64_t *meta_lock_grants(const struct meta *m, unsigned *ret_count)
{
    *ret_count = m->grant_count;
    return m->grants;
}

/* ---- the end of a session ---- */

struct marked {
    uint64_t ino;
    enum meta_lock_kind kind;
};

static enum err marked_files(struct meta *m, uint64_t session, struct marked *list, unsigned *ret_count, bool *ret_more)
{
    struct schema_key from = schema_lock_mark(session, 0, (enum meta_lock_kind)0);
    struct store_range range;
    struct slice key, value;
    enum err e = ERR_OK;
    *ret_count = 0;
    *ret_more = false;
    store_range_open_prefix(m, &range, &from, 9);
    for (; e == ERR_OK && !*ret_more && store_range_get(&range, &key, &value); store_range_next(&range)) {
        if (key.size != MARK_KEY_BYTES)
            e = ERR_CORRUPT;
        else if (*ret_count == FILES_PER_END)
            *ret_more = true;
        else
            list[(*ret_count)++] = (struct marked){schema_key_u64(key, 9), (enum meta_lock_kind)key.data[17]};
    }
    enum err closed = store_range_close(&range);
    return e != ERR_OK ? e : closed;
}

static enum err drop_session(struct lock_file *f, uint64_t session)
{
    for (unsigned i = 0; i < f->now.count; i++) {
        const struct row_lock *r = &f->now.entries[i].row;
        struct schema_key wait = schema_lock_wait(session, r->wait_place);
        if (r->session == session && r->ticket)
            store_delete(f->m, &wait);
    }
    lock_list_drop(&f->now, session);
    lock_file_touch(f, session);
    lock_file_grant(f);
    return lock_file_save(f);
}

enum err lock_session_end(struct meta *m, uint64_t session, bool *ret_more)
{
    struct marked *files = arena_alloc(&m->arena, FILES_PER_END * sizeof *files);
    unsigned count, begun = m->rows;
    bool more;
    TRY(marked_files(m, session, files, &count, &more));
    for (unsigned i = 0; i < count; i++) {
        struct lock_file f;
        enum err e = lock_file_open(&f, m, files[i].ino, files[i].kind);
        unsigned worst = 2 * lock_list_weight(&f.before) + 16;
        bool fits = i == 0 || m->rows + worst <= STORE_OPERATION_ROWS;
        if (e == ERR_OK && fits)
            e = drop_session(&f, session);
        lock_file_close(&f);
        TRY(e);
        more = more || !fits;
        if (!fits)
            break;
    }
    *ret_more = more || m->rows - begun > END_ROWS_ENOUGH;
    return ERR_OK;
}
