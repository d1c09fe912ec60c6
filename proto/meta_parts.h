/* meta_parts.h: what commands, replies and query replies have in common. Private to proto/. */
#pragma once

#include "meta/types.h"
#include "proto/meta.pb-c.h"
#include "proto/pack.h"

/* st_mode: type and permission bits. */
#define WIRE_MODE_MAX 0177777u

void wire_attr_fill(Surf__Attr *m, const struct meta_attr *attr);
enum err wire_attr_read(const Surf__Attr *m, const char *field, struct meta_attr *ret, struct err_text *why) MUST_USE;

/* NULL for a grant of nothing. */
static inline Surf__Grant *wire_grant_fill(Surf__Grant *m, const struct meta_grant *grant)
{
    surf__grant__init(m);
    m->attachment = grant->attachment;
    m->seq = grant->seq;
    return grant->attachment != 0 ? m : NULL;
}
static inline struct meta_grant wire_grant_read(const Surf__Grant *m)
{
    return m ? (struct meta_grant){m->attachment, m->seq} : (struct meta_grant){0};
}

/* The arrays come from the arena. CHECKs order, bounds and that holes look like holes. */
void wire_extents_fill(Surf__Extents *m, const struct meta_extent *extents, unsigned count, struct arena *a);
enum err wire_extents_read(const Surf__Extents *m, const char *field, unsigned max_count, struct arena *a,
                           struct meta_extent **ret, unsigned *ret_count, struct err_text *why) MUST_USE;

/* Borrows the address. */
void wire_server_fill(Surf__BlockServer *m, const struct meta_block_server *server);
enum err wire_server_read(const Surf__BlockServer *m, struct meta_block_server *ret, struct err_text *why) MUST_USE;

void wire_lock_fill(Surf__Lock *m, const struct meta_lock *lock);
enum err wire_lock_read(const Surf__Lock *m, const char *field, struct meta_lock *ret, struct err_text *why) MUST_USE;

void wire_reads_fill(Surf__CommandReads *m, const struct meta_read *list, unsigned count, struct arena *a);
enum err wire_reads_read(const Surf__CommandReads *m, struct arena *a, const struct meta_read **ret,
                         unsigned *ret_count, struct err_text *why) MUST_USE;

/* Rewrites of extents, and the files that need them (wire_meta_rewrite.c). */
void wire_rewrite_fill(Surf__CommandRewrite *m, Surf__Extents *extents, const struct meta_command *c, struct arena *a);
enum err wire_rewrite_read(const Surf__CommandRewrite *m, struct arena *a, struct meta_command *c,
                           struct err_text *why) MUST_USE;
void wire_fragmented_fill(Surf__QueryReply *m, const struct meta_query_reply *r, struct arena *a);
enum err wire_fragmented_read(const Surf__QueryReply *m, struct arena *a, struct meta_query_reply *r,
                              struct err_text *why) MUST_USE;

/* Blocks whose bytes are in the metadata (wire_meta_inline.c). */
void wire_inlined_fill(Surf__CommandCommit *m, const struct slice *inlined, unsigned count, struct arena *a);
enum err wire_inlined_read(const Surf__CommandCommit *m, struct arena *a, const struct slice **ret, unsigned *ret_count,
                           struct err_text *why) MUST_USE;
void wire_moved_fill(Surf__CommandMoved *m, const struct meta_inline_block *blocks, unsigned count, struct arena *a);
enum err wire_moved_read(const Surf__CommandMoved *m, struct arena *a, const struct meta_inline_block **ret,
                         unsigned *ret_count, struct err_text *why) MUST_USE;
void wire_inline_blocks_fill(Surf__QueryReply *m, const struct meta_query_reply *r, struct arena *a);
enum err wire_inline_blocks_read(const Surf__QueryReply *m, struct arena *a, struct meta_query_reply *r,
                                 struct err_text *why) MUST_USE;

/* The key/value space (wire_meta_kv.c). */
void wire_kv_fill(Surf__CommandKv *m, const struct meta_kv_change *changes, unsigned count, struct arena *a);
enum err wire_kv_read(const Surf__CommandKv *m, struct arena *a, const struct meta_kv_change **ret, unsigned *ret_count,
                      struct err_text *why) MUST_USE;
void wire_kv_query_fill(Surf__Query *m, const struct meta_query *q, struct arena *a);
enum err wire_kv_query_read(const Surf__Query *m, struct arena *a, struct meta_query *q, struct err_text *why) MUST_USE;
void wire_kv_entries_fill(Surf__QueryReply *m, const struct meta_query_reply *r, struct arena *a);
enum err wire_kv_entries_read(const Surf__QueryReply *m, struct arena *a, struct meta_query_reply *r,
                              struct err_text *why) MUST_USE;
