/* segment.h: what is known in memory of one segment file. Private to raftlog/. */
#pragma once

#include "raftlog/file_table.h"
#include "raftlog/format.h"

struct segment {
    unsigned references; /* the log's own, and one per read under way; protected by the log's lock */
    const struct file_table *files;
    struct file_table_file *file; /* owned */
    uint64_t number, first_index, before_term;
    uint64_t file_bytes;
    /* Protected by the log's lock; changed by the writer only. */
    uint32_t *offsets; /* of each entry's record */
    unsigned count, room;
    uint32_t end; /* where the next record goes */
};

void segment_name(uint64_t number, char name[FILE_TABLE_NAME_BYTES]);
/* False when it isn't the name of a segment. */
bool segment_number(const char *name, uint64_t *ret);

/* Takes the file. No entries; one reference. */
struct segment *segment_new(const struct file_table *files, struct file_table_file *file, uint64_t file_bytes,
                            uint64_t number, uint64_t first_index, uint64_t before_term);
void segment_free(struct segment *s); /* closes the file; NULL is allowed */
/* An entry whose record is at `end` and takes `bytes`. */
void segment_push(struct segment *s, size_t bytes);
/* Keeps the first `count` entries. */
void segment_cut(struct segment *s, unsigned count);
uint64_t segment_last_index(const struct segment *s); /* first_index - 1 when it is empty */
