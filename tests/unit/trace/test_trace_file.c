/* The file that a trace is appended to: one trace per process, so each case is one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "trace/trace.h"

#define LINE "{\"TracerIdentity\":\"node1\",\"TraceID\":0,\"Tag\":\"A\",\"Body\":{},\"VectorClock\":{\"node1\":7}}\n"

static char path[64];

static int set_up(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "/tmp/test_trace_XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return unlink(path);
}

static void store(const char *content, size_t size)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(content, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static size_t load(char *to, size_t room)
{
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    size_t size = fread(to, 1, room - 1, f);
    fclose(f);
    to[size] = 0;
    return size;
}

/* Opens it and tells of one event. */
static enum err trace_once(void)
{
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct err_text why;
        enum err e = trace_open(path, "node1", &why);
        if (e == ERR_OK)
            trace_event(0, "B", "{}");
        _exit((int)e);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return (enum err)WEXITSTATUS(status);
}

static void goes_on(const char *content, const char *expected)
{
    char found[1024];
    store(content, strlen(content));
    assert_int_equal(trace_once(), ERR_OK);
    (void)load(found, sizeof found);
    assert_non_null(strstr(found, expected));
    assert_true(found == strstr(found, "{\"TracerIdentity\""));
}

static void test_goes_on(void **state)
{
    (void)state;
    goes_on("", "{\"node1\":1}");
    goes_on(LINE, "}\n{\"TracerIdentity\":\"node1\",\"TraceID\":0,\"Tag\":\"B\"");
    goes_on(LINE, "{\"node1\":8}");
    goes_on(LINE "{\"Tracer", "}\n{\"TracerIdentity\":\"node1\",\"TraceID\":0,\"Tag\":\"B\"");
    goes_on(LINE "...", "{\"node1\":8}"); /* what a power cut leaves may be anything */
    goes_on("{\"TracerIdentity\":\"node1\",\"Tra", "{\"node1\":1}");
}

/* It may be any file that somebody has named by mistake. */
static void stays(const char *content, size_t size)
{
    static char found[200000];
    store(content, size);
    assert_int_equal(trace_once(), ERR_INVAL);
    assert_int_equal(load(found, sizeof found), size);
    assert_memory_equal(found, content, size);
}

static void test_another_file_stays_as_it_is(void **state)
{
    (void)state;
    static char large[100000];
    memset(large, 'x', sizeof large);
    stays("a list\nwithout an end", 21);
    stays("one word", 8);
    stays(large, sizeof large);
    memcpy(large, "a\n", 2);
    stays(large, sizeof large);
    memcpy(large + sizeof large - 10, "\n", 1);
    stays(large, sizeof large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_goes_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_another_file_stays_as_it_is, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
