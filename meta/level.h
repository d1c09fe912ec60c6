/* level.h: what programs of different age have in common. A level is a set of commands, and of what they do. The state
 * holds the one that the cluster uses; it is raised by META_SET_LEVEL, one at a time, when every member has said that
 * its program knows the next one (replica/level.c), and never lowered.
 *
 * Whatever changes what apply does to the same command and the same state belongs to a new level: a command, a field of
 * one, a row or a reply that is another. A new command: META_LEVEL_MAX one higher, and the command's line in the table
 * of level.c. A new field: a line in meta_level_of. Another effect: the operation asks meta->level.
 *
 * Who may propose: only what meta_level_of says that the applied state's level has. Who applies: a program that meets
 * a command, a level or a state above its own META_LEVEL_MAX goes out of service and says so. */
#pragma once

#include "meta/types.h"

#define META_LEVEL_MAX 1u /* what this program knows */

/* The level that the command needs: as it is, with the fields that it has. */
uint32_t meta_level_of(const struct meta_command *c);
