#include "daemon/datadir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/prng.h"
#include "raftlog/raftlog.h"

#define LOG_MODULE "datadir"
#include "base/log.h"

/* identity: u32 format, u32 node id, 16 bytes uuid, u8 has cluster id, 16 bytes cluster id, u32 roles, u8 parts,
 * u8 configured, u8 rejoin, u8 dropping, u32 member count, u32 member ids; in the envelope of small_file_write, which
 * has the checksum. Parts is a sum of PART_*; programs that know of no PART_DURABILITY take anything but 0 for
 * PART_ALL. */
#define IDENTITY_FORMAT 2u
#define IDENTITY_BYTES_MAX 256u
#define IDENTITY_NAME "identity"
#define PART_ALL 1u        /* complete */
#define PART_DURABILITY 2u /* a durability log, too; made when the others were */
#define REMOVE_FILES_OPEN 16

struct identity {
    uint32_t node_id, roles;
    uint8_t uuid[16], cluster_id[16];
    bool has_cluster_id, complete;
    bool configured; /* the log has the members: those of the first start don't count any more */
    enum datadir_rejoin rejoin;
    bool dropping;   /* the metastore's parts are being removed */
    bool durability; /* there is a durability log */
    uint32_t members[LIMIT_NODES];
    unsigned member_count;
};

struct datadir {
    char path[PATH_MAX];
    int lock_fd; /* the directory itself, held with flock */
    struct file_table_dir *dir;
    struct identity identity;
};

static enum err identity_decode(struct slice s, struct identity *ret)
{
    struct cursor c = cursor_of(s);
    struct identity i = {0};
    if (cursor_u32(&c) != IDENTITY_FORMAT)
        return ERR_CORRUPT;
    i.node_id = cursor_u32(&c);
    struct slice uuid = cursor_take(&c, 16);
    i.has_cluster_id = cursor_u8(&c) != 0;
    struct slice cluster = cursor_take(&c, 16);
    i.roles = cursor_u32(&c);
    uint8_t parts = cursor_u8(&c);
    i.complete = parts & PART_ALL;
    i.durability = parts & PART_DURABILITY;
    i.configured = cursor_u8(&c) != 0;
    i.rejoin = (enum datadir_rejoin)cursor_u8(&c);
    i.dropping = cursor_u8(&c) != 0;
    i.member_count = cursor_u32(&c);
    if (!cursor_ok(&c) || i.member_count > LIMIT_NODES || i.rejoin > DATADIR_REJOIN_ASK_VOTER)
        return ERR_CORRUPT;
    for (unsigned m = 0; m < i.member_count; m++)
        i.members[m] = cursor_u32(&c);
    if (!cursor_done(&c))
        return ERR_CORRUPT;
    memcpy(i.uuid, uuid.data, 16);
    memcpy(i.cluster_id, cluster.data, 16);
    *ret = i;
    return ERR_OK;
}

static enum err identity_write(struct datadir *d, const struct identity *i, struct err_text *why)
{
    _cleanup_(bytes_free) struct bytes b = {0};
    bytes_u32(&b, IDENTITY_FORMAT);
    bytes_u32(&b, i->node_id);
    bytes_append(&b, SLICE(i->uuid, 16));
    bytes_u8(&b, i->has_cluster_id);
    bytes_append(&b, SLICE(i->cluster_id, 16));
    bytes_u32(&b, i->roles);
    bytes_u8(&b, (uint8_t)((i->complete ? PART_ALL : 0) | (i->durability ? PART_DURABILITY : 0)));
    bytes_u8(&b, i->configured);
    bytes_u8(&b, i->rejoin);
    bytes_u8(&b, i->dropping);
    bytes_u32(&b, i->member_count);
    for (unsigned m = 0; m < i->member_count; m++)
        bytes_u32(&b, i->members[m]);
    enum err e = small_file_write(file_table_system(), d->dir, IDENTITY_NAME, bytes_slice(&b));
    if (e != ERR_OK)
        return err_explain(why, e, "can't write %.150s/%s: %s", d->path, IDENTITY_NAME, err_message(e));
    d->identity = *i;
    return ERR_OK;
}

static const char *roles_name(unsigned roles)
{
    return roles == WIRE_NODE_META ? "meta" : roles == WIRE_NODE_BLOCK ? "block" : "both";
}

