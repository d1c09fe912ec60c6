/* source.h: a snapshot's files, to be sent in pieces. Memory is that of the manifest and of one piece. One thread at a
 * time.
 *
 *   manifest = u32 format, u64 index, u64 term, u32 file count, (u8 name length, name, u64 size, u64 checksum)*
 * Names are those of RocksDB's files: letters, digits, '.', '-', '_', the first no '.'; at most SNAPSHOT_FILES_MAX of
 * them, SNAPSHOT_NAME_BYTES each, in strictly ascending order. The checksum is checksum64 over a file's pieces of
 * SNAPSHOT_CHUNK_BYTES, each seeded with the one before. */
#pragma once

#include "base/bytes.h"
#include "base/err.h"

#define SNAPSHOT_FILES_MAX 4096u
#define SNAPSHOT_NAME_BYTES 64u
#define SNAPSHOT_CHUNK_BYTES (1u << 20)
#define SNAPSHOT_MANIFEST_BYTES_MAX (1u << 20)

struct snapshot_file {
    char name[SNAPSHOT_NAME_BYTES + 1];
    uint64_t size, checksum;
};
struct snapshot_manifest {
    uint64_t index, term;
    unsigned count;
    struct snapshot_file *files; /* owned */
};
void snapshot_manifest_encode(const struct snapshot_manifest *m, struct bytes *to);
/* ERR_CORRUPT for anything that is not as above, and for a total over UINT64_MAX / 2. */
enum err snapshot_manifest_decode(struct slice s, struct snapshot_manifest *ret) MUST_USE;
void snapshot_manifest_free(struct snapshot_manifest *m);
/* Names become files at the receiver, so nothing but a plain name passes. */
bool snapshot_name_is_plain(struct slice name);
uint64_t snapshot_manifest_bytes(const struct snapshot_manifest *m); /* of all files */

struct snapshot_source;
/* Reads every file once for its checksum (slow: for a worker thread). The directory belongs to nobody else meanwhile.
 * index and term: what meta_inspect says of it. */
enum err snapshot_source_open(const char *path, uint64_t index, uint64_t term, struct snapshot_source **ret,
                              struct err_text *why) MUST_USE;
void snapshot_source_close(struct snapshot_source *s);
const struct snapshot_manifest *snapshot_source_manifest(const struct snapshot_source *s);
/* At most SNAPSHOT_CHUNK_BYTES from there, less at the end of the file; replaces what `to` held. ERR_INVAL for a file
 * or an offset that the manifest doesn't have. */
enum err snapshot_source_read(struct snapshot_source *s, unsigned file, uint64_t offset, struct bytes *to) MUST_USE;
