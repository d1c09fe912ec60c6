/* fsck.h: what the parts of `surfctl fsck` share.
 *
 *   cmd_fsck.c     arguments, order of things, exit code
 *   fsck_leader.c  questions to whoever leads, which may be another one in the middle
 *   fsck_state.c   each member of the metastore checks its own state
 *   fsck_blocks.c  every block that files name, page by page: is it on its owners, and intact?
 *   fsck_ask.c     the block servers are asked, one thread each
 *   fsck_doubts.c  what was not as it should be is looked at again, and repaired, until it is or time is up
 *   fsck_print.c   what was found
 *
 * The cluster is at work meanwhile: nothing is held against it that a second look, with the metastore asked again
 * whether the block is still named, does not find. */
#pragma once

#include "admin/admin.h"
#include "proto/wire_check.h"

#define FSCK_PAGE_BLOCKS 2048u
#define FSCK_DOUBTS_MAX 65536u /* blocks that are looked at again; more are only counted */
#define FSCK_LISTED_MAX 100u   /* blocks that are told of one by one */
#define FSCK_USES_ASKED 64u    /* lost blocks whose files are looked for */

struct fsck_member {
    uint32_t id;
    const char *address;
    struct wire_check check; /* in the arena; when `why` is empty */
    struct err_text why;     /* why its state was not checked */
    uint64_t behind; /* entries that it lacked yet, when that is why: nothing is wrong with it as far as is known */
};

struct fsck_server {
    uint32_t id;
    char address[LIMIT_ADDRESS_BYTES + 1];
    uint64_t weight, zone;
    bool draining;
    struct rpc_channel *channel; /* NULL: to be opened */
    int64_t paced_until_ns;      /* by the rate it is asked again from then on */
    struct err_text why;         /* why it is not asked any more; empty: it answers */
    uint64_t unchecked;          /* copies that it should have and could not be asked for */
    uint64_t unnamed, strays;    /* copies there of blocks that nobody names; that belong elsewhere */
};

/* Sets of servers by their index. */
#define FSCK_BIT(index) (UINT64_C(1) << (index))
struct fsck_block {
    struct sha256 id;
    uint64_t owners;
    uint64_t ask;               /* of whom it is to be asked */
    uint64_t good, bad, absent; /* what they said last */
};

struct fsck {
    struct admin *a;
    bool repair, metadata_only, progress;
    int64_t wait_ns;
    uint64_t rate;      /* bytes a second that each server reads at most; 0: as fast as it can */
    struct arena arena; /* of one page, or round */

    struct rpc_channel *leader; /* NULL: to be looked for */

    struct fsck_member members[LIMIT_NODES];
    unsigned member_count;
    struct err_text differences[LIMIT_NODES]; /* between states that should be equal */
    unsigned difference_count;

    unsigned replicas;
    struct fsck_server servers[LIMIT_BLOCK_SERVERS];
    unsigned server_count;
    uint64_t blocks, copies; /* checked; copies that are good */
    struct fsck_block *doubts;
    unsigned doubt_count;
    uint64_t doubts_dropped; /* for which there was no room */
    uint64_t healed;         /* blocks that were not as they should be and are now */
    struct wire_check_use *uses;
    unsigned use_count;
    struct sha256 lost[FSCK_USES_ASKED]; /* whose uses those are */
    unsigned lost_count;
};

/* A question to the leader, which may change meanwhile; as long as a->timeout_ns. The answer is in f->arena. */
enum err fsck_ask_leader(struct fsck *f, unsigned method, struct slice message, struct slice *ret,
                         struct err_text *why) MUST_USE;
void fsck_leader_close(struct fsck *f);
void fsck_pause(int64_t span_ns);

/* Fails when the metastore has no leader. */
enum err fsck_state(struct fsck *f, struct err_text *why) MUST_USE;

enum err fsck_blocks(struct fsck *f, struct err_text *why) MUST_USE;
/* The map of the block servers, as it is now. */
enum err fsck_map(struct fsck *f, struct err_text *why) MUST_USE;
void fsck_owners(const struct fsck *f, struct fsck_block *b);
/* Too few servers own blocks, or one of them does not have it. */
bool fsck_block_is_well(const struct fsck_block *b);
/* Every server has answered, and none has a good copy. */
bool fsck_block_is_lost(const struct fsck *f, const struct fsck_block *b);
uint64_t fsck_everybody(const struct fsck *f);
/* Looks at the doubts again until there are none, or time is up. */
enum err fsck_doubts(struct fsck *f, struct err_text *why) MUST_USE;

/* Asks each block's `ask`; all servers at once. With a page, also what they have in its range. */
struct fsck_range {
    struct sha256 after, upto;
};
void fsck_ask_blocks(struct fsck *f, struct fsck_block *blocks, unsigned count, const struct fsck_range *page);
/* Tells servers that their copies of these (absent or bad) are to be looked after. */
void fsck_tell_suspects(struct fsck *f, const struct fsck_block *blocks, unsigned count);
void fsck_servers_close(struct fsck *f);

/* The exit code: EXIT_DONE when all is sound, EXIT_FAILED when something is not, and when nothing bad was found but not
 * everything could be looked at: */
#define EXIT_NOT_KNOWN 3
int fsck_print(struct fsck *f);
