/* privilege.h: whether a request is of someone who must not leave a program set-user-ID (no CAP_FSETID): what such a
 * one writes or truncates loses the bits. Since Linux 5.11 the kernel says so with each request
 * (FUSE_HANDLE_KILLPRIV_V2) and leaves the rest to us; otherwise it asks before each write for capabilities of the
 * file, and forgets direct I/O. Of fallocate and copy_file_range it says nothing: there whoever is not root is such a
 * one. libfuse 3.14 passes neither the agreement nor the flags on, so we read them where the
 * requests are read. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Goes into the reply to INIT. A kernel that doesn't know it doesn't look at it. */
#define PRIVILEGE_INIT_FLAG FUSE_HANDLE_KILLPRIV_V2

/* A request as it was read from the kernel; the thread that has read it serves it. */
void privilege_look(const void *request, size_t size);
/* Of the request that this thread has read last. */
bool privilege_kills_set_id(void);
