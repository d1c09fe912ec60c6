/* stats.h: what a mount has done so far, as one line of its log: SIGUSR2. */
#pragma once

struct mount;

void stats_log(struct mount *m);
