/* cmd_node.h: the commands that find a node by its id and ask it one thing. */
#pragma once

#include "admin/admin.h"

/* Finds node `id_text` and sends it the request. EXIT_DONE, or the exit code after the message was printed. */
int node_request(struct admin *a, const char *id_text, unsigned method, struct slice message, struct survey *ret_survey,
                 const struct survey_node **ret_node);
