/* script_command.h: the commands of the scripts; script_test.c says how a script is read. A member is named by its id;
 * what happens is printed.
 *
 *   cluster VOTERS [LEARNERS] [manual] [readindex]   members 1, 2, ... with empty disks, all running
 *   elect ID             it wins an election, and all know what is committed; nothing is printed
 *   newcomer             one more member runs, and is in no configuration
 *   crash ID, restart ID
 *   wipe ID [IDENTITY]   a crashed one's disk: the new one has this identity (a letter), and is nobody's member
 *   log ID TERM TERM...  a member that has nothing yet is in the first term and has entries of the others on its disk
 *
 *   wait MS              the clock goes on, and nobody notices
 *   tick ID              it notices
 *   timeout ID           the clock goes on to its next deadline, and it notices
 *
 *   propose ID TEXT      fill ID COUNT KIB           as many proposals of that size
 *   read ID NUMBER       ask ID NUMBER               a read of the leader, or by way of another member
 *   campaign ID, heartbeat ID, step_down ID, transfer ID TO
 *   change ID VOTER... [learner ID...]               4b: member 4 with the identity b
 *
 *   deliver [FROM [TO]]  what is on the way now, the oldest first; 0: anybody. Answers wait for the next deliver
 *   settle               deliver until nothing is on the way
 *   drop [FROM [TO]]     it is lost
 *   shelve [FROM [TO]], copy [FROM [TO]]             it, or a second one like it, is put aside until
 *   unshelve             all of that is on the way
 *   cut FROM TO, mend FROM TO                        in this direction, from now on
 *   alone ID, joined ID                              in all directions
 *
 *   disk ID held|free    held: what is to be saved isn't, until
 *   persist ID           the oldest write has ended
 *   compact ID INDEX     its log now begins behind this entry
 *   snapshot ID          of what it has applied
 *   install ID INDEX     the newest snapshot as of this entry is offered to it
 *
 *   logs                 all members' logs, and how far they have applied them
 *   status ID            all that it knows
 *   deadline ID          when it is to be called again
 *   quiet COMMAND        nothing is printed */
#pragma once

#include "tests/unit/raft/cluster.h"

#define SCRIPT_SNAPSHOTS_MAX 16u

struct script {
    struct cluster cluster; /* empty before the first command */
    FILE *out;
    struct cluster_snapshot snapshots[SCRIPT_SNAPSHOTS_MAX];
    unsigned snapshot_count;
};

/* What can't be understood is told in the output. */
void script_run_command(struct script *s, const char *line);
void script_close(struct script *s);
