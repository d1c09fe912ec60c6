/* fixture.h: a state machine in a fresh directory, initialised, with one session; and commands in one line each. What
 * they return is the reply; an operating error ends the test. */
#pragma once

#include "base/arena.h"
#include "meta/meta.h"

#define FIXTURE_TIME_NS 1000000000000 /* of the first command; one second more for each after it */
#define FIXTURE_STEP_NS 1000000000

struct fixture {
    char path[64];
    struct meta *meta;
    uint64_t index;     /* applied */
    uint32_t level_max; /* of the program, from the next reopening on; 0: its own */
    int64_t time_ns;
    uint64_t session, seq, acked; /* of the session that one-line commands use; seq is the last one used */
    struct arena arena;           /* of query replies */
};

void fixture_open(struct fixture *f);
/* A directory without any command in it. */
void fixture_open_empty(struct fixture *f);
void fixture_reopen(struct fixture *f);
/* Verifies the rows, closes and removes the directory. */
void fixture_close(struct fixture *f);
void fixture_remove(struct fixture *f); /* the directory only */
/* Fails the test with the reason when the rows contradict one another. */
void fixture_verify(struct fixture *f);

/* Stamps index and time; the rest as given. */
struct meta_reply fixture_apply(struct fixture *f, struct meta_command c);
/* The same as the next request of the fixture's session, everything before it acknowledged. */
struct meta_reply fixture_call(struct fixture *f, struct meta_command c);
struct meta_reply fixture_init(struct fixture *f);
struct meta_reply fixture_open_session(struct fixture *f, unsigned nonce);
struct meta_reply fixture_end_session(struct fixture *f, uint64_t session);

struct meta_reply make_file(struct fixture *f, uint64_t parent, const char *name);
struct meta_reply make_directory(struct fixture *f, uint64_t parent, const char *name);
struct meta_reply make_symlink(struct fixture *f, uint64_t parent, const char *name, const char *target);
struct meta_reply do_link(struct fixture *f, uint64_t ino, uint64_t parent, const char *name);
struct meta_reply do_unlink(struct fixture *f, uint64_t parent, const char *name);
/* The session has the inode open. */
struct meta_reply do_rmdir(struct fixture *f, uint64_t parent, const char *name);
struct meta_reply do_rename(struct fixture *f, uint64_t parent, const char *name, uint64_t new_parent,
                            const char *new_name, uint32_t flags);
struct meta_reply do_truncate(struct fixture *f, uint64_t ino, uint64_t size);
/* Unlinks, and releases what is an orphan then; the reply of the unlink. */
struct meta_reply do_remove(struct fixture *f, uint64_t parent, const char *name);
struct meta_reply do_release(struct fixture *f, uint64_t ino);
/* Bytes [offset, offset + length) become those of block number `block` from block_offset; block 0: a hole. */
struct meta_reply do_write(struct fixture *f, uint64_t ino, uint64_t offset, uint64_t length, uint32_t block,
                           uint32_t block_offset);
struct meta_extent extent_of(uint64_t offset, uint64_t length, uint32_t block, uint32_t block_offset);
/* Until nothing is queued; returns how many commands it took. */
unsigned reap_all(struct fixture *f);

struct meta_query_reply fixture_query(struct fixture *f, struct meta_query q);
/* A copy of the state as it is now. */
enum err checkpoint(struct fixture *f, const char *path, struct err_text *why);
struct meta_query_reply do_lookup(struct fixture *f, uint64_t parent, const char *name);
struct meta_query_reply do_getattr(struct fixture *f, uint64_t ino);
struct meta_query_reply do_layout(struct fixture *f, uint64_t ino);

#define assert_status(reply, expected) assert_string_equal(err_name((reply).status), err_name(expected))
