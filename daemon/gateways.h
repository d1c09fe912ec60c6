/* gateways.h: the gateways of this node: they start behind it and end before it, so that they can still say goodbye. On
 * the loop's thread. */
#pragma once

#include "daemon/node.h"

struct gateways;

/* Opens those that are configured; *ret is NULL when there are none. */
enum err gateways_open(struct node *n, struct gateways **ret, struct err_text *why) MUST_USE;
/* The node's loop has ended; node_close follows and runs it once more. NULL is allowed. */
void gateways_close(struct gateways *g);
