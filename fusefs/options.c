#include "fusefs/options.h"

#include <argp.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

#define MOUNT_TIMEOUT_DEFAULT_S 10.0
#define SOFT_TIMEOUT_DEFAULT_S 30.0
#define TIMEOUT_MAX_S 86400.0
#define CACHE_MAX_MIB (1024u * 1024u)

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

static void parse_cache_size(struct options *o, const char *value)
{
    char *end;
    errno = 0;
    unsigned long long size = strtoull(value, &end, 10);
    if (*value < '0' || *value > '9' || *end != 0 || errno != 0 || size < 1 || size > CACHE_MAX_MIB)
        BAD("option cache_size=%s: not a number of MiB from 1 to %u", value, CACHE_MAX_MIB);
    o->cache_bytes = (size_t)size * MIB;
}

static void parse_log(struct options *o, const char *value)
{
    if (*value == 0 || strlen(value) >= sizeof o->log_path)
        BAD("option log=%s: not a file name", value);
    strcpy(o->log_path, value);
}

/* Options of the kernel's mount, which libfuse takes as they are. */
static const struct {
    const char *name;
    unsigned long flag; /* for remount; 0: cleared or without a flag */
} kernel_options[] = {
    {"ro", MS_RDONLY},
    {"rw", 0},
    {"dev", 0},
    {"nodev", MS_NODEV},
    {"suid", 0},
    {"nosuid", MS_NOSUID},
    {"exec", 0},
    {"noexec", MS_NOEXEC},
    {"sync", MS_SYNCHRONOUS},
    {"async", 0},
    {"dirsync", MS_DIRSYNC},
    {"noatime", MS_NOATIME},
    {"nodiratime", MS_NODIRATIME},
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
        o->remount_flags |= kernel_options[i].flag;
        o->read_only = strcmp(item, "ro") == 0 || (o->read_only && strcmp(item, "rw") != 0);
        kernel_append(o, item);
        return true;
    }
    for (size_t i = 0; i < ARRAY_SIZE(ignored_options); i++)
        if (strcmp(item, ignored_options[i]) == 0)
            return true;
    return strncmp(item, "x-", 2) == 0 || strncmp(item, "comment=", 8) == 0;
}

struct seen {
    bool soft, hard, allow_other;
    int64_t timeo_ns;
};

static void take_option(struct options *o, struct seen *seen, char *item)
{
    char *value = strchr(item, '=');
    if (value && strncmp(item, "x-", 2) != 0 && strncmp(item, "comment=", 8) != 0) {
        *value++ = 0;
        if (strcmp(item, "mount_timeout") == 0)
            o->mount_timeout_ns = parse_seconds(item, value);
        else if (strcmp(item, "timeo") == 0)
            seen->timeo_ns = parse_seconds(item, value);
        else if (strcmp(item, "cache_size") == 0)
            parse_cache_size(o, value);
        else if (strcmp(item, "log") == 0)
            parse_log(o, value);
        else
            BAD("unknown option %s=%s", item, value);
    } else if (strcmp(item, "soft") == 0) {
        seen->soft = true;
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

static void take_options(struct options *o, struct seen *seen, const char *text)
{
    char *copy = mem_strdup(text), *rest = copy;
    for (char *item; (item = strsep(&rest, ","));)
        if (*item)
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
        BAD("%s: %s", source, why.text);
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

static void finish(struct options *o, const struct seen *seen)
{
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

static const char doc[] =
    "Mounts an export of a SurfFS cluster.\v"
    "SERVERS is HOST:PORT[,HOST:PORT...][:/EXPORT]: members of the metastore; the others are learned from them.\n"
    "\n"
    "Options for -o:\n"
    "  mount_timeout=S   how long the first contact may take, in seconds (default 10)\n"
    "  hard              operations wait for the cluster for as long as it takes (default); they can be interrupted\n"
    "  soft,timeo=S      operations fail with EIO after S seconds (default 30)\n"
    "  cache_size=MIB    memory for blocks (default 256)\n"
    "  log=FILE          where log lines go\n"
    "  allow_other       other users may enter (always so for root's mounts)\n"
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
