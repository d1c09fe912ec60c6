/* plant.h: bugs that are planted on purpose, to see whether the tests find them. In a build that is used PLANTED is
 * false and the compiler drops what depends on it; with SURF_PLANTS defined, which only builds for tests do, one bug at
 * a time is chosen while the program runs. */
#pragma once

/* LEVEL_NEXT is no bug: a program that knows one level more than this one. */
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
    X(LEVEL_NEXT)                                                                                                      \
    X(LEVEL_RAISED_EARLY)                                                                                              \
    X(LEVEL_PASSED_OVER)                                                                                               \
    X(LEVEL_NOT_HEEDED)                                                                                                \
    X(REPLICA_REPLY_BEFORE_COMMIT)                                                                                     \
    X(RAFTLOG_HARD_NOT_SYNCED)                                                                                         \
    X(RAFTLOG_ENTRIES_NOT_SYNCED)                                                                                      \
    X(RAFTLOG_TRUNCATION_NOT_SYNCED)                                                                                   \
    X(RAFTLOG_RESET_NOT_SYNCED)                                                                                        \
    X(DURABILITY_TERMS_MIXED)                                                                                          \
    X(DURABILITY_ACK_BEFORE_SYNC)                                                                                      \
    X(DURABILITY_NOT_GATHERED)                                                                                         \
    X(DURABILITY_READ_PASSES)                                                                                          \
    X(DURABILITY_CHANGE_PASSES)                                                                                        \
    X(KNOWN_HEEDS_NOTHING)                                                                                             \
    X(COLLECT_NO_RECHECK)                                                                                              \
    X(COLLECT_HAS_IS_NO_TOUCH)                                                                                         \
    X(COLLECT_LIMIT_OFF_BY_ONE)                                                                                        \
    X(COLLECT_RESTART_FORGETS)                                                                                         \
    X(COLLECT_STALE_COMMIT)                                                                                            \
    X(COLLECT_STRAY_TOUCHED)                                                                                           \
    X(COLLECT_STALE_REWRITE)                                                                                           \
    X(META_REWRITE_BLIND)                                                                                              \
    X(REPAIR_STRAY_BY_ANY_MAP)                                                                                         \
    X(REPAIR_STRAY_OWNER_LACKS_IT)                                                                                     \
    X(REPAIR_SURE_IS_UNREAD)                                                                                           \
    X(REPAIR_SURE_IS_UNSYNCED)                                                                                         \
    X(REPAIR_MARK_FORGOTTEN)                                                                                           \
    X(REPAIR_MAP_IN_THE_MIDDLE)                                                                                        \
    X(REPAIR_HEALS_FROM_BAD)                                                                                           \
    X(REPAIR_PUT_IS_UNREAD)

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
