#include "replica/leases.h"

#include <string.h>

#define LOG_MODULE "leases"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"

#define SWEEP_MIN 65536u /* holders that are gone before the map is gone through */
#define ATTACHMENTS_PER_TERM_BITS 24u

struct attachment {
    uint64_t id, session;
    uint64_t number;       /* the client's own, counting up */
    int64_t until_ns;      /* then it believes nothing any more */
    int64_t unanswered_ns; /* since when a notice waits for its acknowledgement; 0: none does */
    bool keeps;            /* what it is granted; else it is granted nothing */
    bool closing;          /* not renewed any more */
    bool wants_room;       /* it has not been told of all orphans */
    size_t grants;
    /* Notices acknowledged + 1 to acknowledged + count. */
    uint64_t acknowledged;
    struct meta_notice *notices;
    size_t count, capacity;
};

/* Who holds an inode: one attachment, in most cases, or several. Ids of attachments that are gone stay until somebody
 * comes by. */
struct holder {
    uint64_t id;
    bool writer;
};
struct holders {
    unsigned count, capacity;
    struct holder list[];
};

/* A changed inode of which somebody still believes the old state. */
struct change {
    uint64_t ino, index;
    unsigned missing; /* acknowledgements */
    struct list waiters;
};

struct leases {
    struct lease_options options;
    bool leading;
    uint64_t next_id;
    int64_t grace_until_ns;
    struct map_u64 expected; /* sessions that may hold something of the leader before; value: anything */
    struct list grace_waiters, ready;
    struct map_u64 attachments; /* by id */
    struct map_u64 sessions;    /* the same, by session */
    struct map_u64 holders;     /* ino -> struct holders */
    struct map_u64 changes;     /* ino -> struct change */
    size_t stale;               /* holders whose attachment is gone, at most */
    uint64_t granted, noticed, expired;
};

struct leases *leases_new(const struct lease_options *options)
{
    struct leases *l = MEM_NEW(struct leases);
    l->options = *options;
    list_init(&l->grace_waiters);
    list_init(&l->ready);
    return l;
}

static void free_values(struct map_u64 *m)
{
    size_t at = 0;
    uint64_t key;
    void *value;
    while (map_u64_next(m, &at, &key, &value))
        free(value);
    map_u64_free(m);
}

static void all_ready(struct leases *l, struct list *waiters)
{
    bool any = !list_empty(waiters);
    for (struct list_node *n; (n = list_pop_front(waiters));)
        list_push_back(&l->ready, n);
    if (any)
        l->options.wake(l->options.context);
}

static void free_attachment(struct attachment *a)
{
    free(a->notices);
    free(a);
}

static void forget(struct leases *l)
{
    size_t at = 0;
    uint64_t key;
    void *value;
    while (map_u64_next(&l->changes, &at, &key, &value)) {
        struct change *c = value;
        all_ready(l, &c->waiters);
        free(c);
    }
    map_u64_free(&l->changes);
    at = 0;
    while (map_u64_next(&l->attachments, &at, &key, &value))
        free_attachment(value);
    map_u64_free(&l->attachments);
    map_u64_free(&l->sessions);
    map_u64_free(&l->expected);
    free_values(&l->holders);
    all_ready(l, &l->grace_waiters);
    l->stale = 0;
}

void leases_free(struct leases *l)
{
    if (!l)
        return;
    forget(l);
    CHECK(list_empty(&l->ready));
    free(l);
}

void leases_begin(struct leases *l, uint64_t term, int64_t elected_ns, int64_t now_ns)
{
    forget(l);
    l->leading = true;
    l->next_id = (term << ATTACHMENTS_PER_TERM_BITS) + 1; /* no leader before gave these */
    l->grace_until_ns = elected_ns + META_LEASE_TERM_NS + l->options.drift_ns;
    if (l->grace_until_ns <= now_ns)
        l->grace_until_ns = 0;
}

void leases_expect(struct leases *l, uint64_t session)
{
    map_u64_put(&l->expected, session, l);
}

void leases_end(struct leases *l)
{
    l->leading = false;
    forget(l);
}

/* ---- grace ---- */

static bool in_grace(const struct leases *l, int64_t now_ns)
{
    return l->expected.count > 0 && now_ns < l->grace_until_ns;
}

static void came_back(struct leases *l, uint64_t session)
{
    if (map_u64_remove(&l->expected, session) && l->expected.count == 0)
        all_ready(l, &l->grace_waiters);
}

/* ---- attachments ---- */

