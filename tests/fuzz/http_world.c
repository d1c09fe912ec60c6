#include "tests/fuzz/http_world.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/stat.h>

#include "base/check.h"
#include "base/mem.h"
#include "client/kv/kv.h"
#include "client/survey/survey.h"
#include "gateway/http_files.h"
#include "gateway/picture.h"

struct http_world http_world;

static unsigned toss(unsigned sides)
{
    unsigned result = (unsigned)(http_world.coin % sides);
    http_world.coin = http_world.coin / sides ^ http_world.coin << 17;
    return result;
}

/* ---- the session ---- */

enum err gateway_session_get(struct gateway_session *s, struct surf **ret, struct err_text *why)
{
    (void)s;
    *ret = NULL;
    return toss(20) == 0 ? err_explain(why, ERR_TIMEOUT, "nobody answers") : ERR_OK;
}

struct rpc_cancel *gateway_session_cancel(struct gateway_session *s)
{
    (void)s;
    return NULL;
}

struct asker gateway_session_asker(const struct gateway_session *s, struct arena *arena)
{
    (void)s;
    return (struct asker){.arena = arena};
}

const union MHD_ConnectionInfo *MHD_get_connection_info(struct MHD_Connection *connection,
                                                        enum MHD_ConnectionInfoType what, ...)
{
    static struct sockaddr_in address = {.sin_family = AF_INET};
    static union MHD_ConnectionInfo info = {.client_addr = (struct sockaddr *)&address};
    (void)connection;
    CHECK(what == MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    address.sin_addr.s_addr = htonl(http_world.loopback ? INADDR_LOOPBACK : 0xc0000201);
    return &info;
}

/* ---- keys ---- */

void kv_list_add(struct bytes *list, struct slice element)
{
    bytes_blob(list, element);
}

bool kv_list_next(struct cursor *list, struct slice *ret)
{
    *ret = list->at < list->end ? cursor_blob(list, LIMIT_KV_VALUE_BYTES) : SLICE(NULL, 0);
    return ret->data && cursor_ok(list);
}

struct meta_client *surf_meta(struct surf *s)
{
    (void)s;
    return NULL;
}

static void check_key(struct slice key)
{
    CHECK(key.size > 0 && key.size <= LIMIT_KV_KEY_BYTES);
}

static void check_value(const struct kv_value *value)
{
    struct cursor c = cursor_of(value->bytes);
    struct slice element;
    CHECK(value->type == META_KV_LIST && value->ttl_ns == 0);
    while (kv_list_next(&c, &element))
        ;
    CHECK(cursor_done(&c));
}

static enum err changed(struct slice key, uint64_t *ret_version)
{
    static const enum err outcomes[] = {ERR_OK,      ERR_OK,    ERR_EXIST,      ERR_VERSION,        ERR_NOT_FOUND,
                                        ERR_TIMEOUT, ERR_NOSPC, ERR_WRONG_TYPE, ERR_SESSION_EXPIRED};
    check_key(key);
    http_world.keys_changed++;
    if (ret_version)
        *ret_version = toss(3);
    return outcomes[toss(ARRAY_SIZE(outcomes))];
}

enum err kv_put(struct meta_client *c, struct slice key, const struct kv_value *value, struct rpc_cancel *cancel,
                uint64_t *ret_version)
{
    (void)c, (void)cancel;
    check_value(value);
    return changed(key, ret_version);
}

enum err kv_set(struct meta_client *c, struct slice key, const struct kv_value *value, struct rpc_cancel *cancel,
                uint64_t *ret_version)
{
    return kv_put(c, key, value, cancel, ret_version);
}

enum err kv_cas(struct meta_client *c, struct slice key, uint64_t expected_version, const struct kv_value *value,
                struct rpc_cancel *cancel, uint64_t *ret_version)
{
    CHECK(expected_version > 0);
    return kv_put(c, key, value, cancel, ret_version);
}

enum err kv_append(struct meta_client *c, struct slice key, struct slice element, int64_t ttl_ns,
                   struct rpc_cancel *cancel, uint64_t *ret_version)
{
    (void)c, (void)element, (void)ttl_ns, (void)cancel;
    return changed(key, ret_version);
}

enum err kv_delete(struct meta_client *c, struct slice key, uint64_t expected_version, struct rpc_cancel *cancel)
{
    (void)c, (void)expected_version, (void)cancel;
    return changed(key, NULL);
}

/* The key itself as its value, or as a list of its parts. */
enum err kv_get(struct meta_client *c, struct slice key, struct rpc_cancel *cancel, struct arena *arena,
                struct meta_kv_entry *ret)
{
    struct bytes list = {0};
    (void)c, (void)cancel;
    check_key(key);
    if (toss(5) == 0)
        return ERR_NOT_FOUND;
    for (size_t at = 0; at < key.size; at += 3)
        kv_list_add(&list, slice_sub(key, at, MIN(key.size - at, (size_t)3)));
    *ret = (struct meta_kv_entry){.found = true, .key = key, .version = 7, .type = META_KV_LIST};
    ret->value = arena_slice(arena, bytes_slice(&list));
    bytes_free(&list);
    if (toss(3) == 0)
        ret->type = META_KV_BYTES, ret->value = key;
    return ERR_OK;
}

enum err kv_list(struct meta_client *c, struct slice prefix, struct slice after, unsigned max_count, bool with_values,
                 struct rpc_cancel *cancel, struct arena *arena, struct kv_page *ret)
{
    (void)c, (void)max_count, (void)with_values, (void)cancel;
    CHECK(prefix.size <= LIMIT_KV_KEY_BYTES && after.size <= LIMIT_KV_KEY_BYTES);
    struct meta_kv_entry *entries = arena_zalloc(arena, 2 * sizeof *entries);
    entries[0] = (struct meta_kv_entry){.found = true, .key = prefix, .version = 1, .type = META_KV_LIST};
    entries[1] = (struct meta_kv_entry){.found = true, .key = after, .version = 2, .type = META_KV_BYTES};
    *ret = (struct kv_page){.entries = entries, .count = toss(3), .end = toss(2), .last = after};
    return ERR_OK;
}

/* ---- nodes ---- */

enum err survey_ask(const struct asker *a, struct survey *ret, struct err_text *why)
{
    (void)a;
    *ret = (struct survey){.count = 3};
    for (unsigned i = 0; i < ret->count; i++)
        ret->nodes[i] = (struct survey_node){
            .id = i + 1, .address = "127.0.0.1:1", .reachable = toss(4) > 0, .state.roles = 1 + toss(3)};
    return toss(10) == 0 ? err_explain(why, ERR_UNREACHABLE, "no node answers") : ERR_OK;
}

const struct survey_node *survey_find(const struct survey *s, uint32_t id, struct err_text *why)
{
    for (unsigned i = 0; i < s->count; i++)
        if (s->nodes[i].id == id)
            return &s->nodes[i];
    (void)err_explain(why, ERR_NO_NODE, "no node %u", id);
    return NULL;
}

enum err asker_ask(const struct asker *a, const char *address, unsigned method, struct slice message,
                   int64_t timeout_ns, struct slice *ret_message, struct err_text *why)
{
    (void)a, (void)address, (void)method, (void)message, (void)timeout_ns;
    http_world.nodes_asked++;
    *ret_message = SLICE(NULL, 0);
    return toss(5) == 0 ? err_explain(why, ERR_NOT_POSSIBLE, "not now") : ERR_OK;
}

json_t *picture_json(const struct survey *s)
{
    (void)s;
    return json_object();
}

json_t *json_slice(struct slice s)
{
    json_t *text = json_stringn((const char *)s.data, s.size);
    return text ? text : json_null();
}

/* ---- the tree: d, d/f, and links; what is looked up anywhere else is not there ---- */

static const struct node {
    uint64_t ino, parent;
    const char *name, *target;
    uint32_t mode;
} nodes[] = {{META_ROOT_INO, 0, "", NULL, S_IFDIR | 0755},
             {2, META_ROOT_INO, "d", NULL, S_IFDIR | 0755},
             {3, 2, "f", NULL, S_IFREG | 0644},
             {4, META_ROOT_INO, "up", "../../etc", S_IFLNK | 0777},
             {5, META_ROOT_INO, "out", "/etc/passwd", S_IFLNK | 0777},
             {6, 2, "loop", "../d/loop", S_IFLNK | 0777},
             {7, 2, "in", "./../d/./f", S_IFLNK | 0777},
             {8, META_ROOT_INO, "p", NULL, S_IFIFO | 0666},
             {9, META_ROOT_INO, "way", "closed/s", S_IFLNK | 0777},
             {HTTP_WORLD_CLOSED_INO, META_ROOT_INO, "closed", NULL, S_IFDIR | 0700},
             {HTTP_WORLD_SECRET_INO, HTTP_WORLD_CLOSED_INO, "s", NULL, S_IFREG | 0644},
             {12, META_ROOT_INO, "empty", "", S_IFLNK | 0777}};

static enum err tell(const struct node *n, struct meta_attr *ret)
{
    *ret = (struct meta_attr){.ino = n->ino, .mode = n->mode, .nlink = 1, .size = 1000, .version = 1};
    return ERR_OK;
}

enum err surf_getattr(struct surf *s, const struct surf_caller *c, uint64_t ino, struct meta_attr *ret)
{
    (void)s, (void)c;
    for (size_t i = 0; i < ARRAY_SIZE(nodes); i++)
        if (nodes[i].ino == ino)
            return tell(&nodes[i], ret);
    CHECK(!"an inode that nobody was told of");
}

enum err surf_lookup(struct surf *s, const struct surf_caller *c, uint64_t parent, struct slice name,
                     struct meta_attr *ret)
{
    (void)s, (void)c;
    CHECK(parent != HTTP_WORLD_CLOSED_INO);
    CHECK(name.size > 0 && !memchr(name.data, '/', name.size) && !slice_equal(name, slice_str("..")));
    for (size_t i = 0; i < ARRAY_SIZE(nodes); i++)
        if (nodes[i].parent == parent && slice_equal(slice_str(nodes[i].name), name))
            return tell(&nodes[i], ret);
    return ERR_NOENT;
}

enum err surf_readlink(struct surf *s, const struct surf_caller *c, uint64_t ino, struct arena *arena,
                       struct slice *ret)
{
    (void)s, (void)c;
    for (size_t i = 0; i < ARRAY_SIZE(nodes); i++)
        if (nodes[i].ino == ino)
            *ret = arena_slice(arena, slice_str(nodes[i].target));
    return ERR_OK;
}

static void show(struct http_request *r, const struct http_file *f)
{
    CHECK(f->attr.ino != HTTP_WORLD_SECRET_INO && f->attr.ino != HTTP_WORLD_CLOSED_INO);
    http_world.file_was_read = true;
    http_answer_empty(r, MHD_HTTP_OK);
}

void http_files_list(struct http_request *r, struct http_file *f, struct slice path)
{
    (void)path;
    CHECK(S_ISDIR(f->attr.mode));
    show(r, f);
}

void http_files_blocks(struct http_request *r, struct http_file *f, struct slice path)
{
    (void)path;
    show(r, f);
}

void http_files_bytes(struct http_request *r, struct http_file *f, struct slice path)
{
    (void)path;
    CHECK(S_ISREG(f->attr.mode));
    show(r, f);
}

/* ---- what has no input of its own ---- */

void http_status_run(struct http_request *r)
{
    http_answer_text(r, MHD_HTTP_OK, "state: 0");
}

void http_health_run(struct http_request *r)
{
    http_answer_text(r, MHD_HTTP_OK, "ok");
}

void http_metrics_run(struct http_request *r)
{
    http_answer_text(r, MHD_HTTP_OK, "surf_up 1");
}

void http_events_run(struct http_request *r)
{
    http_answer_text(r, MHD_HTTP_OK, "data: {}");
}

void http_page_run(struct http_request *r)
{
    http_answer_text(r, MHD_HTTP_OK, "<!doctype html>");
}
