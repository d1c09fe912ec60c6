/* Locks of two mounts of one cluster in this process: threads, cancels, a metastore that does not answer, an expiry. */
#include "client/surf.h"
#include "file_fixture.h"

#define THREADS 4
#define ROUNDS 60

struct world {
    struct cluster cluster;
    struct surf *mounts[2];
};

static struct world *world_start_soft(int64_t soft_timeout_ns)
{
    struct world *w = MEM_NEW(struct world);
    struct rpc_address address;
    struct err_text why = {""};
    cluster_start(&w->cluster, 3);
    assert_int_equal(rpc_address_parse(w->cluster.meta_base.address, &address, &why), ERR_OK);
    struct surf_options options = {.servers = &address,
                                   .server_count = 1,
                                   .export_name = META_EXPORT_DEFAULT,
                                   .client_name = "test",
                                   .mount_timeout_ns = 10 * NS_PER_S,
                                   .soft_timeout_ns = soft_timeout_ns,
                                   .no_inline = soft_timeout_ns > 0};
    for (int i = 0; i < 2; i++)
        assert_int_equal(surf_open_export(&options, &w->mounts[i], &why), ERR_OK);
    return w;
}

static struct world *world_start(void)
{
    return world_start_soft(0);
}

static void world_end(struct world *w)
{
    for (int i = 0; i < 2; i++)
        surf_close_export(w->mounts[i], NS_PER_S);
    cluster_stop(&w->cluster);
    free(w);
}

static struct open_file *open_at(struct surf *s, const char *name)
{
    struct meta_attr attr;
    struct open_file *h;
    static const struct surf_caller root;
    bool keep, made = surf_create(s, &root, META_ROOT_INO, slice_str(name), 0644, O_RDWR, &attr, &h, &keep) == ERR_OK;
    assert_true(made);
    return h;
}

static void close_at(struct surf *s, struct open_file *h)
{
    locks_release(surf_locks(s), h);
    file_close(h);
}

static uint64_t locks_held(struct world *w, bool waits)
{
    struct arena arena = {0};
    struct meta_query query = {.op = META_QUERY_SESSIONS};
    struct meta_query_reply reply;
    uint64_t sum = 0;
    pthread_mutex_lock(&w->cluster.meta_lock);
    assert_int_equal(meta_query(w->cluster.meta, &query, &arena, &reply), ERR_OK);
    pthread_mutex_unlock(&w->cluster.meta_lock);
    for (unsigned i = 0; i < reply.session_count; i++)
        sum += waits ? reply.sessions[i].waits : reply.sessions[i].locks;
    arena_free(&arena);
    return sum;
}

static struct meta_lock whole(enum meta_lock_kind kind, enum meta_lock_type type, uint64_t owner)
{
    return (struct meta_lock){.kind = kind, .type = type, .end = META_SIZE_MAX, .owner = owner};
}

struct locker {
    struct surf *mount;
    struct open_file *handle;
    uint64_t owner;
    enum meta_lock_kind kind;
    unsigned got, left;
    atomic_int *inside;
    pthread_t thread;
};

struct fire {
    struct rpc_cancel *cancel;
    int64_t after_ns;
};

static void *fire_later(void *context)
{
    struct fire *f = context;
    nanosleep(&(struct timespec){.tv_nsec = f->after_ns}, NULL);
    rpc_cancel_fire(f->cancel);
    return NULL;
}

static enum err lock_and_wait(struct locker *l, struct rpc_cancel *cancel)
{
    struct meta_lock lock = whole(l->kind, META_LOCK_WRITE, l->owner);
    return locks_set(surf_locks(l->mount), l->handle, &lock, true, cancel);
}

static enum err lock_with_alarm(struct locker *l, int64_t after_ns)
{
    struct fire f = {.cancel = rpc_cancel_new(), .after_ns = after_ns};
    pthread_t thread;
    pthread_create(&thread, NULL, fire_later, &f);
    enum err e = lock_and_wait(l, f.cancel);
    pthread_join(thread, NULL);
    rpc_cancel_free(f.cancel);
    return e;
}

static void *lock_and_unlock(void *context)
{
    struct locker *l = context;
    struct prng prng;
    prng_seed(&prng, l->owner);
    struct meta_lock unlock = whole(l->kind, META_LOCK_UNLOCK, l->owner);
    for (int round = 0; round < ROUNDS; round++) {
        /* However slow the machine is, nobody is left without: the last round waits. */
        bool last = round == ROUNDS - 1;
        enum err e = last ? lock_and_wait(l, NULL) : lock_with_alarm(l, (int64_t)prng_below(&prng, 8 * NS_PER_MS));
        if (e != ERR_OK) {
            assert_int_equal(e, ERR_CANCELLED);
            l->left++;
            continue;
        }
        assert_int_equal(atomic_fetch_add(l->inside, 1), 0);
        nanosleep(&(struct timespec){.tv_nsec = (long)prng_below(&prng, NS_PER_MS)}, NULL);
        assert_int_equal(atomic_fetch_sub(l->inside, 1), 1);
        assert_int_equal(locks_set(surf_locks(l->mount), l->handle, &unlock, false, NULL), ERR_OK);
        l->got++;
    }
    return NULL;
}