static struct attachment *of_session(const struct leases *l, uint64_t session)
{
    return map_u64_get(&l->sessions, session);
}

static void heeded(struct leases *l, uint64_t ino)
{
    struct change *c = map_u64_get(&l->changes, ino);
    CHECK(c && c->missing > 0);
    if (--c->missing > 0)
        return;
    map_u64_remove(&l->changes, ino);
    all_ready(l, &c->waiters);
    free(c);
}

static void heed_first(struct leases *l, struct attachment *a, size_t count)
{
    if (count == 0)
        return;
    for (size_t i = 0; i < count; i++)
        if (a->notices[i].kind == META_NOTICE_CHANGED)
            heeded(l, a->notices[i].ino);
    memmove(a->notices, a->notices + count, (a->count - count) * sizeof *a->notices);
    a->count -= count;
    a->acknowledged += count;
}

static void end_attachment(struct leases *l, struct attachment *a)
{
    heed_first(l, a, a->count);
    l->stale += a->grants;
    map_u64_remove(&l->attachments, a->id);
    if (of_session(l, a->session) == a)
        map_u64_remove(&l->sessions, a->session);
    free_attachment(a);
}

uint64_t leases_attach(struct leases *l, uint64_t session, uint64_t number, bool keeps, int64_t now_ns)
{
    /* A request that was on its way for long: the client has attached since, and keeps things. */
    const struct attachment *present = of_session(l, session);
    if (present && number <= present->number)
        return 0;
    leases_detach(l, session);
    struct attachment *a = MEM_NEW(struct attachment);
    a->id = l->next_id++;
    a->session = session;
    a->number = number;
    a->keeps = keeps;
    a->until_ns = now_ns + META_LEASE_TERM_NS + l->options.drift_ns;
    map_u64_put(&l->attachments, a->id, a);
    map_u64_put(&l->sessions, session, a);
    return a->id;
}

static struct attachment *find(const struct leases *l, uint64_t session, uint64_t attachment)
{
    struct attachment *a = of_session(l, session);
    return a && a->id == attachment ? a : NULL;
}

bool leases_is_attached(const struct leases *l, uint64_t session, uint64_t attachment)
{
    const struct attachment *a = find(l, session, attachment);
    return a && !a->closing;
}

bool leases_renew(struct leases *l, uint64_t session, uint64_t attachment, int64_t now_ns)
{
    struct attachment *a = find(l, session, attachment);
    if (!a || now_ns >= a->until_ns)
        return false;
    /* Who does not answer is waited for until its term is over, and that must end some time. */
    if (a->unanswered_ns != 0 && now_ns - a->unanswered_ns > LEASE_ANSWER_NS)
        a->closing = true;
    if (a->closing)
        return false;
    a->until_ns = now_ns + META_LEASE_TERM_NS + l->options.drift_ns;
    return true;
}

void leases_detach(struct leases *l, uint64_t session)
{
    struct attachment *a = of_session(l, session);
    if (a)
        end_attachment(l, a);
    came_back(l, session);
}

/* ---- holders ---- */

static struct attachment *holder_alive(const struct leases *l, const struct holder *h)
{
    return map_u64_get(&l->attachments, h->id);
}

/* True: something about it is new. */
static bool add_holder(struct leases *l, uint64_t ino, struct attachment *a, bool writer)
{
    struct holders *h = map_u64_get(&l->holders, ino);
    unsigned kept = 0;
    for (unsigned i = 0; h && i < h->count; i++) {
        if (h->list[i].id == a->id) {
            bool more = writer && !h->list[i].writer;
            h->list[i].writer |= writer;
            return more;
        }
    }
    for (unsigned i = 0; h && i < h->count; i++)
        if (holder_alive(l, &h->list[i]))
            h->list[kept++] = h->list[i];
    if (h)
        h->count = kept;
    if (!h || h->count == h->capacity) {
        unsigned capacity = h ? h->capacity * 2 : 1;
        h = mem_realloc(h, sizeof *h + capacity * sizeof h->list[0]);
        h->capacity = capacity;
        h->count = kept;
        map_u64_put(&l->holders, ino, h);
    }
    h->list[h->count++] = (struct holder){a->id, writer};
    a->grants++;
    l->granted++;
    return true;
}

