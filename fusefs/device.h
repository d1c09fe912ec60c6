/* device.h: the connection to the kernel: what libfuse 3.14 doesn't do by itself. */
#pragma once

#include "base/err.h"
#include "fusefs/fusefs.h"

/* After fuse_session_mount: reads and writes of the session go through us, so that the INIT reply can carry
 * FUSE_PARALLEL_DIROPS, which libfuse 3.14 wants but forgets to send. */
enum err device_attach(struct fuse_session *session, struct err_text *why) MUST_USE;
/* The kernel reads ahead 128 KiB in FUSE mounts; blocks are 1 MiB. Failing to change it costs speed only. The mount
 * itself is never touched: its device number comes from mountinfo. */
void device_set_read_ahead(const char *mountpoint);
/* True when `mountpoint` (absolute, resolved) is a SurfFS mount already. */
bool device_is_mounted(const char *mountpoint);
