/* cmd_node.h: the commands that find a node by its id and ask it one thing. */
#pragma once

#include "admin/admin.h"

/* One request to this node; a failure says which one it was. */
enum err node_ask(struct admin *a, const struct survey_node *n, unsigned method, struct slice message,
                  struct err_text *why) MUST_USE;
/* Before anything is changed: whether it is a node that sends and receives raft messages, and, with `told`, that can be
 * told of something. NO_NODE, UNREACHABLE, NO_METHOD. */
enum err node_check_raft(const struct survey *s, uint32_t id, bool told, struct err_text *why) MUST_USE;
/* Finds node `id_text` and sends it the request. EXIT_DONE, or the exit code after the message was printed. */
int node_request(struct admin *a, const char *id_text, unsigned method, struct slice message, struct survey *ret_survey,
                 const struct survey_node **ret_node);
