/* link.h: symbolic links, which are synced as links when that is asked for: as files whose contents are where they
 * lead. None is ever followed. */
#pragma once

#include "sync/local.h"

/* INVAL: it would lead out of the directory: from the root, or by more .. than there are directories above it here. A
 * .. behind anything else is refused too: what is before it may be another link, which leads elsewhere. So no link that
 * is synced leads out, however many of them are on the way. */
enum err sync_link_check(struct slice path, struct slice target, struct err_text *why) MUST_USE;
/* In place of the hash of a block. */
void sync_link_hash(struct slice target, struct sha256 *ret);

/* Where it leads, in the arena. INVAL: it is no link. */
enum err sync_link_read(int base, struct slice path, struct arena *arena, struct slice *ret) MUST_USE;
/* Makes it here, in place of what was there (NULL: nothing), in one step. AGAIN when that is otherwise. */
enum err sync_link_make(int base, struct slice path, struct slice target, const struct sync_identity *was) MUST_USE;
