/* plant.h: bugs that are planted on purpose, to see whether the tests find them. In a build that is used PLANTED is
 * false and the compiler drops what depends on it; with SURF_PLANTS defined, which only builds for tests do, one bug at
 * a time is chosen while the program runs. */
#pragma once

#define PLANT_LIST(X)                                                                                                  \
    X(RAFT_VOTE_BEFORE_SYNC)                                                                                           \
    X(RAFT_COMMIT_OLD_TERM)                                                                                            \
    X(RAFT_COMMIT_BEYOND_MATCH)                                                                                        \
    X(RAFT_LEASE_IGNORES_DRIFT)                                                                                        \
    X(RAFT_LEASE_FORGOTTEN)                                                                                            \
    X(RAFT_FORGOTTEN_TRUNCATION)                                                                                       \
    X(RAFT_SINGLE_SERVER_RACE)                                                                                         \
    X(RAFT_READ_BY_DEPOSED)                                                                                            \
    X(RAFT_CONFIG_NO_ROLLBACK)                                                                                         \
    X(RAFT_JOINT_ONE_MAJORITY)                                                                                         \
    X(RAFT_ACK_BEFORE_SYNC)                                                                                            \
    X(RAFT_INSTALL_OLDER_SNAPSHOT)                                                                                     \
    X(RAFT_REMOVED_COUNTS_ITSELF)                                                                                      \
    X(RAFT_IDENTITY_NOT_OWN)                                                                                           \
    X(RAFT_IDENTITY_KEEPS_MATCH)                                                                                       \
    X(META_DEDUP_LOST_IN_SNAPSHOT)                                                                                     \
    X(META_WINDOW_OFF_BY_ONE)                                                                                          \
    X(META_NONDETERMINISTIC)                                                                                           \
    X(META_SNAPSHOT_STALE_KEY)                                                                                         \
    X(REPLICA_REPLY_BEFORE_COMMIT)                                                                                     \
    X(RAFTLOG_HARD_NOT_SYNCED)

enum plant {
    PLANT_NONE,
#define X(name) PLANT_##name,
    PLANT_LIST(X)
#undef X
};

#ifdef SURF_PLANTS
extern enum plant plant_chosen;
#define PLANTED(name) (plant_chosen == PLANT_##name)
#else
#define PLANTED(name) 0
#endif