static void members_text(const uint32_t *members, unsigned count, char *to, size_t size)
{
    size_t at = 0;
    to[0] = 0;
    for (unsigned i = 0; i < count && at < size; i++)
        at += (size_t)snprintf(to + at, size - at, "%s%u", i ? "," : "", members[i]);
}

/* A log has files from its beginning. */
static bool is_empty_log(const struct datadir *d, const char *name)
{
    int fd = openat(d->lock_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        if (fd >= 0)
            close(fd);
        return false; /* who opens it says what is wrong */
    }
    bool empty = true;
    for (struct dirent *entry; empty && (entry = readdir(dir));)
        empty = entry->d_name[0] == '.' || strcmp(entry->d_name, "lost+found") == 0;
    closedir(dir);
    return empty;
}

/* What this node has stored and told others of must be there. */
static enum err check_parts(const struct datadir *d, const struct datadir_options *o, struct err_text *why)
{
    const struct identity *i = &d->identity;
    bool of_metastore = (i->roles & WIRE_NODE_META) && !o->rebuild;
    const struct {
        const char *name;
        bool there, is_log;
        const char *option;
    } parts[] = {{"log", i->complete && of_metastore, true, ""},
                 {"state", i->complete && of_metastore, false, ""},
                 {"durability", i->durability && of_metastore, true, ""},
                 {"blocks", i->complete && (i->roles & WIRE_NODE_BLOCK) && !o->rebuild_blocks, false, "-blocks"}};
    for (size_t p = 0; p < ARRAY_SIZE(parts); p++) {
        if (!parts[p].there)
            continue;
        bool missing = faccessat(d->lock_fd, parts[p].name, F_OK, 0) != 0;
        if (missing || (parts[p].is_log && is_empty_log(d, parts[p].name)))
            return err_explain(why, ERR_CORRUPT,
                               "%.120s/%s is %s: what this node had stored there is lost; "
                               "surfd --rebuild%s takes it anew from the others",
                               d->path, parts[p].name, missing ? "missing" : "empty", parts[p].option);
    }
    return ERR_OK;
}

static enum err identity_check(const struct datadir *d, const struct datadir_options *o, struct err_text *why)
{
    const struct identity *i = &d->identity;
    if (i->node_id != o->node_id)
        return err_explain(why, ERR_WRONG_NODE, "data directory %.150s belongs to node %u, this is node %u", d->path,
                           i->node_id, o->node_id);
    if (i->roles != o->roles)
        return err_explain(why, ERR_WRONG_NODE, "data directory %.150s was made with role %s, not %s", d->path,
                           roles_name(i->roles), roles_name(o->roles));
    if ((o->roles & WIRE_NODE_META) && !i->configured &&
        (i->member_count != o->member_count ||
         memcmp(i->members, o->members, o->member_count * sizeof *o->members) != 0)) {
        char stored[64], given[64];
        members_text(i->members, i->member_count, stored, sizeof stored);
        members_text(o->members, o->member_count, given, sizeof given);
        return err_explain(why, ERR_WRONG_CLUSTER,
                           "data directory %.120s belongs to a metastore of nodes %s, peers says %s", d->path, stored,
                           given);
    }
    return check_parts(d, o, why);
}

/* A directory with other things in it is somebody else's. */
static enum err check_empty(const char *path, struct err_text *why)
{
    DIR *dir = opendir(path);
    if (!dir)
        return err_explain(why, err_from_errno(errno), "data directory %.150s: %s", path, strerror(errno));
    enum err e = ERR_OK;
    for (struct dirent *entry; e == ERR_OK && (entry = readdir(dir));) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && strcmp(name, "lost+found") != 0 &&
            strncmp(name, IDENTITY_NAME, strlen(IDENTITY_NAME)) != 0)
            e = err_explain(why, ERR_CORRUPT,
                            "data directory %.120s has no file \"%s\", but is not empty: there is \"%.60s\" in it",
                            path, IDENTITY_NAME, name);
    }
    closedir(dir);
    return e;
}

static enum err make_directory(const char *path, struct err_text *why)
{
    char part[PATH_MAX];
    snprintf(part, sizeof part, "%s", path);
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (mkdir(part, 0755) != 0 && errno != EEXIST)
            return err_explain(why, err_from_errno(errno), "can't make %.120s for data directory %.120s: %s", part,
                               path, strerror(errno));
        *slash = '/';
    }
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return err_explain(why, err_from_errno(errno), "can't make data directory %.150s: %s", path, strerror(errno));
    return ERR_OK;
}

