/* surf_probe.c: single operations of libsurf and of the wire for the system tests, without a mount.
 *
 *   surf-probe -m ADDR,... update NAME VERSION   commit new contents if the file is at VERSION-1: the version, or -1
 *   surf-probe -m ADDR,... version NAME          the file's version
 *   surf-probe -m ADDR,... ls                    names in the root directory
 *   surf-probe -m ADDR,... retry NAME            mkdir, sent twice under one request number: both outcomes
 *   surf-probe -m ADDR,... retry-append KEY      the same with an element of a list; the second time after a line of
 * input
 *   surf-probe -m ADDR,... next                  a command of the level that this program doesn't know: what came of it
 *   --only ADDR   asks that node alone, once, and says what it answered
 *   --hold        update says "ready" when all but the commit is done, and waits for a line of input
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/prng.h"
#include "client/surf.h"
#include "proto/methods.h"
#include "proto/wire_meta.h"

#define CALL_DEADLINE_NS (90 * NS_PER_S)
#define RETRY_PAUSE_NS (20 * NS_PER_MS)

static struct rpc_address probe_servers[LIMIT_NODES];
static size_t probe_server_count;
static bool probe_holds;

static int failed(enum err e, const char *what, const char *more)
{
    fprintf(stderr, "surf-probe: %s: %s%s%s\n", what, err_message(e), more[0] ? ": " : "", more);
    return 1;
}

static enum err accept_any_hello(void *context, struct slice hello, struct err_text *why)
{
    (void)context, (void)hello, (void)why;
    return ERR_OK;
}

static struct rpc_channel *channel_to(const struct rpc_address *address, struct arena *arena)
{
    struct wire_hello hello = {.role = WIRE_ROLE_CLIENT,
                               .version_min = WIRE_VERSION_MIN,
                               .version_max = WIRE_VERSION_MAX,
                               .name = slice_str("surf-probe")};
    struct rpc_channel_options options = {.address = *address,
                                          .hello = wire_hello_encode(&hello, arena),
                                          .on_hello = accept_any_hello,
                                          .connect_timeout_ns = 2 * NS_PER_S};
    return rpc_channel_new(&options);
}

/* One request to one node; the answer's message is copied into the arena. */
static enum err ask(struct rpc_channel *channel, unsigned method, struct slice message, struct arena *arena,
                    struct slice *ret)
{
    struct rpc_call *call = NULL;
    struct slice answer, payload;
    enum err e = rpc_channel_call(channel, (uint16_t)method, message, NULL, 0, clock_boot_ns() + CALL_DEADLINE_NS, NULL,
                                  &call, &answer, &payload);
    *ret = call ? arena_slice(arena, answer) : SLICE(NULL, 0);
    if (call)
        rpc_call_free(call);
    return e;
}

static int say_refusal(enum err e, struct slice detail, struct arena *arena)
{
    struct wire_error error;
    wire_error_decode(detail, arena, &error);
    char leader[LIMIT_ADDRESS_BYTES + 32] = "";
    if (error.leader_address.size > 0)
        snprintf(leader, sizeof leader, "the leader is %.*s", (int)error.leader_address.size,
                 (const char *)error.leader_address.data);
    return failed(e, "refused", leader);
}

static struct slice session_open_message(struct arena *arena)
{
    struct meta_command open = {.op = META_SESSION_OPEN};
    open.session_open.export = slice_str(META_EXPORT_DEFAULT);
    open.session_open.client = slice_str("surf-probe");
    random_bytes(open.session_open.nonce, sizeof open.session_open.nonce);
    return wire_meta_command_encode(&open, arena);
}

static int ask_only(const char *address_text, const char *command, const char *name)
{
    struct rpc_address address;
    struct err_text why;
    if (rpc_address_parse(address_text, &address, &why) != ERR_OK) {
        fprintf(stderr, "surf-probe: %s\n", why.text);
        return 64;
    }
    struct arena arena = {0};
    struct rpc_channel *channel = channel_to(&address, &arena);
    struct slice answer;
    enum err e;
    if (strcmp(command, "version") == 0) {
        struct meta_query query = {.op = META_QUERY_LOOKUP, .ino = META_ROOT_INO, .name = slice_str(name)};
        e = ask(channel, METHOD_META_QUERY, wire_meta_query_encode(&query, &arena), &arena, &answer);
    } else {
        e = ask(channel, METHOD_META_CALL, session_open_message(&arena), &arena, &answer);
    }
    int code = e == ERR_OK ? 0 : say_refusal(e, answer, &arena);
    rpc_channel_free(channel);
    arena_free(&arena);
    return code;
}

