/* durable.h: unconditional puts that are durable before they are ordered (S2.8 to S2.13; docs: ARCHITECTURE.md). What
 * the files of replica/ share about them. Private to replica/.
 *
 *   durable.c   a voter takes a put into its durability log, and says so when it is on disk
 *   pending.c   the leader's puts that are not applied yet, and who waits for them
 *   gather.c    a new leader asks a majority for their logs and orders what was acknowledged
 *
 * What holds, and what each rule is for:
 *   1. A voter that says "durable in term T" has the put on disk, and was in T when it said so. Once it has told its
 *      log to the leader of T' > T, with T' on disk, it says nothing of T any more: what was acknowledged is told.
 *   2. The leader says so only of what raft has taken into its log in T, in front of any change of members. So whatever
 *      it orders later is behind it.
 *   3. A leader gives nothing else to raft before the recovered puts, and reads no key before they are applied.
 *   4. A read of a key with a put that is not applied waits for that put, a follower's read for all of them. */
#pragma once

#include "durability/log.h"
#include "durability/quorum.h"
#include "replica/replica.h"

enum recovery {
    RECOVERY_NONE,    /* this member does not lead */
    RECOVERY_GATHERS, /* waits for the logs of a majority, or to order again what could not be: nothing goes to raft */
    RECOVERY_ORDERS,  /* what was found is on its way through raft */
    RECOVERY_DONE
};

struct durable {
    struct durability_log *log; /* NULL: this member has none */
    struct list waiting;        /* struct replica_durable: for the disk, in the order of their numbers */
    struct replica_work work;
    struct durability_write *write; /* under way */
    uint64_t taken, acknowledged, recovered;

    /* Of the leader. */
    enum recovery recovery;
    uint64_t term; /* whose recovery it is */
    struct arena arena;
    struct durability_copy copies[LIMIT_NODES];
    uint32_t copied[LIMIT_NODES]; /* from whom */
    unsigned copy_count, copies_needed;
    unsigned ordering;      /* recovered puts that are not applied yet */
    bool ask_now;           /* the next turn asks for logs, or orders what they say */
    struct list pending;    /* struct pending_put, in the order of the log */
    struct list ready;      /* struct replica_query, by read.link: what they waited for is applied */
    struct list ready_asks; /* struct held_ask: the same for followers' reads */

    /* Of a voter: who has asked for its log before its term was on disk. 0: nobody. */
    uint32_t asked_by;
    uint64_t asked_term, asked_number; /* the persist number to wait for */
};

/* ---- durable.c ---- */
enum err durable_open(struct replica *r, struct err_text *why) MUST_USE;
void durable_close(struct replica *r);
/* Whoever waits ends with this status. */
void durable_fail(struct replica *r, enum err status);
void durable_turn(struct replica *r);
void durable_second(struct replica *r);
void durable_applied(struct replica *r, const struct meta_command *c);
void durable_ordered(struct replica *r, uint64_t session, uint64_t seq); /* a pending put has been applied */
void durable_installed(struct replica *r);                               /* the state is another one */
void durable_drop_applied(struct replica *r, unsigned max);

/* ---- pending.c ---- */
/* The leader puts it into its order. */
void pending_add(struct replica *r, struct slice command);
/* Whether raft has it in its log; what has been applied is not pending any more. */
bool pending_is_ordered(const struct replica *r, uint64_t session, uint64_t seq);
/* True: the query waits, or has ended. */
bool pending_holds_query(struct replica *r, struct replica_query *q);
/* A follower's question how far it must be. True: it is asked again later, or lost. */
bool pending_holds_ask(struct replica *r, const struct raft_message *m);
void pending_turn(struct replica *r);

/* ---- gather.c ---- */
void gather_role_changed(struct replica *r); /* in the middle of a step */
void gather_turn(struct replica *r);
void gather_soon(struct replica *r); /* several times a second */
void gather_second(struct replica *r);
void gather_persisted(struct replica *r);
void gather_receive(struct replica *r, const struct replica_message *m);
/* Nothing may be given to raft now. */
bool gather_holds(const struct replica *r);
