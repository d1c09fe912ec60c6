/* meta_parts.h: what commands, replies and query replies have in common. Private to proto/. */
#pragma once

#include "meta/types.h"
#include "proto/meta.pb-c.h"
#include "proto/pack.h"

/* st_mode: type and permission bits. */
#define WIRE_MODE_MAX 0177777u

void wire_attr_fill(Surf__Attr *m, const struct meta_attr *attr);
enum err wire_attr_read(const Surf__Attr *m, const char *field, struct meta_attr *ret, struct err_text *why) MUST_USE;

/* The arrays come from the arena. CHECKs order, bounds and that holes look like holes. */
void wire_extents_fill(Surf__Extents *m, const struct meta_extent *extents, unsigned count, struct arena *a);
enum err wire_extents_read(const Surf__Extents *m, const char *field, unsigned max_count, struct arena *a,
                           struct meta_extent **ret, unsigned *ret_count, struct err_text *why) MUST_USE;

/* Borrows the address. */
void wire_server_fill(Surf__BlockServer *m, const struct meta_block_server *server);
enum err wire_server_read(const Surf__BlockServer *m, struct meta_block_server *ret, struct err_text *why) MUST_USE;
