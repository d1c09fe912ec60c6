/* Names, classes and numbers of errors, CHECK, and what RocksDB says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/rocks.h"

static const struct {
    enum err e;
    unsigned number;
    enum err_class class;
    const char *name;
} rows[] = {
#define X(name, number, class, text) {ERR_##name, number, ERR_CLASS_##class, #name},
    ERR_LIST(X)
#undef X
};

static void test_every_error_is_known(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        assert_int_equal(err_from_wire(rows[i].number), rows[i].e);
        assert_int_equal(err_class(rows[i].e), rows[i].class);
        assert_string_equal(err_name(rows[i].e), rows[i].name);
        assert_true(strlen(err_message(rows[i].e)) > 0);
        for (size_t k = 0; k < i; k++)
            assert_int_not_equal(rows[i].number, rows[k].number);
    }
}

static void test_unknown_numbers(void **state)
{
    (void)state;
    assert_int_equal(err_from_wire(39), ERR_IO);
    assert_int_equal(err_from_wire(65535), ERR_IO);
    assert_string_equal(err_name((enum err)39), "UNKNOWN");
    assert_int_equal(err_class((enum err)39), ERR_CLASS_FINAL);
}

static void test_errno(void **state)
{
    (void)state;
    static const int kept[] = {0,          EPERM, ENOENT, EEXIST, ENOTDIR, EISDIR, ENOTEMPTY, EINVAL, ENAMETOOLONG,
                               ENOSPC,     EFBIG, EMLINK, EXDEV,  EACCES,  ESTALE, ENODATA,   ERANGE, EROFS,
                               EOPNOTSUPP, EBUSY, EBADF,  ELOOP,  EINTR,   EDEADLK};
    for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
        assert_int_equal(err_to_errno(err_from_errno(kept[i])), kept[i]);
    assert_int_equal(err_from_errno(ECONNREFUSED), ERR_UNREACHABLE);
    assert_int_equal(err_from_errno(ECONNRESET), ERR_CLOSED);
    assert_int_equal(err_from_errno(12345), ERR_IO);
    assert_int_equal(err_to_errno(ERR_CORRUPT), EIO);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        assert_true((err_to_errno(rows[i].e) == 0) == (rows[i].e == ERR_OK));
}

static void test_explain(void **state)
{
    (void)state;
    struct err_text why;
    assert_int_equal(err_explain(&why, ERR_NOSPC, "only %d left", 3), ERR_NOSPC);
    assert_string_equal(why.text, "only 3 left");
    assert_int_equal(err_explain(NULL, ERR_NOSPC, "nobody asks"), ERR_NOSPC);
    assert_int_equal(err_explain(&why, ERR_IO, "%0300d", 7), ERR_IO);
    assert_int_equal(strlen(why.text), sizeof why.text - 1);
}

static enum err try_twice(enum err first, int *calls)
{
    ++*calls;
    TRY(first);
    ++*calls;
    return ERR_OK;
}

static void test_try(void **state)
{
    (void)state;
    int calls = 0;
    assert_int_equal(try_twice(ERR_BUSY, &calls), ERR_BUSY);
    assert_int_equal(calls, 1);
    assert_int_equal(try_twice(ERR_OK, &calls), ERR_OK);
    assert_int_equal(calls, 3);
}

static void test_check_aborts_and_says_why(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        signal(SIGABRT, SIG_DFL);
        int two = 2;
        CHECK(two == 2);
        CHECK(two == 3);
        _exit(0);
    }
    close(ends[1]);
    char text[8192] = "";
    size_t size = 0;
    ssize_t got;
    while ((got = read(ends[0], text + size, sizeof text - 1 - size)) > 0)
        size += (size_t)got;
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_non_null(strstr(text, "check failed: two == 3"));
}

static void test_rocks_messages(void **state)
{
    (void)state;
    static const struct {
        const char *message;
        enum err e;
    } cases[] = {
        {"Corruption: block checksum mismatch", ERR_CORRUPT},
        {"IO error: While lock file: /x/LOCK: Resource temporarily unavailable", ERR_LOCKED},
        {"IO error: lock hold by current process, acquire time 1", ERR_LOCKED},
        {"IO error: No space left on device: While appending", ERR_NOSPC},
        {"IO error: While appending to file: /x/000008.sst: No space left on device", ERR_NOSPC},
        {"IO error: while reading a block: Input/output error", ERR_IO},
        {"IO error: While open a file: /x/corrupt checksum lock file/CURRENT: No such file or directory", ERR_IO},
    };
    struct err_text why;
    assert_int_equal(rocks_result(NULL, "open", &why), ERR_OK);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(rocks_result(strdup(cases[i].message), "open", &why), cases[i].e);
        assert_non_null(strstr(why.text, cases[i].message));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_error_is_known),
        cmocka_unit_test(test_unknown_numbers),
        cmocka_unit_test(test_errno),
        cmocka_unit_test(test_explain),
        cmocka_unit_test(test_try),
        cmocka_unit_test(test_check_aborts_and_says_why),
        cmocka_unit_test(test_rocks_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
