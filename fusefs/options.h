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
    bool read_only, no_atime;
    unsigned long remount_sets, remount_clears; /* MS_RDONLY, ... that were given, and their opposites */
    int64_t mount_timeout_ns, soft_timeout_ns;  /* soft 0: hard */
    bool read_from_any;
    bool no_inline, no_merge, no_ahead;
    int64_t merge_after_ns;    /* 0: the library's default */
    bool no_epoch;             /* for tests: as on a kernel that can't be told to forget names */
    size_t inodes_max;         /* 0: the library's default */
    size_t cache_bytes;        /* of memory; 0: the library's default */
    size_t dirty_bytes;        /* the same */
    char disk_cache[PATH_MAX]; /* a directory; "": none */
    uint64_t disk_cache_bytes;
    char log_path[PATH_MAX], trace_path[PATH_MAX]; /* "": none */
    struct bytes kernel;                           /* what libfuse and the kernel are told: "a,b=c", terminated */
};

/* Fills *o or prints what is wrong, with the value, and exits with EXIT_USAGE; --help and --version exit with 0. */
void options_parse(struct options *o, int argc, char **argv);
void options_close(struct options *o);
