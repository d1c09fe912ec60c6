/* known.h: what this mount has been told of names and attributes and may believe without asking (replica/leases.h):
 * a cache of the process, and the word on how long the kernel may keep what it is told.
 *
 * Believed is what was granted under the present attachment, while that lasts, and no notice has named since. Two
 * answers about one inode may overtake each other on their way: the one of the higher index counts, and nothing is
 * learned of an inode from before this mount's own last change of it.
 *
 * Answers to the kernel. Whoever is about to tell the kernel something that it may keep does so between
 * known_answer_begin and known_answer_end, with the times that known_* give there. A notice is heeded outside of all
 * such stretches: either the answer was given before, and the kernel is told to drop it, or it sees that the inode is
 * not believed any more.
 *
 * Thread-safe. Holds no lock over a call. */
#pragma once

#include "base/arena.h"
#include "meta/types.h"

struct known;

struct known_options {
    size_t inodes_max; /* more are forgotten, the ones that were not used for longest first; and as many names */
    bool no_ahead;     /* each name is asked for by itself (client/meta/look_ahead.h) */
    /* What the kernel may have been told of the inode is not so any more. names: of a directory, its names neither.
     * Called without locks held, by whoever heeds a notice or makes a change; must not wait for a FUSE request.
     * may_believe: of its attributes; else only what the kernel has copied of a directory is concerned. */
    void (*forget_attr)(void *context, uint64_t ino, bool may_believe);
    void (*forget_names)(void *context); /* of all directories */
    void (*detached)(void *context);     /* after them: nothing that was told is so any more */
    void *context;
};

struct known *known_new(const struct known_options *options);
void known_free(struct known *k);

/* ---- the lease ---- */

/* A new attachment, believed until until_ns (clock_boot_ns). */
void known_attach(struct known *k, uint64_t attachment, int64_t until_ns);
void known_renew(struct known *k, uint64_t attachment, int64_t until_ns);
/* Nothing is believed any more, and the kernel has been told so when it returns. */
void known_detach(struct known *k);
/* These inodes are not believed any more, and the kernel has been told so when it returns. seq: of the last notice. */
void known_heed(struct known *k, const struct meta_notice *notices, unsigned count, uint64_t seq);

/* ---- what was told ---- */

void known_learn_reply(struct known *k, const struct meta_command *c, const struct meta_reply *r);
void known_learn_query(struct known *k, const struct meta_query *q, const struct meta_query_reply *r);
/* Around an own command, from before it is sent until its reply has been learned: others may see it before we do, so
 * what it names is asked of the metastore meanwhile. */
void known_change_begin(struct known *k, const struct meta_command *c);
void known_change_end(struct known *k, const struct meta_command *c);
/* A command whose outcome is not known: until known_certain nothing is believed of the inodes that it names. */
void known_uncertain(struct known *k, const struct meta_command *c);
void known_certain(struct known *k, const struct meta_command *c);

/* ---- what is believed ---- */

enum known_name { KNOWN_NOT, KNOWN_ABSENT, KNOWN_THERE }; /* NOT: the metastore has to be asked */
/* THERE: *ret are the attributes. NOT: *ret_ahead is how many entries should be asked for along with the name, in the
 * query that known_learn_query is then told of, and *ret_cookie behind which (its max_count and cookie). */
enum known_name known_lookup(struct known *k, uint64_t parent, struct slice name, struct meta_attr *ret,
                             unsigned *ret_ahead, uint64_t *ret_cookie);
/* THERE: *ret is the value, in the arena. */
enum known_name known_xattr(struct known *k, uint64_t ino, struct slice name, struct arena *arena, struct slice *ret);
bool known_attr(struct known *k, uint64_t ino, struct meta_attr *ret);

void known_answer_begin(struct known *k);
void known_answer_end(struct known *k);
/* How long from now the kernel may keep the inode's attributes, or that a name leads to this inode; 0: it must ask
 * again each time, as of a file that another mount has changed in the last 2 s: to take back what it believes costs
 * more, since the kernel then also drops answers that are on their way to it (fusefs/invalidate.h). *attr is replaced
 * by what is believed. Counts as told. */
int64_t known_attr_ns(struct known *k, struct meta_attr *attr);
int64_t known_name_ns(struct known *k, uint64_t directory, struct slice name, uint64_t ino); /* ino 0: absent */
/* Whether the kernel can be told to forget names: else it may not keep any, which is what holds at first. */
void known_set_kernel_names(struct known *k, bool can);

struct known_stats {
    size_t inodes, names;
    uint64_t hits, misses, notices, drops;
    uint64_t ahead, ahead_used; /* names that came along with others; of these, those that were asked for then */
};
void known_stats(struct known *k, struct known_stats *ret);
