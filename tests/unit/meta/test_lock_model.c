/* Random locks against a model that knows only bytes: for each byte and owner what it holds, and who waits in order. */
#include "tests/unit/meta/commands.h"

#include <string.h>

#include "base/mem.h"
#include "base/prng.h"
#include "meta/lock_rows.h"

#define BYTES 24u
#define SESSIONS 3u
#define OWNERS 2u /* of each session */
#define ALL (SESSIONS * OWNERS)
#define FILES 2u
#define WAITS_MAX 64u
#define STEPS 2000u
#define SEEDS 8u

struct wait {
    unsigned file, owner, from, to; /* [from, to) */
    enum meta_lock_type type;
    struct meta_reply reply;
};
struct model {
    struct fixture *f;
    struct prng p;
    uint64_t inos[FILES];
    uint64_t sessions[SESSIONS], seqs[SESSIONS];
    unsigned nonce;
    uint8_t held[FILES][ALL][BYTES]; /* enum meta_lock_type, or 0 */
    struct wait waits[WAITS_MAX];    /* in order of arrival */
    unsigned wait_count, granted, deadlocks, cancelled, expired;
    enum meta_lock_kind kind;
};

/* ---- what is right ---- */

static bool hinders(const struct model *m, unsigned file, unsigned other, unsigned owner, unsigned from, unsigned to,
                    enum meta_lock_type type)
{
    for (unsigned b = from; b < to && other != owner; b++)
        if (m->held[file][other][b] == META_LOCK_WRITE || (m->held[file][other][b] && type == META_LOCK_WRITE))
            return true;
    return false;
}

static bool is_hindered(const struct model *m, unsigned file, unsigned owner, unsigned from, unsigned to,
                        enum meta_lock_type type)
{
    for (unsigned other = 0; other < ALL; other++)
        if (hinders(m, file, other, owner, from, to, type))
            return true;
    return false;
}

/* Whether `who` waits, directly or not, for `owner`. */
static bool waits_for(const struct model *m, unsigned who, unsigned owner, bool seen[ALL])
{
    if (who == owner)
        return true;
    if (seen[who])
        return false;
    seen[who] = true;
    for (unsigned i = 0; i < m->wait_count; i++) {
        const struct wait *w = &m->waits[i];
        for (unsigned other = 0; w->owner == who && other < ALL; other++)
            if (hinders(m, w->file, other, who, w->from, w->to, w->type) && waits_for(m, other, owner, seen))
                return true;
    }
    return false;
}

static void set(struct model *m, unsigned file, unsigned owner, unsigned from, unsigned to, enum meta_lock_type type)
{
    memset(&m->held[file][owner][from], type == META_LOCK_UNLOCK ? 0 : (int)type, to - from);
}

static void remove_wait(struct model *m, unsigned i)
{
    memmove(&m->waits[i], &m->waits[i + 1], (m->wait_count - i - 1) * sizeof m->waits[0]);
    m->wait_count--;
}

static void grant(struct model *m)
{
    for (unsigned i = 0; i < m->wait_count;) {
        struct wait w = m->waits[i];
        if (is_hindered(m, w.file, w.owner, w.from, w.to, w.type)) {
            i++;
            continue;
        }
        remove_wait(m, i);
        set(m, w.file, w.owner, w.from, w.to, w.type);
        m->granted++;
        i = 0;
    }
}

/* ---- what is there ---- */

static struct meta_reply call(struct model *m, unsigned session, struct meta_command c)
{
    c.session = m->sessions[session];
    c.acked = m->seqs[session];
    c.seq = ++m->seqs[session];
    return fixture_apply(m->f, c);
}

static unsigned owner_of(const struct model *m, const struct row_lock *r)
{
    for (unsigned s = 0; s < SESSIONS; s++)
        if (m->sessions[s] == r->session)
            return s * OWNERS + (unsigned)r->lock.owner;
    fail_msg("a lock of session %llu, which is over", (unsigned long long)r->session);
    return 0;
}

/* A flock's end is the end of all files. */
static unsigned to_of(const struct meta_lock *lock)
{
    return lock->end == META_SIZE_MAX ? BYTES : (unsigned)lock->end + 1;
}

static void compare(struct model *m, unsigned step)
{
    unsigned waiting = 0;
    for (unsigned file = 0; file < FILES; file++) {
        uint8_t held[ALL][BYTES] = {{0}};
        struct lock_file f;
        assert_int_equal(lock_file_open(&f, m->f->meta, m->inos[file], m->kind), ERR_OK);
        for (unsigned i = 0; i < f.now.count; i++) {
            const struct row_lock *r = &f.now.entries[i].row;
            unsigned owner = owner_of(m, r);
            waiting += r->ticket != 0;
            for (uint64_t b = r->lock.start; r->ticket == 0 && b < to_of(&r->lock); b++) {
                assert_int_equal(held[owner][b], 0);
                held[owner][b] = (uint8_t)r->lock.type;
            }
        }
        lock_file_close(&f);
        if (memcmp(held, m->held[file], sizeof held) != 0)
            fail_msg("step %u: file %u is locked otherwise", step, file);
    }
    assert_int_equal(waiting, m->wait_count);
    for (unsigned i = 0; i < m->wait_count; i++) {
        struct meta_query q = {.op = META_QUERY_LOCK_WAIT,
                               .session = m->sessions[m->waits[i].owner / OWNERS],
                               .ino = m->inos[m->waits[i].file],
                               .ticket = m->waits[i].reply.ticket,
                               .place = m->waits[i].reply.place};
        struct meta_query_reply r = fixture_query(m->f, q);
        assert_true(r.status == ERR_OK && r.waiting);
    }
    arena_reset(&m->f->arena);
}

