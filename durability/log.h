/* log.h: a member's durability log: unconditional puts that are on its disk before they have a place in the order of
 * the raft log. What has been applied leaves it.
 *
 * On disk it is a log of raftlog/ in a directory of its own, with what that does about torn writes and turned bits; its
 * entries are records (log.c). A record tells from which one on the log counts, so that what left it needs no write.
 *
 * Bounded: it counts from its oldest live put on, at most DURABILITY_PUTS_MAX records and DURABILITY_LIVE_BYTES. One
 * that stays is written again at the end when it holds others up, and keeps its place in the order. What is not on its
 * way to the disk yet is as much at most, live or not.
 *
 * Threads: durability_log_write on any, one at a time; all else on the owner's. An error of a write is final. */
#pragma once

#include "durability/merge.h"
#include "raftlog/file_table.h"

#define DURABILITY_KEYS_MAX 8u /* of one put */
#define DURABILITY_SEGMENT_BYTES (MIB + 256 * KIB)

struct durability_log;
struct durability_log_options {
    const struct file_table *files;
    const char *path; /* a directory of its own */
    uint8_t identity[16];
};

/* Opens or creates. ERR_CORRUPT and others with why: as raftlog_open. */
enum err durability_log_open(const struct durability_log_options *options, struct durability_log **ret,
                             struct err_text *why) MUST_USE;
/* No write may be under way. NULL is fine. */
void durability_log_close(struct durability_log *l);

/* keys: hashes of the keys that it puts. exclusive: ERR_EXIST when a live put has one of them. ERR_EXIST also when it
 * is there already (also after it was taken in an earlier term); ERR_TOO_BIG; ERR_BUSY_NOW: full. *ret_number: it is
 * durable when durability_log_written says so of this. The command is copied. */
enum err durability_log_add(struct durability_log *l, const struct durability_put *put, const uint64_t *keys,
                            unsigned key_count, bool exclusive, uint64_t *ret_number) MUST_USE;
/* It was applied, or never will be. */
void durability_log_remove(struct durability_log *l, uint64_t session, uint64_t seq);
/* The recovery of this term is complete: what was taken before it goes. */
void durability_log_settle(struct durability_log *l, uint64_t term);
uint64_t durability_log_settled(const struct durability_log *l);
unsigned durability_log_count(const struct durability_log *l);
/* The live puts, in their order; commands are copied into the arena. */
void durability_log_copy(const struct durability_log *l, struct arena *a, struct durability_copy *ret);

/* ---- writing ---- */

struct durability_write;
/* What was added since the last one. NULL: nothing, or one is under way. */
struct durability_write *durability_log_write_begin(struct durability_log *l);
/* One write and one sync, on any thread. */
void durability_log_write(struct durability_log *l, struct durability_write *w);
enum err durability_log_write_end(struct durability_log *l, struct durability_write *w) MUST_USE;
uint64_t durability_log_written(const struct durability_log *l); /* up to this number it is durable */
