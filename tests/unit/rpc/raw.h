/* raw.h: frames over a plain blocking socket, for tests that must say what no client or server of ours would. */
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "rpc/frame.h"

static inline struct bytes raw_frame(enum frame_type type, uint64_t id, uint16_t method, struct slice message,
                                     struct slice payload)
{
    struct bytes b = {0};
    struct frame_header h = {.type = type,
                             .id = id,
                             .method = method,
                             .message_size = (uint32_t)message.size,
                             .payload_size = (uint32_t)payload.size};
    frame_header_encode(&h, message, bytes_extend(&b, FRAME_HEADER_SIZE));
    bytes_append(&b, message);
    bytes_append(&b, payload);
    return b;
}

static inline void raw_set_nodelay(int fd)
{
    int on = 1;
    assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
}

static inline int raw_connect(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    raw_set_nodelay(fd);
    return fd;
}

/* False when the other side has closed. */
static inline bool raw_send(int fd, struct slice s)
{
    while (s.size > 0) {
        ssize_t sent = send(fd, s.data, s.size, MSG_NOSIGNAL);
        if (sent < 0)
            return false;
        s = slice_sub(s, (size_t)sent, s.size - (size_t)sent);
    }
    return true;
}

static inline void raw_send_frame(int fd, enum frame_type type, uint64_t id, uint16_t method, struct slice message,
                                  struct slice payload)
{
    struct bytes b = raw_frame(type, id, method, message, payload);
    assert_true(raw_send(fd, bytes_slice(&b)));
    bytes_free(&b);
}

/* The next frame, or false when the connection is closed; fails the test after 20 s. */
static inline bool raw_receive(int fd, struct frame_parser *p, struct frame *ret)
{
    for (;;) {
        bool ready;
        assert_int_equal(frame_parser_next(p, ret, &ready, NULL), ERR_OK);
        if (ready)
            return true;
        struct pollfd polled = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&polled, 1, 20000), 1);
        size_t room;
        uint8_t *to = frame_parser_room(p, 65536, &room);
        ssize_t got = recv(fd, to, room, 0);
        if (got <= 0)
            return false;
        frame_parser_fed(p, (size_t)got);
    }
}

/* A listening socket that does what a test wants; backlog 1. */
static inline int raw_listen(uint16_t *ret_port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    *ret_port = ntohs(at.sin_port);
    return fd;
}
