/* mountpoint.h: looking at a mountpoint from outside, so that a mount that hangs can't hang us. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* Makes path (of `size` bytes) absolute and checks that it is a directory on which no SurfFS mount is, or, with
 * want_mounted, one on which one is. One that nobody serves any more is removed, with a line on standard error. Before
 * any thread exists. ERR_INVAL etc. with why. */
enum err mountpoint_check(char *path, size_t size, bool want_mounted, struct err_text *why) MUST_USE;
/* MS_RDONLY, MS_NOSUID, ... of the topmost mount there, as it is; 0: none is. */
unsigned long mountpoint_flags(const char *path);
/* "MAJOR:MINOR" of the topmost mount there. False: none is. */
bool mountpoint_device(const char *path, char *ret, size_t size);
