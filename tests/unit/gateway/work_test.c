/* Threads that do work: all that was taken is done once, and no more is taken than there is room for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/mem.h"
#include "gateway/work.h"

struct job {
    struct work work;
    atomic_uint *done;
    pthread_barrier_t *barrier; /* NULL: it doesn't wait */
};

static void run(struct work *w)
{
    struct job *j = container_of(w, struct job, work);
    if (j->barrier)
        pthread_barrier_wait(j->barrier);
    atomic_fetch_add(j->done, 1);
}

static void test_all_is_done(void **state)
{
    (void)state;
    atomic_uint done = 0;
    struct work_pool *p = work_pool_new(4, 1000);
    struct job jobs[1000];
    for (size_t i = 0; i < ARRAY_SIZE(jobs); i++) {
        jobs[i] = (struct job){.work.run = run, .done = &done};
        assert_true(work_pool_put(p, &jobs[i].work));
    }
    work_pool_free(p);
    assert_int_equal(done, ARRAY_SIZE(jobs));
    work_pool_free(NULL);
}

static void test_threads_wait_side_by_side_and_the_queue_is_bounded(void **state)
{
    (void)state;
    atomic_uint done = 0;
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, NULL, 4); /* three workers and this thread */
    struct work_pool *p = work_pool_new(3, 8);
    struct job jobs[40];
    unsigned taken = 0;
    for (size_t i = 0; i < ARRAY_SIZE(jobs); i++) {
        jobs[i] = (struct job){.work.run = run, .done = &done, .barrier = i < 3 ? &barrier : NULL};
        taken += work_pool_put(p, &jobs[i].work);
    }
    assert_true(taken >= 8 && taken <= 11); /* those that run, and those that wait */
    assert_int_equal(done, 0);
    pthread_barrier_wait(&barrier);
    work_pool_free(p);
    assert_int_equal(done, taken);
    pthread_barrier_destroy(&barrier);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_is_done),
        cmocka_unit_test(test_threads_wait_side_by_side_and_the_queue_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