/* Asks one server after the other until one of them answers as the leader. */
static enum err ask_leader(unsigned method, struct slice message, struct arena *arena, struct slice *ret)
{
    int64_t end = clock_boot_ns() + CALL_DEADLINE_NS;
    for (size_t i = 0;; i = (i + 1) % probe_server_count) {
        struct rpc_channel *channel = channel_to(&probe_servers[i], arena);
        enum err e = ask(channel, method, message, arena, ret);
        rpc_channel_free(channel);
        if ((err_class(e) != ERR_CLASS_LEADER && err_class(e) != ERR_CLASS_WAIT && err_class(e) != ERR_CLASS_RETRY) ||
            clock_boot_ns() > end)
            return e;
        nanosleep(&(struct timespec){.tv_nsec = RETRY_PAUSE_NS}, NULL);
    }
}

static enum err open_session(struct arena *arena, uint64_t *ret)
{
    struct slice answer;
    struct err_text why;
    struct meta_reply reply;
    TRY(ask_leader(METHOD_META_CALL, session_open_message(arena), arena, &answer));
    TRY(wire_meta_reply_decode(answer, arena, &reply, &why));
    *ret = reply.session;
    return reply.status;
}

/* The command, twice under one request number; between the two, with `waits`, until a line comes in. */
static int retry(struct meta_command *command, const char *name, bool waits)
{
    struct arena arena = {0};
    struct slice answer;
    struct err_text why;
    struct meta_reply reply;
    int code = 1;
    enum err e = open_session(&arena, &command->session);
    if (e != ERR_OK) {
        failed(e, "session", "");
        goto out;
    }
    command->seq = 1;
    struct slice message = wire_meta_command_encode(command, &arena);
    for (int attempt = 0; attempt < 2; attempt++) {
        e = ask_leader(METHOD_META_CALL, message, &arena, &answer);
        if (e != ERR_OK || wire_meta_reply_decode(answer, &arena, &reply, &why) != ERR_OK) {
            failed(e, "retry", name);
            goto out;
        }
        if (!waits) {
            printf("%s\n", err_name(reply.status));
            continue;
        }
        printf("%s %" PRIu64 "\n", err_name(reply.status), reply.kv_version);
        fflush(stdout);
        if (attempt == 0)
            (void)!getchar();
    }
    code = 0;
out:
    arena_free(&arena);
    return code;
}

static int next(void)
{
    _cleanup_(arena_free) struct arena arena = {0};
    struct meta_command command = {.op = META_NEXT, .seq = 1};
    struct slice answer;
    struct err_text why;
    struct meta_reply reply = {.status = ERR_OK};
    enum err e = open_session(&arena, &command.session);
    if (e != ERR_OK)
        return failed(e, "session", "");
    e = ask_leader(METHOD_META_CALL, wire_meta_command_encode(&command, &arena), &arena, &answer);
    if (e == ERR_OK)
        e = wire_meta_reply_decode(answer, &arena, &reply, &why);
    printf("%s\n", err_name(e != ERR_OK ? e : reply.status));
    return 0;
}

static int retry_mkdir(const char *name)
{
    struct meta_command command = {.op = META_MKDIR};
    command.make.parent = META_ROOT_INO;
    command.make.name = slice_str(name);
    command.make.mode = S_IFDIR | 0755;
    return retry(&command, name, false);
}

static int retry_append(const char *key)
{
    struct meta_kv_change change = {
        .kind = META_KV_APPEND, .type = META_KV_BYTES, .key = slice_str(key), .value = slice_str("once")};
    struct meta_command command = {.op = META_KV, .kv = {.changes = &change, .count = 1}};
    return retry(&command, key, true);
}

static int print_version(struct surf *s, const char *name)
{
    struct meta_attr attr;
    enum err e = surf_lookup(s, &(struct surf_caller){0}, META_ROOT_INO, slice_str(name), &attr);
    if (e != ERR_OK)
        return failed(e, name, "");
    printf("%" PRIu64 "\n", attr.version);
    return 0;
}

