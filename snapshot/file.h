/* file.h: the little that source, sink and state_dir share. Private to snapshot/. */
#pragma once

#include <limits.h>

#include "base/bytes.h"
#include "base/err.h"

/* The checksum64 of a file, piece by piece, each seeded with the one before. Bytes from `fd`, which is read from its
 * beginning; *ret_size is what there was. */
enum err file_checksum(int fd, uint64_t *ret_checksum, uint64_t *ret_size) MUST_USE;
enum err file_sync_directory(const char *path) MUST_USE;
/* DIR/NAME; too long is a programmer's error. */
void file_path(char to[PATH_MAX], const char *directory, const char *name);
