/* survey_json.h: what nodes tell, as JSON: the same words in surfctl --json and in a node's own pages. All give a new
 * reference. */
#pragma once

#include <jansson.h>

#include "client/survey/survey.h"

json_t *json_slice(struct slice s); /* text that is not UTF-8 has its bytes replaced */
json_t *json_hex(struct slice s);
json_t *roles_json(uint32_t roles); /* ["meta", "block"] */

/* The whole of it, as surfctl --json status prints it. */
json_t *survey_json(const struct survey *s);
/* How many committed entries this node has yet to apply. */
uint64_t survey_behind(const struct survey *s, const struct survey_node *n);
json_t *survey_node_json(const struct survey *survey, const struct survey_node *n);
json_t *sessions_json(const struct wire_admin_state *s);
/* With what it does about its blocks. */
json_t *block_server_json(const struct wire_admin_block_server *b);

/* What the contents take (space.c): bytes of files, of the different blocks that they are made of, and on the disks of
 * all servers with all copies. Blocks count as their servers told last. */
struct space {
    uint64_t logical, unique, physical;
    bool known;          /* unique: every server that reports has counted its blocks since it was started */
    unsigned copies;     /* of each block */
    double stored_share; /* of a block's bytes that are stored, after compression; 1 while nothing is known */
};
struct space space_of(const struct wire_admin_state *s);
json_t *space_json(const struct wire_admin_state *s);
