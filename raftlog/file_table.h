/* file_table.h: all disk access of the log, as one small table of functions, so that a test can cut, tear, lose or
 * refuse writes at every step. The real table is file_table_system; names are relative to the directory that was
 * opened.
 *
 * An error of write or sync is final for the caller: it is never retried on the same file (after EIO the kernel drops
 * dirty pages, and the next fsync would succeed: RELIABILITY in docs). */
#pragma once

#include "base/bytes.h"
#include "base/err.h"

struct file_table_dir;  /* an open directory */
struct file_table_file; /* an open file */

#define FILE_TABLE_NAME_BYTES 64

struct file_table {
    void *context;
    /* Creates the directory when it is missing. */
    enum err (*open_dir)(void *context, const char *path, struct file_table_dir **ret, struct err_text *why);
    void (*close_dir)(void *context, struct file_table_dir *dir);
    /* Calls `each` for every regular file, in any order. open and remove give ERR_NOT_FOUND when there is no such file.
     */
    enum err (*list)(void *context, struct file_table_dir *dir, void (*each)(void *arg, const char *name), void *arg);
    enum err (*open)(void *context, struct file_table_dir *dir, const char *name, bool create,
                     struct file_table_file **ret);
    void (*close)(void *context, struct file_table_file *file);
    enum err (*size)(void *context, struct file_table_file *file, uint64_t *ret);
    /* Whole reads and writes: short ones are errors (ERR_IO; NOSPC for a full disk). */
    enum err (*read)(void *context, struct file_table_file *file, uint64_t offset, void *to, size_t size);
    enum err (*write)(void *context, struct file_table_file *file, uint64_t offset, const void *from, size_t size);
    /* Grows the file to size bytes with zeros that later writes need no metadata for; what it holds stays. */
    enum err (*allocate)(void *context, struct file_table_file *file, uint64_t size);
    enum err (*truncate)(void *context, struct file_table_file *file, uint64_t size);
    enum err (*sync)(void *context, struct file_table_file *file); /* data and size */
    enum err (*rename)(void *context, struct file_table_dir *dir, const char *from, const char *to);
    enum err (*remove)(void *context, struct file_table_dir *dir, const char *name);
    enum err (*sync_dir)(void *context, struct file_table_dir *dir);
};

const struct file_table *file_table_system(void);
