#include "fusefs/options.h"

#include <argp.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "client/block/disk_cache.h"

#define MOUNT_TIMEOUT_DEFAULT_S 10.0
#define SOFT_TIMEOUT_DEFAULT_S 30.0
#define TIMEOUT_MAX_S 86400.0
#define CACHE_MAX_MIB (1024u * 1024u)
#define SIZE_MAX_BYTES (UINT64_C(1) << 60)
#define DISK_CACHE_DEFAULT_BYTES (UINT64_C(4) << 30)
#define INODES_MIN 1000u
#define INODES_MAX 100000000u

#define BAD(...) (fprintf(stderr, "surffs: " __VA_ARGS__), fputc('\n', stderr), exit(EXIT_USAGE))

/* ---- -o ---- */

static int64_t parse_seconds(const char *name, const char *value)
{
    char *end;
    errno = 0;
    double seconds = strtod(value, &end);
    if (*value == 0 || *end != 0 || errno != 0 || !(seconds >= 0.1 && seconds <= TIMEOUT_MAX_S))
        BAD("option %s=%s: not a number of seconds from 0.1 to %.0f", name, value, TIMEOUT_MAX_S);
    return (int64_t)(seconds * 1e9);
}

/* Bytes: a number with K, M, G or T behind it, or of MiB. */
static uint64_t parse_size(const char *name, const char *value)
{
    static const char units[] = "KMGT";
    char *end;
    errno = 0;
    unsigned long long size = strtoull(value, &end, 10), unit = MIB;
    const char *given = *end ? strchr(units, *end) : NULL;
    if (given) {
        unit = UINT64_C(1) << (10 * (given - units + 1));
        end++;
    }
    if (*value < '0' || *value > '9' || *end != 0 || errno != 0 || size < 1 || size > SIZE_MAX_BYTES / unit)
        BAD("option %s=%s: not a size: a number of MiB, or with K, M, G or T behind it", name, value);
    return size * unit;
}

static size_t parse_memory(const char *name, const char *value)
{
    uint64_t size = parse_size(name, value);
    if (size < MIB || size > CACHE_MAX_MIB * (uint64_t)MIB)
        BAD("option %s=%s: not from 1 to %u MiB", name, value, CACHE_MAX_MIB);
    return (size_t)size;
}

/* The process changes its directory, so the path is made absolute here. */
static void parse_cache(struct options *o, const char *value)
{
    if (!realpath(value, o->disk_cache))
        BAD("option cache=%s: %s", value, strerror(errno));
}

static void parse_path(const char *item, const char *value, char to[PATH_MAX])
{
    if (*value == 0 || strlen(value) >= PATH_MAX)
        BAD("option %s=%s: not a file name", item, value);
    strcpy(to, value);
}

/* Options of the kernel's mount, which libfuse takes as they are. */
static const struct {
    const char *name;
    unsigned long sets, clears; /* of the kernel's flags, for a remount */
} kernel_options[] = {
    {"ro", MS_RDONLY, 0},
    {"rw", 0, MS_RDONLY},
    {"nodev", MS_NODEV, 0},
    {"dev", 0, MS_NODEV},
    {"nosuid", MS_NOSUID, 0},
    {"suid", 0, MS_NOSUID},
    {"noexec", MS_NOEXEC, 0},
    {"exec", 0, MS_NOEXEC},
    {"sync", MS_SYNCHRONOUS, 0},
    {"dirsync", MS_DIRSYNC, 0},
    {"async", 0, MS_SYNCHRONOUS},
    {"noatime", MS_NOATIME, 0},
    {"nodiratime", MS_NODIRATIME, 0},
};

/* What mount(8), fstab and systemd write for their own use; a file system must not stumble over it. */
static const char *const ignored_options[] = {
    "defaults",
    "auto",
    "noauto",
    "user",
    "nouser",
    "users",
    "owner",
    "group",
    "_netdev",
    "nofail",
    "atime",
    "diratime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "lazytime",
    "nolazytime",
    "silent",
    "loud",
    "mand",
    "nomand",
    "default_permissions",
    "iversion",
    "noiversion",
};

static void kernel_append(struct options *o, const char *text)
{
    if (o->kernel.size > 0)
        bytes_append(&o->kernel, slice_str(","));
    bytes_append(&o->kernel, slice_str(text));
}

