/* caller.h: whether who made a request is being ended. A process that exits closes its files by itself, and then the
 * kernel heeds no signal any more: neither can it be interrupted, nor do we hear of it. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

enum caller_state {
    CALLER_RUNS, /* or it is not known: of another pid namespace */
    CALLER_EXITS,
    CALLER_KILLED /* it exits, by a signal */
};
enum caller_state caller_state(pid_t thread);
/* It is umount(8), which looks at the mountpoint before it unmounts it, and goes on when it gets an error. */
bool caller_unmounts(pid_t thread);