/* Rows of attachments that are gone cost memory only; now and then they are removed. */
static void sweep(struct leases *l)
{
    size_t at = 0;
    uint64_t ino;
    void *value;
    while (map_u64_next(&l->holders, &at, &ino, &value)) {
        struct holders *h = value;
        unsigned kept = 0;
        for (unsigned i = 0; i < h->count; i++)
            if (holder_alive(l, &h->list[i]))
                h->list[kept++] = h->list[i];
        h->count = kept;
        if (kept == 0) {
            map_u64_remove(&l->holders, ino);
            free(h);
        }
    }
    l->stale = 0;
}

/* Whether what nobody waits for may be added to what the client has to read. */
static bool has_room(const struct attachment *a)
{
    return !a->closing && a->count < LEASE_WAITING_MAX;
}

/* It believes what it does until its term is over, and then nothing: so there is nothing that it has to be told. */
static void close_attachment(struct leases *l, struct attachment *a)
{
    if (a->closing)
        return;
    log_info("session %llu does not fetch its notices: its lease is not renewed", (unsigned long long)a->session);
    a->closing = true;
    l->options.noticed(l->options.context, a->session); /* that is an answer, too */
}

static void notice(struct leases *l, struct attachment *a, enum meta_notice_kind kind, uint64_t ino)
{
    if (kind != META_NOTICE_CHANGED && !has_room(a)) {
        close_attachment(l, a);
        return;
    }
    if (a->count == a->capacity) {
        a->capacity = a->capacity ? a->capacity * 2 : 16;
        a->notices = mem_realloc(a->notices, a->capacity * sizeof *a->notices);
    }
    a->notices[a->count++] = (struct meta_notice){kind, ino};
    l->noticed++;
    l->options.noticed(l->options.context, a->session);
}

/* Whoever writes the file is told that it is looked at; once for each new holder, also when that is the writer. */
static void tell_writers(struct leases *l, uint64_t ino, struct attachment *holder, bool writer)
{
    const struct holders *h = map_u64_get(&l->holders, ino);
    bool shared = false;
    for (unsigned i = 0; i < h->count; i++) {
        struct attachment *a = h->list[i].id != holder->id ? holder_alive(l, &h->list[i]) : NULL;
        shared = shared || a;
        if (a && h->list[i].writer)
            notice(l, a, META_NOTICE_WANTED, ino);
    }
    if (writer && shared)
        notice(l, holder, META_NOTICE_WANTED, ino);
}

void leases_grant(struct leases *l, uint64_t session, const uint64_t *inos, size_t count, bool writer,
                  struct meta_grant *ret)
{
    *ret = (struct meta_grant){0};
    struct attachment *a = of_session(l, session);
    if (!a || !a->keeps || a->closing || !l->leading)
        return;
    if (a->grants + count > LEASE_GRANTS_MAX) {
        a->closing = true;
        return;
    }
    for (size_t i = 0; i < count; i++) {
        CHECK(!map_u64_get(&l->changes, inos[i]));
        if (add_holder(l, inos[i], a, writer && i == 0))
            tell_writers(l, inos[i], a, writer && i == 0);
    }
    *ret = (struct meta_grant){a->id, a->acknowledged + a->count};
}

void leases_changed(struct leases *l, uint64_t session, uint64_t index, uint64_t ino, int64_t now_ns)
{
    struct holders *h = map_u64_get(&l->holders, ino);
    const struct attachment *own = of_session(l, session);
    struct change *c = map_u64_get(&l->changes, ino);
    struct holder kept = {0};
    for (unsigned i = 0; h && i < h->count; i++) {
        struct attachment *a = holder_alive(l, &h->list[i]);
        if (!a)
            continue;
        if (a == own) {
            kept = h->list[i];
            continue;
        }
        if (!c) {
            c = MEM_NEW(struct change);
            c->ino = ino;
            c->index = index;
            list_init(&c->waiters);
            map_u64_put(&l->changes, ino, c);
        }
        c->missing++;
        a->grants--;
        if (a->unanswered_ns == 0)
            a->unanswered_ns = now_ns;
        notice(l, a, META_NOTICE_CHANGED, ino);
    }
    if (h && kept.id != 0) {
        h->list[0] = kept;
        h->count = 1;
    } else if (h) {
        map_u64_remove(&l->holders, ino);
        free(h);
    }
}

void leases_rewritten(struct leases *l, uint64_t session, uint64_t ino)
{
    const struct holders *h = map_u64_get(&l->holders, ino);
    const struct attachment *own = of_session(l, session);
    for (unsigned i = 0; h && i < h->count; i++) {
        struct attachment *a = holder_alive(l, &h->list[i]);
        if (a && a != own)
            notice(l, a, META_NOTICE_REWRITTEN, ino);
    }
}