static bool take_generic(struct options *o, const char *item)
{
    for (size_t i = 0; i < ARRAY_SIZE(kernel_options); i++) {
        if (strcmp(item, kernel_options[i].name) != 0)
            continue;
        o->remount_sets = (o->remount_sets & ~kernel_options[i].clears) | kernel_options[i].sets;
        o->remount_clears = (o->remount_clears & ~kernel_options[i].sets) | kernel_options[i].clears;
        o->read_only = strcmp(item, "ro") == 0 || (o->read_only && strcmp(item, "rw") != 0);
        o->no_atime = o->no_atime || strcmp(item, "noatime") == 0;
        kernel_append(o, item);
        return true;
    }
    for (size_t i = 0; i < ARRAY_SIZE(ignored_options); i++)
        if (strcmp(item, ignored_options[i]) == 0)
            return true;
    return strncmp(item, "x-", 2) == 0 || strncmp(item, "comment=", 8) == 0;
}

static void parse_inodes(struct options *o, const char *value)
{
    char *end;
    errno = 0;
    unsigned long long inodes = strtoull(value, &end, 10);
    if (errno != 0 || *value < '0' || *value > '9' || *end || inodes < INODES_MIN || inodes > INODES_MAX)
        BAD("option inodes=%s: it is a number from %u to %u", value, INODES_MIN, INODES_MAX);
    o->inodes_max = (size_t)inodes;
}

static void parse_reads(struct options *o, const char *value)
{
    o->read_from_any = strcmp(value, "any") == 0;
    if (!o->read_from_any && strcmp(value, "leader") != 0)
        BAD("option reads is leader or any, not %s", value);
}

static void parse_merge_after(struct options *o, const char *value)
{
    o->no_merge = strcmp(value, "0") == 0;
    if (!o->no_merge)
        o->merge_after_ns = parse_seconds("merge_after", value);
}

struct seen {
    bool soft, hard, allow_other;
    int64_t timeo_ns;
    char cache_size[32]; /* what it is the size of, other options say */
};

static void take_cache_size(struct seen *seen, const char *value)
{
    if (strlen(value) >= sizeof seen->cache_size || *value == 0)
        BAD("option cache_size=%s: not a size", value);
    strcpy(seen->cache_size, value);
}

static void take_option(struct options *o, struct seen *seen, char *item)
{
    char *value = strchr(item, '=');
    if (value && strncmp(item, "x-", 2) != 0 && strncmp(item, "comment=", 8) != 0) {
        *value++ = 0;
        if (strcmp(item, "mount_timeout") == 0)
            o->mount_timeout_ns = parse_seconds(item, value);
        else if (strcmp(item, "timeo") == 0)
            seen->timeo_ns = parse_seconds(item, value);
        else if (strcmp(item, "reads") == 0)
            parse_reads(o, value);
        else if (strcmp(item, "inodes") == 0)
            parse_inodes(o, value);
        else if (strcmp(item, "merge_after") == 0)
            parse_merge_after(o, value);
        else if (strcmp(item, "cache") == 0)
            parse_cache(o, value);
        else if (strcmp(item, "cache_size") == 0)
            take_cache_size(seen, value);
        else if (strcmp(item, "cache_memory") == 0)
            o->cache_bytes = parse_memory(item, value);
        else if (strcmp(item, "dirty") == 0)
            o->dirty_bytes = parse_memory(item, value);
        else if (strcmp(item, "log") == 0)
            parse_path(item, value, o->log_path);
        else if (strcmp(item, "trace") == 0)
            parse_path(item, value, o->trace_path);
        else
            BAD("unknown option %s=%s", item, value);
    } else if (strcmp(item, "soft") == 0) {
        seen->soft = true;
    } else if (strcmp(item, "noepoch") == 0) {
        o->no_epoch = true;
    } else if (strcmp(item, "noinline") == 0) {
        o->no_inline = true;
    } else if (strcmp(item, "noahead") == 0) {
        o->no_ahead = true;
    } else if (strcmp(item, "hard") == 0) {
        seen->hard = true;
    } else if (strcmp(item, "allow_other") == 0) {
        seen->allow_other = true;
    } else if (strcmp(item, "remount") == 0) {
        o->remount = true;
    } else if (!take_generic(o, item)) {
        BAD("unknown option %s", item);
    }
}

