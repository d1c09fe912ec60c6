/* Log lines: whole, one per event, clean, in their level. stderr is a pipe meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define LOG_MODULE "test"
#include "base/log.h"

static int saved_stderr, pipe_in;

static void capture_begin(void)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_true(fcntl(ends[1], F_SETPIPE_SZ, 1 << 20) > 0);
    fflush(stderr);
    saved_stderr = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    pipe_in = ends[0];
}

static size_t capture_end(char *text, size_t capacity)
{
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    size_t size = 0;
    ssize_t got;
    while ((got = read(pipe_in, text + size, capacity - 1 - size)) > 0)
        size += (size_t)got;
    close(pipe_in);
    text[size] = 0;
    return size;
}

static void test_line(void **state)
{
    (void)state;
    char text[4096];
    log_set_name("surfd[2]");
    capture_begin();
    log_info("node %d is %s\n\x1b[31m", 3, "up");
    size_t size = capture_end(text, sizeof text);
    assert_int_equal(text[size - 1], '\n');
    assert_ptr_equal(strchr(text, '\n'), text + size - 1);
    int year;
    char rest[256];
    assert_int_equal(sscanf(text, "%4d-%*2d-%*2dT%*2d:%*2d:%*2d.%*3dZ %255[^\n]", &year, rest), 2);
    assert_string_equal(rest, "surfd[2] INFO test: node 3 is up??[31m");
    log_set_name("surf");
}

static void test_levels(void **state)
{
    (void)state;
    char text[4096];
    capture_begin();
    log_debug("hidden");
    log_set_level(LOG_WARN);
    log_info("hidden too");
    log_error("seen");
    log_set_level(LOG_INFO);
    capture_end(text, sizeof text);
    assert_null(strstr(text, "hidden"));
    assert_non_null(strstr(text, "ERROR test: seen"));
}

static void test_long_lines_are_cut(void **state)
{
    (void)state;
    static char text[16384], message[8000];
    memset(message, 'm', sizeof message - 1);
    capture_begin();
    log_info("%s", message);
    log_info("next");
    capture_end(text, sizeof text);
    char *end = strchr(text, '\n');
    assert_non_null(end);
    assert_in_range(end - text, 1000, 3000);
    assert_non_null(strstr(end, "test: next\n"));
}

static void *log_some(void *unused)
{
    (void)unused;
    for (int i = 0; i < 200; i++)
        log_info("line %d of a thread", i);
    return NULL;
}

static void test_threads_do_not_mix_lines(void **state)
{
    (void)state;
    static char text[1 << 20];
    pthread_t threads[4];
    capture_begin();
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, log_some, NULL), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    capture_end(text, sizeof text);
    int lines = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        char *rest = strstr(line, " surf INFO test: line ");
        assert_non_null(rest);
        assert_string_equal(strchr(rest + 22, ' '), " of a thread");
        lines++;
    }
    assert_int_equal(lines, 800);
}

/* The last one: there is no way back to stderr. */
static void test_system_log(void **state)
{
    (void)state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "/tmp/test_log_%d", (int)getpid());
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    log_to_system(address.sun_path);
    log_info("nobody listens yet");
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    log_warn("inode %d\nis lost", 3);
    char text[512], expected[128];
    ssize_t got = recv(fd, text, sizeof text - 1, 0);
    unlink(address.sun_path);
    assert_true(got > 0);
    text[got] = 0;
    assert_int_equal(strncmp(text, "<28>", 4), 0); /* daemon, warning */
    snprintf(expected, sizeof expected, " surf[%d]: test: inode 3?is lost", (int)getpid());
    assert_string_equal(text + got - strlen(expected), expected);
    for (int i = 0; i < 10000; i++) /* who listens may have stopped: nothing waits for it */
        log_warn("line %d", i);
    close(fd);
}

static void test_pace(void **state)
{
    (void)state;
    struct log_pace pace = {0};
    int64_t now_ns = 5 * LOG_PACE_NS;
    for (unsigned i = 0; i < 100000; i++)
        assert_int_equal(log_pace_allows(&pace, now_ns + i), i < LOG_PACE_LINES);
    assert_int_equal(log_pace_left_out(&pace, now_ns + LOG_PACE_NS - 1), 0);
    /* Nothing is lost when the next line comes before it was told. */
    assert_false(log_pace_allows(&pace, now_ns + LOG_PACE_NS));
    assert_int_equal(log_pace_left_out(&pace, now_ns + LOG_PACE_NS), 100001 - LOG_PACE_LINES);
    assert_int_equal(log_pace_left_out(&pace, now_ns + 9 * LOG_PACE_NS), 0);
    for (unsigned i = 0; i < 3 * LOG_PACE_LINES; i++)
        assert_int_equal(log_pace_allows(&pace, now_ns + 2 * LOG_PACE_NS), i < LOG_PACE_LINES);
    assert_int_equal(log_pace_left_out(&pace, now_ns + 4 * LOG_PACE_NS), 2 * LOG_PACE_LINES);
    /* Slow ones are all written. */
    for (int64_t i = 0; i < 100; i++)
        assert_true(log_pace_allows(&pace, now_ns + (6 + i) * LOG_PACE_NS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_long_lines_are_cut),
        cmocka_unit_test(test_threads_do_not_mix_lines),
        cmocka_unit_test(test_system_log),
        cmocka_unit_test(test_pace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
