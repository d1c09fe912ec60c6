/* orphans.h: in which mounts an unlinked inode may still be open, as the leader knows it: its memory, never replicated.
 * Pure, one thread.
 *
 * In the state an inode without links is an orphan until a command releases it. The leader asks each session (with a
 * notice) and proposes the release when all have answered once that it isn't open there: then nobody has it open, since
 * a client opens an inode without links only where it is open already, or where it has found it by a name within the
 * last second and therefore not answered yet (file_looked_up in client/file/file.h). A session that does not answer is
 * waited for until it ends. A new leader asks all of them again. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct orphans;

/* ask: the session is to be asked for the inode. False: that can't be now, and orphans_session_back or
 * orphans_session_room is called when it can be. */
struct orphans *orphans_new(bool (*ask)(void *context, uint64_t session, uint64_t ino), void *context);
void orphans_free(struct orphans *o);
void orphans_clear(struct orphans *o); /* sessions too */

void orphans_session(struct orphans *o, uint64_t session); /* one that may open files */
void orphans_session_ended(struct orphans *o, uint64_t session);
void orphans_session_back(struct orphans *o, uint64_t session); /* asks it for everything that it hasn't answered */
void orphans_session_room(struct orphans *o, uint64_t session); /* asks it for what it could not be asked for */

/* Again is harmless. */
void orphans_add(struct orphans *o, uint64_t ino);
void orphans_not_open(struct orphans *o, uint64_t session, const uint64_t *inos, size_t count);

/* Those that nobody has open: they are forgotten here. Returns how many. */
unsigned orphans_take(struct orphans *o, uint64_t *inos, unsigned max);
size_t orphans_count(const struct orphans *o); /* in all */
