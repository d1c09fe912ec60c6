/* Connections of the text protocol, with commands that answer whatever the test wants: who doesn't read its answers, or
 * doesn't send the values that it announces, pins no more memory than there is for all, and keeps nobody from his. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "gateway/text.h"
#include "gateway/text_run.h"

#define ANSWER_BYTES (16 * MIB) /* more than the buffers of a socket take */
#define READERS (TEXT_UNREAD_BYTES / ANSWER_BYTES)
#define MORE 4u

struct gateway_session {
    struct gateway_options options;
};

const struct gateway_options *gateway_session_options(const struct gateway_session *s)
{
    return &s->options;
}

void text_run(struct gateway_session *session, const struct text_command *c, struct bytes *answer)
{
    (void)session, (void)c;
    memset(bytes_extend(answer, ANSWER_BYTES), 'x', ANSWER_BYTES);
}

struct fixture {
    atomic_bool crashed;
    _Atomic uint32_t leader;
    struct gateway_session session;
    struct text_server *server;
};

static void open_server(struct fixture *f)
{
    struct err_text why = {""};
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof any;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&any, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&any, &size), 0);
    close(fd);
    f->leader = 1;
    f->session.options = (struct gateway_options){
        .node_id = 1, .crashed = &f->crashed, .leader = &f->leader, .text = {.port = ntohs(any.sin_port)}};
    snprintf(f->session.options.text.host, sizeof f->session.options.text.host, "127.0.0.1");
    enum err e = text_server_open(&f->session, &f->server, &why);
    if (e != ERR_OK)
        fail_msg("%s", why.text);
}

static int connect_to(const struct fixture *f)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons(f->session.options.text.port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), small = 4096;
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static int ask(const struct fixture *f)
{
    int fd = connect_to(f);
    char c;
    assert_int_equal(write(fd, "get k\r\n", 7), 7);
    assert_int_equal(recv(fd, &c, 1, MSG_PEEK), 1); /* it is being answered, and the rest waits in the server */
    return fd;
}

/* How much of its answer comes before the end of the connection, or all of it. */
static size_t read_answer(int fd)
{
    static char buffer[MIB];
    size_t got = 0;
    ssize_t n;
    int large = MIB;
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &large, sizeof large), 0);
    while (got < ANSWER_BYTES && (n = read(fd, buffer, sizeof buffer)) > 0)
        got += (size_t)n;
    return got;
}

static void answers_that_nobody_reads(void **state)
{
    (void)state;
    struct fixture f = {.server = NULL};
    int fds[READERS + MORE];
    size_t whole = 0;
    open_server(&f);
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        fds[i] = ask(&f);
    for (size_t i = ARRAY_SIZE(fds); i-- > 0;) {
        bool is_whole = read_answer(fds[i]) == ANSWER_BYTES;
        if (i >= MORE && !is_whole)
            fail_msg("number %zu was cut off, though others had waited for longer", i);
        whole += is_whole;
        close(fds[i]);
    }
    /* The beginning of each is in buffers of the kernel, so that some more may have had room. */
    assert_in_range(whole, READERS, READERS + MORE - 1);
    int again = ask(&f);
    assert_int_equal(read_answer(again), ANSWER_BYTES);
    close(again);
    text_server_close(f.server);
}

/* A value is awaited on this connection when it is returned: what is no command before it has been answered. */
static int announce(const struct fixture *f)
{
    static const char text[] = "nonsense\r\nset k 0 1048576\r\nbegin";
    int fd = connect_to(f);
    char answer[13];
    assert_int_equal(write(fd, text, sizeof text - 1), sizeof text - 1);
    assert_int_equal(recv(fd, answer, sizeof answer, MSG_WAITALL), sizeof answer);
    return fd;
}

static void values_that_do_not_come(void **state)
{
    (void)state;
    static uint8_t value[LIMIT_KV_VALUE_BYTES];
    struct fixture f = {.server = NULL};
    int fds[TEXT_VALUES_BYTES / LIMIT_KV_VALUE_BYTES];
    char first;
    open_server(&f);
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        fds[i] = announce(&f);
    int fd = announce(&f);
    for (size_t at = strlen("begin"); at < sizeof value;) {
        ssize_t n = write(fd, value, sizeof value - at);
        assert_true(n > 0);
        at += (size_t)n;
    }
    assert_int_equal(recv(fd, &first, 1, MSG_PEEK), 1);
    assert_int_equal(first, 'x'); /* it was not refused */
    assert_int_equal(read_answer(fd), ANSWER_BYTES);
    close(fd);
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        close(fds[i]);
    text_server_close(f.server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(answers_that_nobody_reads),
                                       cmocka_unit_test(values_that_do_not_come)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
