/* surf_internal.h: what the parts of libsurf share. */
#pragma once

#include <stdatomic.h>

#include "client/surf.h"

struct surf {
    struct meta_client *meta;
    struct block_client *blocks;
    _Atomic(struct open_files *) files; /* set once */
    _Atomic(struct locks *) locks;      /* the same */
    struct known *known;                /* NULL: nothing is kept */
    struct disk_cache *disk;            /* NULL: none */
    void (*on_waiting)(void *context, const char *text);
    void *on_waiting_context;
};

/* INVAL for an empty name, "." and ".." and one with '/' or NUL; NAMETOOLONG. */
enum err surf_check_name(struct slice name) MUST_USE;
/* A change; *ret holds the reply when the outcome is ERR_OK. */
enum err surf_change(struct surf *s, const struct surf_caller *c, struct meta_command *command,
                     struct meta_reply *ret) MUST_USE;
enum err surf_query(struct surf *s, const struct surf_caller *c, struct meta_query *query, struct arena *arena,
                    struct meta_query_reply *ret) MUST_USE;
/* Attributes of a reply with this mount's own data on top. ERR_PROTOCOL when there are none. */
enum err surf_take_attr(struct surf *s, bool has_attr, const struct meta_attr *from, struct meta_attr *ret) MUST_USE;
