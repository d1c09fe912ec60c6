/* local.h: the synced directory, to which paths from the server are confined: every part of a path is opened on its own
 * and never through a symbolic link, so nothing outside is read or written, whatever the server or another program here
 * makes of the names. A file is replaced by renaming a synced temporary file over it. */
#pragma once

#include "sync/plan.h"

/* The directory of `path` (or, for `whole`, the path itself), opened; -1 with the reason in ret_error. With `make` what
 * is missing of it is made. */
int sync_local_open_directory(int base, struct slice path, bool whole, bool make, enum err *ret_error);
/* A terminated copy of the last part of a path. */
void sync_local_last_part(struct slice path, char name[LIMIT_NAME_BYTES + 1]);
/* Opened for reading, and certainly a regular file: else INVAL. -1 with the reason. */
int sync_local_open_file(int base, struct slice path, struct sync_identity *ret, uint32_t *ret_mode,
                         enum err *ret_error);
struct stat;
struct sync_identity sync_identity_of(const struct stat *st);
bool sync_identity_equal(const struct sync_identity *a, const struct sync_identity *b);

/* A file in the making, next to the one that it becomes. */
struct sync_temporary {
    int directory, fd;
    char temporary[48], name[LIMIT_NAME_BYTES + 1];
};
enum err sync_temporary_begin(int base, struct slice path, struct sync_temporary *ret) MUST_USE;
/* It becomes the file, durably. `was`: what is to be there now, NULL for nothing; AGAIN when it is otherwise, and it
 * stays as it is. In every case it has ended. */
enum err sync_temporary_commit(struct sync_temporary *t, uint32_t mode, const struct sync_identity *was) MUST_USE;
void sync_temporary_drop(struct sync_temporary *t); /* may have ended */
/* Whether files in the making have such names; links (link.h). */
bool sync_temporary_is_name(const char *name);
bool sync_temporary_is_link_name(const char *name);
/* The time of modification that it is to have. */
enum err sync_temporary_set_mtime(struct sync_temporary *t, int64_t mtime_ns) MUST_USE;
/* Of one that is there, if it is what it was: else AGAIN. */
enum err sync_local_set_attributes(int base, struct slice path, const struct sync_identity *was, uint32_t mode,
                                   int64_t mtime_ns) MUST_USE;
enum err sync_local_write_all(int fd, const void *from, size_t size) MUST_USE;
enum err sync_local_truncate(int fd) MUST_USE; /* to nothing, and back to its beginning */

/* A temporary name becomes the file, in place of `was` (NULL: of nothing): else AGAIN. */
enum err sync_local_take_name(int directory, const char *temporary, const char *name,
                              const struct sync_identity *was) MUST_USE;
/* Removes it, if it is what it was: else AGAIN. */
enum err sync_local_delete(int base, struct slice path, const struct sync_identity *was) MUST_USE;
bool sync_local_is_directory(int base, struct slice path);
/* Fails quietly while something is in it. */
void sync_local_remove_directory(int base, struct slice path);
