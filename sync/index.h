/* index.h: index.txt, what a synced directory was like when it was synced last. One row per file that there was, by
 * path:
 *
 *   path,version,hash hash ... \n     a space behind each hash; in hex, of the file's blocks in order
 *   path,version,-1 \n                an empty file
 *   path,version,0 \n                 a file that was deleted: with the version that this made
 *   path/,1,-1 \n                     a directory in which nothing is
 *
 * Paths are relative, their parts separated by one '/'. Reading is strict: what this program would not write is refused
 * with its line, since a row that is misread costs somebody a file. */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/limits.h"

#define SYNC_INDEX_NAME "index.txt"
#define SYNC_OWN_PREFIX ".surfsync" /* names that begin so are this program's, here and on the server */
#define SYNC_LINK_PREFIX SYNC_OWN_PREFIX "-link-"
#define SYNC_LINK_DIGITS 16 /* of hex, behind the prefix of a link in the making */
#define SYNC_PATH_BYTES 4095u
#define SYNC_INDEX_BYTES (1024u * MIB)
#define SYNC_FILE_BLOCKS (1u << 20) /* of one file: more need larger blocks */

struct sync_row {
    struct slice path;
    uint64_t version; /* 1..INT64_MAX */
    bool deleted;
    struct sha256 *hashes;
    unsigned hash_count; /* 0: an empty file, or a deleted one */
};
struct sync_index {
    struct sync_row *rows; /* of files, by path; in the arena, as all that they name */
    size_t count;
    struct slice *directories; /* that were empty, by path, without the / at the end */
    size_t directory_count;
    /* All files of the server that were changed up to then are what their rows say, by the server's clock; 0: not
     * known. Kept as the file's time of change. */
    int64_t as_of_ns;
};

/* INVAL, with the reason in why: it can't be synced, or would lead elsewhere. */
enum err sync_path_check(struct slice path, struct err_text *why) MUST_USE;
/* CORRUPT, with the line in why. `text` may go afterwards. */
enum err sync_index_parse(struct slice text, struct arena *arena, struct sync_index *ret,
                          struct err_text *why) MUST_USE;
/* In place of a directory's row one that isn't deleted, has no hashes, and a path with a / behind it. */
void sync_index_format(const struct sync_row *rows, size_t count, struct bytes *to);
/* NULL: there is none. */
const struct sync_row *sync_index_find(const struct sync_index *index, struct slice path);
bool sync_hashes_equal(const struct sha256 *a, unsigned a_count, const struct sha256 *b, unsigned b_count);
