/* http_world.h: what requests of fuzz_http_request.c meet instead of a cluster: keys, nodes and a small tree, which
 * answer at once and note what was asked of them. */
#pragma once

#include "gateway/http.h"

struct http_world {
    uint64_t coin;         /* decides which answers there are */
    bool loopback;         /* where the caller is */
    unsigned keys_changed; /* calls that change something */
    unsigned nodes_asked;
    bool file_was_read;
};
extern struct http_world http_world;

/* Of the tree: a directory that not everybody may search, and a file in it. */
#define HTTP_WORLD_CLOSED_INO 10u
#define HTTP_WORLD_SECRET_INO 11u
