/* survey.h: the cluster as its nodes tell it: each speaks for itself, and this puts their answers together. */
#pragma once

#include "client/survey/asker.h"

#define SURVEY_NODES (LIMIT_NODES + LIMIT_BLOCK_SERVERS)

struct survey_node {
    uint32_t id;
    const char *address;
    bool reachable;
    struct err_text why; /* when not */
    struct wire_admin_state state;
};
struct survey {
    struct survey_node nodes[SURVEY_NODES]; /* by id */
    unsigned count;
    const struct survey_node *leader; /* the serving leader of the highest term, while there is a quorum; NULL: none */
    unsigned voters, voters_serving;  /* serving: reachable, not crashed, without a fault */
    unsigned voters_following;        /* of those that serve: in the term of the leader, and it is theirs */
};
/* Asks the asker's servers, learns the others from them and asks those, all with a short time-out. Fails only when
 * nobody answers at all; why names whom it asked. What is found lives in the asker's arena. */
enum err survey_ask(const struct asker *a, struct survey *ret, struct err_text *why) MUST_USE;
/* Asks whoever leads. A refusal that passes by itself (NOT_LEADER, NO_LEADER while a majority is there to elect one,
 * BUSY_NOW) is asked again until the asker's time is over. On ERR_OK *ret_message is in the arena. */
enum err survey_ask_leader(const struct asker *a, unsigned method, struct slice message, struct slice *ret_message,
                           struct err_text *why) MUST_USE;
/* The node, or NULL and why with the ids that there are. */
const struct survey_node *survey_find(const struct survey *s, uint32_t id, struct err_text *why);
/* LEADER, FOLLOWER, CANDIDATE, CRASHED, FAULT, SUSPENDED, REMOVED, BLOCK (no metastore role) or UNREACHABLE */
const char *survey_state_name(const struct survey_node *n);
/* A majority of the voters follows one leader, so that changes can be committed. Nodes that answer but do not hear each
 * other are none. */
bool survey_has_quorum(const struct survey *s);
bool survey_majority_serves(const struct survey *s);
/* Who knows the newest configuration of members; NULL: no member answers. */
const struct wire_admin_state *survey_newest(const struct survey *s);
/* Whose knowledge of block servers and sessions counts: the leader's, or else anybody's. */
const struct wire_admin_state *survey_best(const struct survey *s);
