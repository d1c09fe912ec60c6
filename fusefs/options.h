/* options.h: the command line of surffs, and of mount.surffs as mount(8) calls it. */
#pragma once

#include <limits.h>

#include "base/bytes.h"
#include "rpc/address.h"

#define EXIT_USAGE 64

struct options {
    char source[1024]; /* as given; what df shows */
    struct rpc_address servers[LIMIT_NODES];
    size_t server_count;
    char export_name[LIMIT_EXPORT_BYTES + 1];
    char mountpoint[PATH_MAX]; /* as given; mountpoint_check makes it absolute */
    bool foreground, debug;
    bool remount; /* only the kernel's own flags of an existing mount change */
    bool fake;    /* mount(8)'s -f: check everything, mount nothing */
    bool read_only;
    unsigned long remount_flags;               /* MS_* */
    int64_t mount_timeout_ns, soft_timeout_ns; /* soft 0: hard */
    size_t cache_bytes;                        /* 0: the library's default */
    char log_path[PATH_MAX];                   /* "": none */
    struct bytes kernel;                       /* what libfuse and the kernel are told: "a,b=c", terminated */
};

/* Fills *o or prints what is wrong, with the value, and exits with EXIT_USAGE; --help and --version exit with 0. */
void options_parse(struct options *o, int argc, char **argv);
void options_close(struct options *o);
