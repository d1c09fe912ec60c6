/* datadir.h: the data directory, which belongs to one node of one cluster and to one process at a time.
 *
 *   DIR/identity   node id, a random id of this incarnation, cluster id once known, roles, the metastore's members
 *   DIR/log/       the raft log (metastore role)
 *   DIR/state, DIR/meta-N/, ...  the replicated state (metastore role; snapshot/state_dir.h)
 *   DIR/durability/  puts that are durable ahead of their order (metastore role, with or once with --durability-log)
 *   DIR/diverged   why this member's state is not to be used any more (metastore role)
 *   DIR/blocks/    blocks (block role)
 *   DIR/blocks.damaged/  those that were put aside to be filled anew
 *
 * A directory of another node, role, cluster or set of members is refused and not changed: with the wrong log a node
 * could vote twice, and with other members it could elect itself. Errors say the path and the value. One thread. */
#pragma once

#include <limits.h>

#include "base/err.h"
#include "base/limits.h"
#include "proto/wire_admin.h"

struct datadir;

struct datadir_options {
    const char *path;
    uint32_t node_id;
    unsigned roles;                /* WIRE_NODE_* */
    uint32_t members[LIMIT_NODES]; /* of the metastore, ascending; none for a block server */
    unsigned member_count;
    bool rebuild;        /* datadir_rebuild follows: what is missing of the metastore's is not looked for */
    bool rebuild_blocks; /* datadir_put_blocks_aside follows: the same for the blocks */
};

/* Makes the directory and what leads to it when missing. ERR_LOCKED, ERR_WRONG_NODE, ERR_CORRUPT,
 * ERR_CONFIG, ERR_ACCES, ERR_IO with why. */
enum err datadir_open(const struct datadir_options *options, struct datadir **ret, struct err_text *why) MUST_USE;
void datadir_close(struct datadir *d);

/* A member that lost its data and takes its own place again, as another one. */
enum datadir_rejoin {
    DATADIR_REJOIN_NONE,
    DATADIR_REJOIN_ASK,      /* the leader is to be asked */
    DATADIR_REJOIN_LEARNER,  /* it has agreed; then this member is a learner again, */
    DATADIR_REJOIN_VOTER,    /* or a voter, once it has caught up */
    DATADIR_REJOIN_ASK_VOTER /* as ASK: it was a voter, which the members' configuration may not say any more */
};
enum datadir_rejoin datadir_rejoin(const struct datadir *d);
enum err datadir_set_rejoin(struct datadir *d, enum datadir_rejoin rejoin, struct err_text *why) MUST_USE;
/* Removes what the metastore's role has here, whatever state it is in, and gives the directory a new random id. */
enum err datadir_rebuild(struct datadir *d, struct err_text *why) MUST_USE;
/* DIR/blocks becomes DIR/blocks.damaged; ERR_EXIST when there is one already. Nothing is removed. */
enum err datadir_put_blocks_aside(struct datadir *d, struct err_text *why) MUST_USE;
/* The members are in the log from now on: those of the first start don't count any more. Durable when it returns. */
enum err datadir_configured(struct datadir *d, struct err_text *why) MUST_USE;
bool datadir_is_configured(const struct datadir *d);

const uint8_t *datadir_uuid(const struct datadir *d); /* 16 random bytes, made with the directory */
/* False until datadir_complete: its parts may be missing, because they are being made for the first time. */
bool datadir_is_complete(const struct datadir *d);
/* All parts exist: from now on a missing one is a loss. */
enum err datadir_complete(struct datadir *d, struct err_text *why) MUST_USE;
/* There is a durability log, of which nothing has been told yet: likewise, until datadir_rebuild. */
enum err datadir_has_durability(struct datadir *d, struct err_text *why) MUST_USE;
const uint8_t *datadir_cluster_id(const struct datadir *d); /* 16 bytes; NULL: not known yet */
/* Durable when it returns. ERR_WRONG_CLUSTER when another one is stored. */
enum err datadir_set_cluster_id(struct datadir *d, const uint8_t id[16], struct err_text *why) MUST_USE;
/* DIR/name */
void datadir_path(const struct datadir *d, const char *name, char ret[PATH_MAX]);
