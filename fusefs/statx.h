/* statx.h: times of birth. Who asks statx(2) for one makes kernels since 6.6 send FUSE_STATX, which libfuse 3.14 does
 * not know. The request begins as GETATTR does, so it goes through libfuse as that, and is answered here. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fusefs/fuse.h"

/* A request as it was read from the kernel, and what libfuse shall take it for; the thread that has read it serves it.
 */
void statx_look(void *request, size_t size);
/* Whether the GETATTR that this thread serves was a STATX. */
bool statx_is_asked(void);
/* Answers one: as fuse_reply_attr(). */
int statx_reply(fuse_req_t req, const struct stat *st, const struct timespec *born, int64_t valid_ns);