static int print_names(struct surf *s)
{
    struct arena arena = {0};
    struct meta_query_reply page = {0};
    uint64_t cookie = 0;
    do {
        enum err e = surf_readdir(s, &(struct surf_caller){0}, META_ROOT_INO, cookie, 0, false, &arena, &page);
        if (e != ERR_OK)
            return failed(e, "readdir", "");
        for (unsigned i = 0; i < page.entry_count; i++) {
            printf("%.*s\n", (int)page.entries[i].name.size, (const char *)page.entries[i].name.data);
            cookie = page.entries[i].cookie;
        }
    } while (!page.end);
    arena_free(&arena);
    return 0;
}

static int update(struct surf *s, const char *name, uint64_t version)
{
    struct surf_caller caller = {0};
    struct meta_attr attr;
    enum err e = surf_lookup(s, &caller, META_ROOT_INO, slice_str(name), &attr);
    if (e == ERR_NOENT && version == 1)
        e = surf_create(s, &caller, META_ROOT_INO, slice_str(name), S_IFREG | 0644, 0, &attr, NULL, NULL);
    if (e == ERR_NOENT) {
        printf("-1\n");
        return 0;
    }
    if (e != ERR_OK)
        return failed(e, name, "");

    char text[256];
    size_t size = (size_t)snprintf(text, sizeof text, "%.200s version %" PRIu64, name, version);
    struct block_buffer *block = block_buffer_new(mem_dup(text, size), size);
    struct meta_extent extent = {.length = size, .block = block->id};
    struct block_client *blocks = block_client_new(surf_meta(s), 0);
    e = block_client_put_durable(blocks, &block, 1, NULL);
    block_client_free(blocks);
    block_buffer_unref(block);
    if (e != ERR_OK)
        return failed(e, "block", "");
    struct meta_command commit = {.op = META_COMMIT};
    commit.commit.ino = attr.ino;
    commit.commit.extents = &extent;
    commit.commit.extent_count = 1;
    commit.commit.size_at_least = extent.length;
    commit.commit.has_expected_version = true;
    commit.commit.expected_version = version - 1;
    struct meta_reply reply;
    if (probe_holds) {
        puts("ready");
        fflush(stdout);
        (void)!getchar();
    }
    e = meta_client_call(surf_meta(s), &commit, NULL, &reply);
    if (e == ERR_OK)
        e = reply.status;
    if (e == ERR_VERSION) {
        printf("-1\n");
        return 0;
    }
    if (e != ERR_OK)
        return failed(e, "commit", "");
    printf("%" PRIu64 "\n", reply.attr.version);
    return 0;
}

static int usage(void)
{
    fprintf(stderr,
            "usage: surf-probe -m ADDR[,ADDR...] [--only ADDR] [--hold] update NAME VERSION | version NAME | ls |\n"
            "                  retry NAME | retry-append KEY | next\n");
    return 64;
}

int main(int argc, char **argv)
{
    const char *only = NULL;
    struct err_text why;
    int at = 1;
    for (; at + 1 < argc && argv[at][0] == '-'; at += 2) {
        if (strcmp(argv[at], "--hold") == 0) {
            probe_holds = true;
            at--;
        } else if (strcmp(argv[at], "--only") == 0) {
            only = argv[at + 1];
        } else if (strcmp(argv[at], "-m") != 0 || rpc_address_parse_list(argv[at + 1], probe_servers, LIMIT_NODES,
                                                                         &probe_server_count, &why) != ERR_OK) {
            return usage();
        }
    }
    const char *command = at < argc ? argv[at] : "", *name = at + 1 < argc ? argv[at + 1] : "";
    if (only)
        return ask_only(only, command, name);
    if (probe_server_count == 0)
        return usage();
    if (strcmp(command, "retry") == 0)
        return retry_mkdir(name);
    if (strcmp(command, "next") == 0)
        return next();
    if (strcmp(command, "retry-append") == 0 && name[0])
        return retry_append(name);

    struct surf_options options = {.servers = probe_servers,
                                   .server_count = probe_server_count,
                                   .export_name = META_EXPORT_DEFAULT,
                                   .client_name = "surf-probe",
                                   .mount_timeout_ns = CALL_DEADLINE_NS};
    struct surf *s;
    enum err e = surf_open_export(&options, &s, &why);
    if (e != ERR_OK)
        return failed(e, "open", why.text);
    int code;
    if (strcmp(command, "update") == 0 && at + 2 < argc)
        code = update(s, name, strtoull(argv[at + 2], NULL, 10));
    else if (strcmp(command, "version") == 0)
        code = print_version(s, name);
    else if (strcmp(command, "ls") == 0)
        code = print_names(s);
    else
        code = usage();
    surf_close_export(s, NS_PER_S);
    return code;
}