static enum err lock_directory(struct datadir *d, const char *path, struct err_text *why)
{
    TRY(make_directory(path, why));
    d->lock_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (d->lock_fd < 0)
        return err_explain(why, err_from_errno(errno), "data directory %.150s: %s", path, strerror(errno));
    if (flock(d->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK)
            return err_explain(why, ERR_LOCKED, "data directory %.150s is in use by another process", path);
        return err_explain(why, err_from_errno(errno), "can't lock data directory %.150s: %s", path, strerror(errno));
    }
    if (access(path, R_OK | W_OK | X_OK) != 0)
        return err_explain(why, err_from_errno(errno), "data directory %.150s: no permission to write in it: %s", path,
                           strerror(errno));
    return ERR_OK;
}

static bool is_of_metastore(const char *name)
{
    return strcmp(name, "log") == 0 || strcmp(name, "state") == 0 || strcmp(name, "state.tmp") == 0 ||
           strcmp(name, "incoming") == 0 || strcmp(name, "durability") == 0 || strcmp(name, "diverged") == 0 ||
           strncmp(name, "meta-", 5) == 0 || strncmp(name, "outgoing-", 9) == 0;
}

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *ftw)
{
    (void)stat, (void)type, (void)ftw;
    return remove(path);
}

/* Everything of the metastore's role goes; then this is a new member that asks to take the old one's place. */
static enum err drop_metastore(struct datadir *d, struct err_text *why)
{
    DIR *dir = opendir(d->path);
    if (!dir)
        return err_explain(why, err_from_errno(errno), "data directory %.150s: %s", d->path, strerror(errno));
    enum err e = ERR_OK;
    for (struct dirent *entry; e == ERR_OK && (entry = readdir(dir));) {
        char path[PATH_MAX + sizeof entry->d_name];
        snprintf(path, sizeof path, "%s/%s", d->path, entry->d_name);
        if (is_of_metastore(entry->d_name) && nftw(path, remove_one, REMOVE_FILES_OPEN, FTW_DEPTH | FTW_PHYS) != 0)
            e = err_explain(why, err_from_errno(errno), "%.150s can't be removed: %s", path, strerror(errno));
    }
    closedir(dir);
    TRY(e);
    struct identity changed = d->identity;
    random_bytes(changed.uuid, sizeof changed.uuid);
    changed.dropping = changed.complete = changed.durability = false;
    changed.configured = true;
    /* One that is rebuilt again before it was in its place may be a learner to the others by now, or nobody. */
    bool was_voter = changed.rejoin == DATADIR_REJOIN_VOTER || changed.rejoin == DATADIR_REJOIN_ASK_VOTER;
    changed.rejoin = was_voter ? DATADIR_REJOIN_ASK_VOTER : DATADIR_REJOIN_ASK;
    return identity_write(d, &changed, why);
}

static enum err load_identity(struct datadir *d, const struct datadir_options *o, struct err_text *why)
{
    const struct file_table *files = file_table_system();
    TRY(files->open_dir(files->context, d->path, &d->dir, why));
    _cleanup_(bytes_free) struct bytes content = {0};
    struct err_text reason = {""};
    enum err e = small_file_read(files, d->dir, IDENTITY_NAME, IDENTITY_BYTES_MAX, &content, &reason);
    if (e == ERR_NOT_FOUND) {
        TRY(check_empty(d->path, why));
        struct identity fresh = {.node_id = o->node_id, .roles = o->roles, .member_count = o->member_count};
        random_bytes(fresh.uuid, sizeof fresh.uuid);
        memcpy(fresh.members, o->members, sizeof fresh.members);
        return identity_write(d, &fresh, why);
    }
    if (e == ERR_OK && identity_decode(bytes_slice(&content), &d->identity) != ERR_OK)
        e = err_explain(&reason, ERR_CORRUPT, "unknown format");
    if (e != ERR_OK)
        return err_explain(why, e, "%.120s/%s is damaged: %.100s", d->path, IDENTITY_NAME,
                           reason.text[0] ? reason.text : err_message(e));
    if (e == ERR_OK && d->identity.dropping)
        TRY(drop_metastore(d, why));
    return identity_check(d, o, why);
}