static void exclusive_with_cancels(enum meta_lock_kind kind)
{
    struct world *w = world_start();
    struct locker lockers[THREADS];
    atomic_int inside = 0;
    for (unsigned i = 0; i < THREADS; i++) {
        struct surf *mount = w->mounts[i % 2];
        lockers[i] = (struct locker){
            .mount = mount, .handle = open_at(mount, "f"), .owner = i + 1, .kind = kind, .inside = &inside};
        pthread_create(&lockers[i].thread, NULL, lock_and_unlock, &lockers[i]);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(lockers[i].thread, NULL);
        assert_true(lockers[i].got > 0);
        assert_int_equal(lockers[i].got + lockers[i].left, ROUNDS);
    }
    /* What was left behind with an unknown outcome is undone. */
    AWAIT(locks_held(w, false) == 0 && locks_held(w, true) == 0);
    for (unsigned i = 0; i < THREADS; i++)
        close_at(lockers[i].mount, lockers[i].handle);
    world_end(w);
}

static void fcntl_locks_exclude_whoever_leaves(void **state)
{
    (void)state;
    exclusive_with_cancels(META_LOCK_POSIX);
}

static void flocks_exclude_whoever_leaves(void **state)
{
    (void)state;
    exclusive_with_cancels(META_LOCK_FLOCK);
}

static void an_outcome_that_nobody_waited_for_is_undone(void **state)
{
    (void)state;
    struct world *w = world_start();
    struct locker a = {
        .mount = w->mounts[0], .handle = open_at(w->mounts[0], "f"), .owner = 1, .kind = META_LOCK_POSIX};
    struct open_file *b = open_at(w->mounts[1], "f");
    struct meta_lock theirs = whole(META_LOCK_POSIX, META_LOCK_WRITE, 2);
    atomic_store(&w->cluster.meta_silent, 1);
    assert_int_equal(lock_with_alarm(&a, 50 * NS_PER_MS), ERR_CANCELLED);
    atomic_store(&w->cluster.meta_silent, 0);
    assert_int_equal(locks_set(surf_locks(w->mounts[1]), b, &theirs, true, NULL), ERR_OK);
    theirs.type = META_LOCK_UNLOCK;
    assert_int_equal(locks_set(surf_locks(w->mounts[1]), b, &theirs, false, NULL), ERR_OK);
    /* Its next one comes after the undoing. */
    struct meta_lock mine = whole(META_LOCK_POSIX, META_LOCK_WRITE, 1);
    assert_int_equal(locks_set(surf_locks(a.mount), a.handle, &mine, true, NULL), ERR_OK);
    AWAIT(locks_held(w, false) == 1);
    close_at(a.mount, a.handle);
    AWAIT(locks_held(w, false) == 0);
    close_at(w->mounts[1], b);
    world_end(w);
}

/* A lock that it had before must not go with one whose outcome came too late. */
static void what_was_held_before_stays(void **state)
{
    (void)state;
    struct world *w = world_start();
    struct locker a = {
        .mount = w->mounts[0], .handle = open_at(w->mounts[0], "f"), .owner = 1, .kind = META_LOCK_POSIX};
    struct open_file *b = open_at(w->mounts[1], "f");
    struct meta_lock first = {.kind = META_LOCK_POSIX, .type = META_LOCK_WRITE, .end = 9, .owner = 1}, theirs = first;
    theirs.owner = 2;
    assert_int_equal(locks_set(surf_locks(a.mount), a.handle, &first, false, NULL), ERR_OK);
    atomic_store(&w->cluster.meta_silent, 1);
    assert_int_equal(lock_with_alarm(&a, 50 * NS_PER_MS), ERR_CANCELLED);
    atomic_store(&w->cluster.meta_silent, 0);
    struct meta_lock unlock = {.kind = META_LOCK_POSIX, .type = META_LOCK_UNLOCK, .start = 100, .end = 200, .owner = 1};
    assert_int_equal(locks_set(surf_locks(a.mount), a.handle, &unlock, false, NULL), ERR_OK); /* behind the undoing */
    assert_int_equal(locks_set(surf_locks(w->mounts[1]), b, &theirs, false, NULL), ERR_WOULD_BLOCK);
    assert_int_equal(locks_close(surf_locks(a.mount), a.handle, 1, NULL), ERR_OK);
    assert_int_equal(locks_set(surf_locks(w->mounts[1]), b, &theirs, false, NULL), ERR_OK);
    close_at(a.mount, a.handle);
    close_at(w->mounts[1], b);
    world_end(w);
}

