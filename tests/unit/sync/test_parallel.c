/* Everything is done once, on no more threads than asked for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four before it */
#include <cmocka.h>
#include <stdatomic.h>

#include "sync/parallel.h"

#define COUNT 1000u

struct seen {
    atomic_uint times[COUNT];
    atomic_uint running, most;
};

static void run(void *context, size_t i)
{
    struct seen *s = context;
    unsigned now = atomic_fetch_add(&s->running, 1) + 1, most = atomic_load(&s->most);
    while (now > most && !atomic_compare_exchange_weak(&s->most, &most, now))
        continue;
    atomic_fetch_add(&s->times[i], 1);
    atomic_fetch_sub(&s->running, 1);
}

static void each_is_done_once(void **state)
{
    (void)state;
    for (unsigned threads = 1; threads <= SYNC_THREADS_MAX; threads++) {
        for (size_t count = 0; count <= COUNT; count += count < 20 ? 1 : 490) {
            struct seen seen = {0};
            sync_parallel(threads, count, run, &seen);
            for (size_t i = 0; i < COUNT; i++)
                assert_int_equal(atomic_load(&seen.times[i]), i < count);
            assert_true(atomic_load(&seen.most) <= threads);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_is_done_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