/* ---- steps ---- */

static void lock_step(struct model *m)
{
    unsigned file = (unsigned)prng_below(&m->p, FILES), owner = (unsigned)prng_below(&m->p, ALL);
    unsigned from = (unsigned)prng_below(&m->p, BYTES), to = from + 1 + (unsigned)prng_below(&m->p, BYTES - from);
    enum meta_lock_type type = prng_below(&m->p, 2) ? META_LOCK_UNLOCK : META_LOCK_READ;
    if (type == META_LOCK_READ && prng_below(&m->p, 2))
        type = META_LOCK_WRITE;
    bool wait = prng_below(&m->p, 2), seen[ALL] = {false}, deadlock = false;
    if (m->kind == META_LOCK_FLOCK)
        from = 0, to = BYTES;
    bool hindered = type != META_LOCK_UNLOCK && is_hindered(m, file, owner, from, to, type);
    for (unsigned other = 0; m->kind == META_LOCK_POSIX && other < ALL; other++)
        if (hinders(m, file, other, owner, from, to, type))
            deadlock = deadlock || waits_for(m, other, owner, seen);
    struct meta_command c = {.op = META_LOCK, .lock = {.ino = m->inos[file], .wait = wait}};
    c.lock.lock = (struct meta_lock){.kind = m->kind,
                                     .type = type,
                                     .start = from,
                                     .end = to == BYTES && m->kind == META_LOCK_FLOCK ? META_SIZE_MAX : to - 1,
                                     .owner = owner % OWNERS};
    if (hindered && wait && !deadlock && m->wait_count == WAITS_MAX)
        return;
    struct meta_reply r = call(m, owner / OWNERS, c);
    assert_status(r, !hindered ? ERR_OK : !wait ? ERR_WOULD_BLOCK : deadlock ? ERR_DEADLK : ERR_OK);
    assert_int_equal(r.ticket != 0, r.status == ERR_OK && hindered);
    m->deadlocks += r.status == ERR_DEADLK;
    if (r.ticket) {
        if (m->kind == META_LOCK_FLOCK)
            set(m, file, owner, from, to, META_LOCK_UNLOCK);
        m->waits[m->wait_count++] =
            (struct wait){.file = file, .owner = owner, .from = from, .to = to, .type = type, .reply = r};
    } else if (r.status == ERR_OK) {
        set(m, file, owner, from, to, type);
    }
    grant(m);
}

static void cancel_step(struct model *m)
{
    if (m->wait_count == 0)
        return;
    unsigned i = (unsigned)prng_below(&m->p, m->wait_count);
    struct wait w = m->waits[i];
    struct meta_command c = {.op = META_LOCK_CANCEL, .lock_cancel = {.ticket = w.reply.ticket, .place = w.reply.place}};
    assert_status(call(m, w.owner / OWNERS, c), ERR_OK);
    remove_wait(m, i);
    m->cancelled++;
}

static void expire_step(struct model *m)
{
    unsigned s = (unsigned)prng_below(&m->p, SESSIONS);
    struct meta_reply r = fixture_end_session(m->f, m->sessions[s]);
    assert_true(r.status == ERR_OK && !r.more);
    for (unsigned i = m->wait_count; i-- > 0;)
        if (m->waits[i].owner / OWNERS == s)
            remove_wait(m, i);
    for (unsigned file = 0; file < FILES; file++)
        for (unsigned o = 0; o < OWNERS; o++)
            set(m, file, s * OWNERS + o, 0, BYTES, META_LOCK_UNLOCK);
    /* Files are gone through one after the other, which is the order of arrival in each. */
    grant(m);
    r = fixture_open_session(m->f, ++m->nonce);
    assert_status(r, ERR_OK);
    m->sessions[s] = r.session;
    m->seqs[s] = 0;
    m->expired++;
}

static void run(struct fixture *f, enum meta_lock_kind kind, uint64_t seed)
{
    struct model m = {.f = f, .nonce = (unsigned)(1000 * seed + 100 * kind), .kind = kind};
    prng_seed(&m.p, seed);
    for (unsigned i = 0; i < FILES; i++) {
        char name[] = {(char)('a' + i), (char)('0' + kind), (char)('A' + seed), 0};
        m.inos[i] = must_make(f, META_CREATE, META_ROOT_INO, name, 0644);
    }
    for (unsigned s = 0; s < SESSIONS; s++)
        m.sessions[s] = fixture_open_session(f, ++m.nonce).session;
    for (unsigned step = 0; step < STEPS; step++) {
        uint64_t dice = prng_below(&m.p, 100);
        if (dice < 85)
            lock_step(&m);
        else if (dice < 97)
            cancel_step(&m);
        else
            expire_step(&m);
        compare(&m, step);
        if (step % 100 == 0)
            fixture_verify(f);
    }
    /* So many that the run was worth it. */
    assert_true(m.granted > 20 && m.cancelled > 20 && m.expired > 10);
    assert_true(kind == META_LOCK_FLOCK || m.deadlocks > 5);
    for (unsigned s = 0; s < SESSIONS; s++)
        assert_status(fixture_end_session(f, m.sessions[s]), ERR_OK);
    assert_int_equal(rows_of(f, 'l') + rows_of(f, 'h') + rows_of(f, 'w'), 0);
}

static void ranges_against_bytes(void **state)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        run(*state, META_LOCK_POSIX, seed);
}

static void whole_files_against_bytes(void **state)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        run(*state, META_LOCK_FLOCK, seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ranges_against_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(whole_files_against_bytes, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