static void locks_go_with_their_session(void **state)
{
    (void)state;
    struct world *w = world_start();
    struct surf *mine = w->mounts[0];
    struct open_file *h = open_at(mine, "f"), *other = open_at(mine, "f"), *b = open_at(w->mounts[1], "f");
    struct meta_lock lock = whole(META_LOCK_POSIX, META_LOCK_WRITE, 1),
                     theirs = whole(META_LOCK_POSIX, META_LOCK_WRITE, 2);
    assert_int_equal(locks_set(surf_locks(mine), h, &lock, false, NULL), ERR_OK);
    write_it(h, 0, "mine", 4);
    /* As if it had been silent for too long. */
    struct meta_command end = {.op = META_SESSION_END, .session_end.session = meta_client_session(surf_meta(mine))};
    struct meta_reply reply;
    assert_int_equal(meta_client_call(surf_meta(w->mounts[1]), &end, NULL, &reply), ERR_OK);
    assert_int_equal(reply.status, ERR_OK);
    assert_int_equal(locks_set(surf_locks(w->mounts[1]), b, &theirs, true, NULL), ERR_OK);
    assert_int_equal(file_fsync(h, NULL), ERR_IO);
    char byte;
    size_t got;
    AWAIT(file_read(h, 0, &byte, 1, NULL, &got) == ERR_IO);
    assert_int_equal(file_write(h, 0, "late", 4, NULL), ERR_IO);
    assert_int_equal(file_allocate(h, 0, 0, 10, false, NULL), ERR_IO);
    assert_int_equal(locks_set(surf_locks(mine), h, &lock, false, NULL), ERR_IO);
    assert_int_equal(file_read(other, 0, &byte, 1, NULL, &got), ERR_OK); /* no lock was taken through that one */
    assert_int_equal(locks_close(surf_locks(mine), h, 1, NULL), ERR_OK);
    close_at(mine, h);
    assert_int_equal(locks_set(surf_locks(mine), other, &lock, false, NULL), ERR_WOULD_BLOCK);
    close_at(w->mounts[1], b);
    assert_int_equal(locks_set(surf_locks(mine), other, &lock, true, NULL), ERR_OK);
    close_at(mine, other);
    world_end(w);
}

/* With a soft time-out: what was written under a lock is there before another one has it, however long that takes. */
static void a_lock_is_kept_until_its_contents_are_there(void **state)
{
    (void)state;
    struct world *w = world_start_soft(300 * NS_PER_MS);
    struct open_file *a = open_at(w->mounts[0], "f"), *b = open_at(w->mounts[1], "f");
    struct meta_lock lock_a = whole(META_LOCK_POSIX, META_LOCK_WRITE, 1), lock_b = lock_a;
    struct meta_lock unlock = whole(META_LOCK_POSIX, META_LOCK_UNLOCK, 1);
    lock_b.owner = 2;
    assert_int_equal(locks_set(surf_locks(w->mounts[0]), a, &lock_a, false, NULL), ERR_OK);
    write_it(a, 0, "old", 3);
    for (unsigned i = 0; i < 3; i++)
        server_set(&w->cluster.servers[i], SERVER_REFUSES);
    assert_int_equal(locks_set(surf_locks(w->mounts[0]), a, &unlock, false, NULL), ERR_TIMEOUT);
    assert_int_equal(locks_set(surf_locks(w->mounts[1]), b, &lock_b, false, NULL), ERR_WOULD_BLOCK);
    for (unsigned i = 0; i < 3; i++)
        server_set(&w->cluster.servers[i], SERVER_WELL);
    AWAIT(locks_set(surf_locks(w->mounts[1]), b, &lock_b, false, NULL) == ERR_OK);
    char got[3];
    assert_int_equal(read_it(b, 0, got, sizeof got), 3);
    assert_memory_equal(got, "old", 3);
    close_at(w->mounts[0], a);
    close_at(w->mounts[1], b);
    world_end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fcntl_locks_exclude_whoever_leaves),
        cmocka_unit_test(flocks_exclude_whoever_leaves),
        cmocka_unit_test(an_outcome_that_nobody_waited_for_is_undone),
        cmocka_unit_test(what_was_held_before_stays),
        cmocka_unit_test(locks_go_with_their_session),
        cmocka_unit_test(a_lock_is_kept_until_its_contents_are_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
