/* leases.h: what mounts may believe without asking, as the leader knows it: its memory, never replicated. Pure: the
 * caller gives the time (clock_boot_ns), one thread.
 *
 * Words. An *attachment* is one stretch of time in which a session keeps what it is told of inodes (attributes, a
 * directory's names, a file's layout) and believes it until it is told otherwise; it begins with empty caches and lasts
 * as long as it is renewed, at most one term after the client *sent* the last renewal. A *grant* makes it a holder of
 * an inode. A *notice* tells it that an inode has changed; it answers with an acknowledgement when it believes nothing
 * of it any more.
 *
 * How a change becomes visible. It is applied; the other holders of the inodes that it wrote are noticed; until all of
 * them have acknowledged, or their terms are over, nobody is told what depends on it: not who made it, not who reads
 * one of these inodes. So the change happens, for all mounts, at the moment of the last acknowledgement. Nobody is
 * granted an inode meanwhile. (Coherence after the change is in the log, not before it is proposed: which inodes a
 * command writes is then known and not guessed.)
 *
 * What waits for a client that fetches nothing is bounded. A change is always noticed, since it takes the grant with
 * it: there are no more of these than grants. Beyond LEASE_WAITING_MAX all else ends the attachment, which is not
 * renewed then: within a term the client has dropped everything, and begins anew; but for orphans, which are told when
 * there is room again, since a tree that is removed has any number of them.
 *
 * A new leader knows no holders: it tells nobody anything before each session that keeps caches has attached anew, or
 * one term has passed since it was elected (grace). The old leader renewed only what it was asked while it was the
 * leader, so no older attachment lives longer.
 *
 * Gray and Cheriton, "Leases" (SOSP 1989); the wait of a new server is theirs too. */
#pragma once

#include "base/list.h"
#include "base/map.h"
#include "meta/types.h"

#define LEASE_ANSWER_NS INT64_C(1000000000) /* a notice not acknowledged for so long: no renewal any more */
#define LEASE_GRANTS_MAX (4u << 20)         /* inodes of one attachment; then it has to begin anew */
#define LEASE_NOTICES_MAX 4096u             /* in one answer */
#define LEASE_WAITING_MAX 65536u            /* notices of one attachment that it has not acknowledged */

/* Somebody who waits; ready is called once, from leases_release. */
struct lease_waiter {
    struct list_node link;
    void (*ready)(struct lease_waiter *w);
};

struct lease_options {
    int64_t drift_ns; /* added to each term on this side: clocks do not run equally fast */
    void *context;
    /* There are notices that leases_take would give. */
    void (*noticed)(void *context, uint64_t session);
    /* leases_release should be called, soon. */
    void (*wake)(void *context);
    /* leases_orphaned had no room for all, and has some again. Called in leases_acknowledge, and may call it. */
    void (*room)(void *context, uint64_t session);
};

struct leases;
struct leases *leases_new(const struct lease_options *options);
void leases_free(struct leases *l); /* there must be no waiters */

/* This member leads from now on, elected at elected_ns; sessions that keep caches are then told by leases_expect. */
void leases_begin(struct leases *l, uint64_t term, int64_t elected_ns, int64_t now_ns);
void leases_expect(struct leases *l, uint64_t session);
/* It doesn't lead any more: everything is forgotten, and all who wait are ready. */
void leases_end(struct leases *l);

/* The client has empty caches; it numbers these requests, so that one that comes late does no harm. keeps: it is
 * granted what it asks for. Its new attachment, or 0: it has asked again since. */
uint64_t leases_attach(struct leases *l, uint64_t session, uint64_t number, bool keeps, int64_t now_ns);
/* False: it is none any more; it must drop everything and attach anew. */
bool leases_renew(struct leases *l, uint64_t session, uint64_t attachment, int64_t now_ns);
void leases_detach(struct leases *l, uint64_t session); /* the session has ended */

/* The session's attachment becomes a holder of these inodes; none of them has a change that waits. writer: it has the
 * file open for writing and wants to know who else looks at it. */
void leases_grant(struct leases *l, uint64_t session, const uint64_t *inos, size_t count, bool writer,
                  struct meta_grant *ret);
/* The entry at `index`, a command of `session`, wrote this inode. */
void leases_changed(struct leases *l, uint64_t session, uint64_t index, uint64_t ino, int64_t now_ns);

/* A command of `session` has named its bytes by other blocks: holders are told, and nobody waits for them. */
void leases_rewritten(struct leases *l, uint64_t session, uint64_t ino);

/* Tells the session that the inode is unlinked (orphans.h). False: it is not attached, or has too much to read. */
bool leases_orphaned(struct leases *l, uint64_t session, uint64_t ino);

/* Whether nobody may be told of this now: a new leader's grace time, or one of the inodes has a change of an entry up
 * to `index` that waits. Then w is ready when that may be over, and has to ask again. NULL: who asks anyway. */
bool leases_must_wait(struct leases *l, const uint64_t *inos, size_t count, uint64_t index, int64_t now_ns,
                      struct lease_waiter *w);

/* Whether somebody still believes an older state of it. */
bool leases_is_changing(const struct leases *l, uint64_t ino);

/* Notices with numbers above `after`, oldest first. Returns how many; *ret_seq is the number of the last one. */
unsigned leases_take(const struct leases *l, uint64_t session, uint64_t after, struct meta_notice *to, unsigned max,
                     uint64_t *ret_seq);
bool leases_is_attached(const struct leases *l, uint64_t session, uint64_t attachment);
/* All notices up to this number have been heeded. */
void leases_acknowledge(struct leases *l, uint64_t session, uint64_t attachment, uint64_t seq, int64_t now_ns);

void leases_tick(struct leases *l, int64_t now_ns);
int64_t leases_deadline_ns(const struct leases *l);
void leases_release(struct leases *l); /* calls ready of who need not wait any more */

struct leases_status {
    size_t attachments, held_inodes, waiting_changes;
    uint64_t granted, noticed, expired; /* since the start */
    bool grace;
};
void leases_status(const struct leases *l, int64_t now_ns, struct leases_status *ret);
