/* direct.h: whether a directory's file system writes past the page cache. */
#pragma once

#include <stdbool.h>

/* Files in `path`, which may not be there yet (its parent is), can be opened with O_DIRECT. Tried, with a file that
 * never has a name: what says that it can't, for whatever reason, is a no. */
bool direct_is_possible(const char *path);
