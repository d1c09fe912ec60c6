/* extent_upkeep.h: fragmented parts of files become blocks again, in the background.
 *
 * The metastore lists the files that a commit has left with a short extent among others (META_QUERY_FRAGMENTED). Any
 * mount takes care of any of them, whoever has written it: so a file whose writer is gone is merged all the same, and
 * one that is written by several is no special case. A part is read, put as one block and named by a command that takes
 * effect only while its extents are those that were read (META_REWRITE): no write is ever lost, two mounts that are at
 * one file lose a little work, and who is killed leaves at most a block that is collected. Nobody sees a difference but
 * those who know the file's extents, who are told to ask again.
 *
 * A file is merged when it has not been fragmented further for a while; one that always is, now and then, where it is
 * worst. Half of the time at most is spent on it, with a few blocks in memory, and little when this mount has other
 * work. (inline_mover.h is another thread: what it has to do is urgent, since room for inline blocks is short.) */
#pragma once

#include "client/file/file.h"

struct extent_upkeep;

/* quiet_ns: how long a file has to be quiet. */
struct extent_upkeep *extent_upkeep_new(struct open_files *files, int64_t quiet_ns);
void extent_upkeep_free(struct extent_upkeep *u); /* breaks off what is under way; NULL is allowed */

void extent_upkeep_stats(struct extent_upkeep *u, struct extent_upkeep_stats *ret);