/* What the kernel shows of a mount beside its flags: mount(8) gives it back for a remount. It can't be changed. */
static bool is_shown_by_kernel(const char *item)
{
    static const char *const names[] = {"user_id=", "group_id=", "max_read=", "blksize=", "rootmode=", "fd="};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (strncmp(item, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

static bool has_option(const char *text, const char *name)
{
    size_t size = strlen(name);
    for (const char *at = text; (at = strstr(at, name)); at += size)
        if ((at == text || at[-1] == ',') && (at[size] == 0 || at[size] == ','))
            return true;
    return false;
}

static void take_options(struct options *o, struct seen *seen, const char *text)
{
    char *copy = mem_strdup(text), *rest = copy;
    bool remount = has_option(text, "remount");
    for (char *item; (item = strsep(&rest, ","));)
        if (*item && !(remount && is_shown_by_kernel(item)))
            take_option(o, seen, item);
    free(copy);
}

/* ---- source and mountpoint ---- */

static void take_source(struct options *o, const char *source)
{
    if (strlen(source) >= sizeof o->source)
        BAD("%s: longer than %zu bytes", source, sizeof o->source - 1);
    strcpy(o->source, source);
    char servers[sizeof o->source];
    strcpy(servers, source);
    char *export = strstr(servers, ":/");
    if (export) {
        *export = 0;
        export += 2;
        if (strlen(export) > LIMIT_EXPORT_BYTES || strchr(export, '/'))
            BAD("%s: \"%s\" can't be the name of an export: 1 to %u bytes without '/'", source, export,
                LIMIT_EXPORT_BYTES);
    }
    strcpy(o->export_name, export && *export ? export : "default");
    struct err_text why;
    if (rpc_address_parse_list(servers, o->servers, LIMIT_NODES, &o->server_count, &why) != ERR_OK)
        BAD("%s: %s; it is HOST:PORT[,HOST:PORT...][:/EXPORT]", source, why.text);
    if (o->server_count == 0)
        BAD("\"%s\": an address HOST:PORT of the metastore is missing", source);
}

static void take_mountpoint(struct options *o, const char *path)
{
    if (*path == 0 || strlen(path) >= sizeof o->mountpoint)
        BAD("mountpoint \"%s\": not a path", path);
    strcpy(o->mountpoint, path);
}

/* libfuse splits its options at commas unless they are escaped. */
static void append_escaped(struct bytes *b, const char *text)
{
    for (; *text; text++) {
        if (*text == ',' || *text == '\\')
            bytes_u8(b, '\\');
        bytes_u8(b, (uint8_t)*text);
    }
}

static void finish_cache(struct options *o, const struct seen *seen)
{
    o->disk_cache_bytes = DISK_CACHE_DEFAULT_BYTES;
    if (!seen->cache_size[0])
        return;
    if (!o->disk_cache[0])
        o->cache_bytes = parse_memory("cache_size", seen->cache_size);
    else
        o->disk_cache_bytes = parse_size("cache_size", seen->cache_size);
    if (o->disk_cache[0] && o->disk_cache_bytes < DISK_CACHE_BYTES_MIN)
        BAD("option cache_size=%s: a cache on a disk has at least 16 MiB", seen->cache_size);
}

static void finish(struct options *o, const struct seen *seen)
{
    finish_cache(o, seen);
    if (seen->soft && seen->hard)
        BAD("options soft and hard exclude each other");
    if (seen->timeo_ns && !seen->soft)
        BAD("option timeo needs soft: a hard mount waits for ever");
    if (seen->soft)
        o->soft_timeout_ns = seen->timeo_ns ? seen->timeo_ns : (int64_t)(SOFT_TIMEOUT_DEFAULT_S * 1e9);
    struct bytes given = o->kernel;
    o->kernel = (struct bytes){0};
    kernel_append(o, "default_permissions,subtype=surffs,max_read=1048576");
    /* What was given comes last, so it wins. */
    if (geteuid() == 0)
        kernel_append(o, "dev,suid");
    if (geteuid() == 0 || seen->allow_other)
        kernel_append(o, "allow_other");
    kernel_append(o, "fsname=");
    append_escaped(&o->kernel, o->source);
    if (given.size > 0) {
        bytes_u8(&o->kernel, ',');
        bytes_append(&o->kernel, bytes_slice(&given));
    }
    bytes_u8(&o->kernel, 0);
    bytes_free(&given);
}

/* ---- the two command lines ---- */

const char *argp_program_version = "surffs " SURF_VERSION;

/* argp fills lines of more than 77 letters anew. */
static const char doc[] = "Mounts an export of a SurfFS cluster.\v"
                          "SERVERS is HOST:PORT[,HOST:PORT...][:/EXPORT]: members of the metastore; the\n"
                          "others are learned from them.\n"
                          "\n"
                          "Options for -o, which surffs(8) explains:\n"
                          "  mount_timeout=S   how long the first contact may take (10)\n"
                          "  hard              operations wait for the cluster for as long as it takes,\n"
                          "                    and can be interrupted (default)\n"
                          "  soft,timeo=S      operations fail with EIO after S seconds (30)\n"
                          "  reads=leader|any  who is asked for names and attributes: the metastore's\n"
                          "                    leader (default), or any member\n"
                          "  inodes=N          names and attributes of so many files are kept (1000000;\n"
                          "                    some 440 bytes each)\n"
                          "  cache_memory=MIB  memory for blocks (256)\n"
                          "  cache=DIR         blocks are also kept in this directory of a local disk,\n"
                          "                    which mounts of a machine may share\n"
                          "  cache_size=SIZE   how much there (4G): K, M, G or T, else MiB; without\n"
                          "                    cache=DIR: as cache_memory\n"
                          "  dirty=SIZE        memory for what is written and not committed yet (256M)\n"
                          "  merge_after=S     fragmented files that were quiet for so long are merged\n"
                          "                    (5; 0: by other mounts)\n"
                          "  log=FILE          log lines are appended there\n"
                          "  trace=FILE        what happens is appended there, with vector clocks\n"
                          "                    (surfctl trace merge)\n"
                          "  allow_other       other users may enter (always so for root's mounts)\n"
                          "  noepoch, noahead, noinline for comparison: see surffs(8)\n"
                          "  ro, noatime, nodev, nosuid, noexec, ... as in mount(8)\n"
                          "\n"
                          "Returns when the mount is up. Unmount with umount or fusermount3 -u.";

static const struct argp_option argp_options[] = {
    {"options", 'o', "OPT,...", 0, "mount options, see below", 0},
    {"foreground", 'f', NULL, 0, "stay in the foreground", 0},
    {"debug", 'd', NULL, 0, "log in detail", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

struct parse {
    struct options *options;
    struct seen seen;
};

static error_t parse_one(int key, char *arg, struct argp_state *state)
{
    struct parse *p = state->input;
    switch (key) {
    case 'o':
        take_options(p->options, &p->seen, arg);
        return 0;
    case 'f':
        p->options->foreground = true;
        return 0;
    case 'd':
        p->options->debug = true;
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num == 0)
            take_source(p->options, arg);
        else if (state->arg_num == 1)
            take_mountpoint(p->options, arg);
        else
            argp_error(state, "one argument too many: %s", arg);
        return 0;
    case ARGP_KEY_END:
        if (state->arg_num < 2)
            argp_error(state, "%s is missing", state->arg_num == 0 ? "SERVERS" : "MOUNTPOINT");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* mount.surffs SOURCE DIR [-sfnv] [-N namespace] [-o options] [-t type] */
static void parse_as_helper(struct parse *p, int argc, char **argv)
{
    for (int c; (c = getopt(argc, argv, "sfnvN:o:t:")) != -1;) {
        if (c == 'o')
            take_options(p->options, &p->seen, optarg);
        else if (c == 'f')
            p->options->fake = true;
        else if (c == 'N')
            BAD("option -N %s: mount namespaces are not supported", optarg);
        else if (c == '?')
            exit(EXIT_USAGE);
    }
    if (argc - optind != 2)
        BAD("mount.surffs takes SERVERS and MOUNTPOINT, not %d arguments", argc - optind);
    take_source(p->options, argv[optind]);
    take_mountpoint(p->options, argv[optind + 1]);
}

void options_parse(struct options *o, int argc, char **argv)
{
    static const struct argp argp = {argp_options, parse_one, "SERVERS MOUNTPOINT", doc, NULL, NULL, NULL};
    struct parse p = {.options = o};
    memset(o, 0, sizeof *o);
    o->mount_timeout_ns = (int64_t)(MOUNT_TIMEOUT_DEFAULT_S * 1e9);
    const char *name = argc > 0 ? strrchr(argv[0], '/') : NULL;
    name = name ? name + 1 : (argc > 0 ? argv[0] : "");
    if (strncmp(name, "mount.", 6) == 0)
        parse_as_helper(&p, argc, argv);
    else
        argp_parse(&argp, argc, argv, 0, NULL, &p);
    finish(o, &p.seen);
}

void options_close(struct options *o)
{
    bytes_free(&o->kernel);
}
