/* fixture.h: a server on a loop and a thread of its own, for tests of what talks to it. Thread-safe. */
#pragma once

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "base/list.h"
#include "rpc/server.h"

enum fixture_method {
    FIXTURE_ECHO = 1, /* message and payload come back */
    FIXTURE_FAIL,     /* ERR_EXIST and the message "detail" */
    FIXTURE_HOLD,     /* is answered as ECHO, but only with FIXTURE_RELEASE */
    FIXTURE_RELEASE,  /* answers all that are held, the last first */
    FIXTURE_BIG,      /* message: u32 size; a payload of that size, byte i is fixture_byte(i) */
    FIXTURE_SUM,      /* u64 sum of the payload's bytes */
    FIXTURE_SINK,     /* empty reply */
    FIXTURE_SOURCE,   /* message: u32 size; a payload of that size, whatever is in it */
    FIXTURE_DROP,     /* drops all connections, this request's too */
    FIXTURE_DROP_OLD, /* message: u64 clock_boot_ns; drops those that were there before */
    FIXTURE_NOTE,     /* ONEWAY: counted */
    FIXTURE_FULL,     /* message: u8, whether unsent replies are too much */
};

struct fixture {
    pthread_t thread;
    uv_loop_t loop;
    uv_async_t wake;
    struct rpc_server *server;
    uint16_t port;
    struct rpc_address address;
    struct list held; /* loop thread only */
    atomic_uint held_count, note_count, close_count, request_count;
    atomic_uint reply_count, failed_count; /* as the server tells of them */
    atomic_ullong last_note;               /* first 8 bytes of the last one's message */
    atomic_bool drop, stop, release;
    bool refuse_hello;
};

#define FIXTURE_IMPORTANT "administrator" /* whose HELLO this is counts as important */

static inline uint8_t fixture_byte(size_t i)
{
    return (uint8_t)(i * 31 + (i >> 11));
}

/* port 0 picks one. */
void fixture_start(struct fixture *f, uint16_t port);
void fixture_start_refusing(struct fixture *f); /* closes whoever says HELLO */
void fixture_start_with_pumps(struct fixture *f, const struct rpc_pump_factory *pumps);
void fixture_start_hasty(struct fixture *f, int64_t hello_ns, int64_t frame_ns); /* with these time-outs */
void fixture_start_narrow(struct fixture *f, size_t incomplete_bytes); /* with so much memory for incomplete frames */
void fixture_start_tight(struct fixture *f, size_t request_bytes);     /* with so much memory for requests */
void fixture_start_terse(struct fixture *f, size_t backlog_bytes);     /* with so much memory for unsent replies */
void fixture_start_small(struct fixture *f, unsigned connections);     /* with room for so many */
void fixture_drop(struct fixture *f);                                  /* drops all connections, soon */
void fixture_release(struct fixture *f);                               /* as FIXTURE_RELEASE, soon */
void fixture_stop(struct fixture *f);

/* Until the condition holds; fails the test after 20 s. */
#define AWAIT(condition)                                                                                               \
    do {                                                                                                               \
        int64_t until_ = clock_boot_ns() + 20 * NS_PER_S;                                                              \
        while (!(condition)) {                                                                                         \
            assert_true(clock_boot_ns() < until_);                                                                     \
            sched_yield();                                                                                             \
        }                                                                                                              \
    } while (0)
