/* sim_files.h: a disk in memory behind a struct file_table. It knows what was synced and what was not, and can end as a
 * machine does that loses power: each 512-byte sector that was written and not synced arrives or doesn't, in any order;
 * of the changes of names (create, rename, remove) that no sync_dir covered, a prefix arrives, as with a journal.
 * One directory per disk. Not thread-safe. */
#pragma once

#include "base/prng.h"
#include "raftlog/file_table.h"

#define SIM_SECTOR_BYTES 512u
#define SIM_FILES_MAX 128u /* of the raft log and the durability log */

struct sim_write {
    uint64_t offset;
    struct bytes data;
    bool resize; /* `offset` is the new size instead */
};

struct file_table_file {
    unsigned references; /* names (durable or not) and handles */
    struct bytes current, durable;
    struct sim_write *writes; /* not synced yet */
    size_t write_count, write_room;
};

struct sim_name {
    char name[FILE_TABLE_NAME_BYTES];
    struct file_table_file *file;
};
struct sim_names {
    struct sim_name all[SIM_FILES_MAX];
    unsigned count;
};

struct sim_disk {
    struct file_table table; /* context is this disk */
    struct sim_names current;
    struct sim_names *steps; /* the names as they were after each change since the last sync_dir; [0] is durable */
    size_t step_count, step_room;
    struct prng prng;
    uint64_t calls;      /* of the table, closes left out */
    uint64_t dead_after; /* this many calls are carried out, later ones fail and do nothing; 0: no limit */
    uint64_t fail_at;    /* this call fails; 0: none */
    enum err fail_with;
    unsigned handles;
    void (*before_read)(void *arg); /* called once, by the next read, before it reads; NULL: nothing */
    void *before_read_arg;
};

enum sim_crash { SIM_CRASH_LOSE, SIM_CRASH_KEEP, SIM_CRASH_RANDOM };

void sim_disk_init(struct sim_disk *d, uint64_t seed);
void sim_disk_free(struct sim_disk *d);
/* A disk with the same files, all of it synced. */
void sim_disk_copy(struct sim_disk *to, const struct sim_disk *from);
/* The power goes and comes back. No file may be open. Resets calls, dead_after and fail_at. */
void sim_disk_crash(struct sim_disk *d, enum sim_crash how);
/* The content of a file, to be damaged; NULL when there is none. It counts as synced once sim_disk_copy was used. */
struct bytes *sim_disk_content(struct sim_disk *d, const char *name);
