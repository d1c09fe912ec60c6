/* Threads on a machine that has no room for them now: they begin when it has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four before it */
#include <cmocka.h>
#include <errno.h>
#include <stdbool.h>

#include "base/log.h"
#include "base/thread.h"

static unsigned refusals;

int __real_pthread_create(pthread_t *ret, const pthread_attr_t *attributes, void *(*run)(void *), void *context);
int __wrap_pthread_create(pthread_t *ret, const pthread_attr_t *attributes, void *(*run)(void *), void *context);
int __wrap_pthread_create(pthread_t *ret, const pthread_attr_t *attributes, void *(*run)(void *), void *context)
{
    if (refusals == 0)
        return __real_pthread_create(ret, attributes, run, context);
    refusals--;
    return EAGAIN;
}

static void *note(void *context)
{
    *(bool *)context = true;
    return NULL;
}

static void it_begins_when_it_can(void **state)
{
    (void)state;
    for (unsigned times = 0; times < 3; times++) {
        pthread_t thread;
        bool has_run = false;
        refusals = times;
        thread_start(&thread, note, &has_run);
        assert_int_equal(refusals, 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_true(has_run);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(it_begins_when_it_can)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