enum err datadir_rebuild(struct datadir *d, struct err_text *why)
{
    /* Under the old identity: a crash in between is gone on with at the next open. */
    struct identity changed = d->identity;
    changed.dropping = true;
    TRY(identity_write(d, &changed, why));
    return drop_metastore(d, why);
}

enum err datadir_put_blocks_aside(struct datadir *d, struct err_text *why)
{
    int fd = d->lock_fd;
    bool lost = faccessat(fd, "blocks", F_OK, 0) != 0;
    /* In one step, so that after a crash there is a store, the old one or the new. An empty directory is what a crash
     * before that step has left. */
    const char *made = lost ? "blocks" : "blocks.damaged";
    if (!lost && unlinkat(fd, made, AT_REMOVEDIR) != 0 && errno != ENOENT)
        return err_explain(why, ERR_EXIST, "%.150s/%s is there already: remove it first", d->path, made);
    if (mkdirat(fd, made, 0700) != 0 || (!lost && renameat2(fd, "blocks", fd, made, RENAME_EXCHANGE) != 0) ||
        fsync(fd) != 0)
        return err_explain(why, err_from_errno(errno), "can't put %.150s/blocks aside: %s", d->path, strerror(errno));
    if (lost)
        return ERR_OK;
    log_warn("%s/blocks is put aside as blocks.damaged; the other block servers fill a new one", d->path);
    return ERR_OK;
}

enum err datadir_open(const struct datadir_options *options, struct datadir **ret, struct err_text *why)
{
    struct datadir *d = MEM_NEW(struct datadir);
    d->lock_fd = -1;
    snprintf(d->path, sizeof d->path, "%s", options->path);
    enum err e = lock_directory(d, options->path, why);
    if (e == ERR_OK)
        e = load_identity(d, options, why);
    if (e != ERR_OK) {
        datadir_close(d);
        return e;
    }
    *ret = d;
    return ERR_OK;
}

void datadir_close(struct datadir *d)
{
    if (!d)
        return;
    const struct file_table *files = file_table_system();
    if (d->dir)
        files->close_dir(files->context, d->dir);
    if (d->lock_fd >= 0)
        close(d->lock_fd);
    free(d);
}

enum datadir_rejoin datadir_rejoin(const struct datadir *d)
{
    return d->identity.rejoin;
}

enum err datadir_set_rejoin(struct datadir *d, enum datadir_rejoin rejoin, struct err_text *why)
{
    struct identity changed = d->identity;
    changed.rejoin = rejoin;
    return identity_write(d, &changed, why);
}

bool datadir_is_configured(const struct datadir *d)
{
    return d->identity.configured;
}

enum err datadir_configured(struct datadir *d, struct err_text *why)
{
    struct identity changed = d->identity;
    changed.configured = true;
    return identity_write(d, &changed, why);
}

const uint8_t *datadir_uuid(const struct datadir *d)
{
    return d->identity.uuid;
}

bool datadir_is_complete(const struct datadir *d)
{
    return d->identity.complete;
}

enum err datadir_complete(struct datadir *d, struct err_text *why)
{
    struct identity changed = d->identity;
    changed.complete = true;
    return identity_write(d, &changed, why);
}

enum err datadir_has_durability(struct datadir *d, struct err_text *why)
{
    struct identity changed = d->identity;
    if (changed.durability)
        return ERR_OK;
    changed.durability = true;
    return identity_write(d, &changed, why);
}

const uint8_t *datadir_cluster_id(const struct datadir *d)
{
    return d->identity.has_cluster_id ? d->identity.cluster_id : NULL;
}

enum err datadir_set_cluster_id(struct datadir *d, const uint8_t id[16], struct err_text *why)
{
    struct identity changed = d->identity;
    if (changed.has_cluster_id) {
        if (memcmp(changed.cluster_id, id, 16) == 0)
            return ERR_OK;
        return err_explain(why, ERR_WRONG_CLUSTER, "data directory %.150s belongs to another cluster", d->path);
    }
    changed.has_cluster_id = true;
    memcpy(changed.cluster_id, id, 16);
    return identity_write(d, &changed, why);
}

void datadir_path(const struct datadir *d, const char *name, char ret[PATH_MAX])
{
    snprintf(ret, PATH_MAX, "%.*s/%s", PATH_MAX - 64, d->path, name);
}