bool leases_orphaned(struct leases *l, uint64_t session, uint64_t ino)
{
    struct attachment *a = of_session(l, session);
    if (!a)
        return false;
    if (!has_room(a)) {
        a->wants_room = true;
        return false;
    }
    notice(l, a, META_NOTICE_ORPHANED, ino);
    return true;
}

bool leases_must_wait(struct leases *l, const uint64_t *inos, size_t count, uint64_t index, int64_t now_ns,
                      struct lease_waiter *w)
{
    if (!l->leading || in_grace(l, now_ns)) {
        if (w)
            list_push_back(&l->grace_waiters, &w->link);
        return true;
    }
    if (l->changes.count == 0)
        return false;
    for (size_t i = 0; i < count; i++) {
        struct change *c = map_u64_get(&l->changes, inos[i]);
        if (c && c->index <= index) {
            if (w)
                list_push_back(&c->waiters, &w->link);
            return true;
        }
    }
    return false;
}

bool leases_is_changing(const struct leases *l, uint64_t ino)
{
    return map_u64_get(&l->changes, ino) != NULL;
}

/* ---- notices ---- */

unsigned leases_take(const struct leases *l, uint64_t session, uint64_t after, struct meta_notice *to, unsigned max,
                     uint64_t *ret_seq)
{
    const struct attachment *a = of_session(l, session);
    *ret_seq = after;
    if (!a || after < a->acknowledged)
        return 0;
    size_t skip = (size_t)(after - a->acknowledged);
    unsigned n = 0;
    for (; skip + n < a->count && n < max; n++)
        to[n] = a->notices[skip + n];
    *ret_seq = after + n;
    return n;
}

void leases_acknowledge(struct leases *l, uint64_t session, uint64_t attachment, uint64_t seq, int64_t now_ns)
{
    struct attachment *a = find(l, session, attachment);
    if (!a || seq <= a->acknowledged || seq > a->acknowledged + a->count)
        return;
    heed_first(l, a, (size_t)(seq - a->acknowledged));
    a->unanswered_ns = a->count > 0 ? now_ns : 0;
    /* Half of it: who asks then goes through all orphans. */
    if (a->wants_room && !a->closing && a->count <= LEASE_WAITING_MAX / 2) {
        a->wants_room = false;
        l->options.room(l->options.context, session);
    }
}

/* ---- time ---- */

void leases_tick(struct leases *l, int64_t now_ns)
{
    size_t at = 0;
    uint64_t id;
    void *value;
    while (map_u64_next(&l->attachments, &at, &id, &value)) {
        struct attachment *a = value;
        if (now_ns < a->until_ns)
            continue;
        log_info("session %llu has not renewed its lease: it is not waited for any more",
                 (unsigned long long)a->session);
        l->expired++;
        end_attachment(l, a);
    }
    if (l->grace_until_ns != 0 && now_ns >= l->grace_until_ns) {
        if (l->expected.count > 0)
            log_info("%zu sessions have not come back within their term: they are not waited for any more",
                     l->expected.count);
        l->grace_until_ns = 0;
        map_u64_free(&l->expected);
        all_ready(l, &l->grace_waiters);
    }
    if (l->stale > SWEEP_MIN && l->stale > l->holders.count / 2)
        sweep(l);
}

int64_t leases_deadline_ns(const struct leases *l)
{
    int64_t deadline_ns = l->grace_until_ns != 0 ? l->grace_until_ns : INT64_MAX;
    size_t at = 0;
    uint64_t id;
    void *value;
    while (map_u64_next(&l->attachments, &at, &id, &value)) {
        const struct attachment *a = value;
        deadline_ns = a->until_ns < deadline_ns ? a->until_ns : deadline_ns;
    }
    return deadline_ns;
}

void leases_release(struct leases *l)
{
    struct list ready;
    list_init(&ready);
    for (struct list_node *n; (n = list_pop_front(&l->ready));)
        list_push_back(&ready, n);
    for (struct list_node *n; (n = list_pop_front(&ready));) {
        struct lease_waiter *w = container_of(n, struct lease_waiter, link);
        w->ready(w);
    }
}

void leases_status(const struct leases *l, int64_t now_ns, struct leases_status *ret)
{
    *ret = (struct leases_status){.attachments = l->attachments.count,
                                  .held_inodes = l->holders.count,
                                  .waiting_changes = l->changes.count,
                                  .granted = l->granted,
                                  .noticed = l->noticed,
                                  .expired = l->expired,
                                  .grace = in_grace(l, now_ns)};
}
