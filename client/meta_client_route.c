#include "client/meta_client_route.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "proto/wire_common.h"

#define LOG_MODULE "meta-client"
#include "base/log.h"

#define CONNECT_TIMEOUT_NS (2 * NS_PER_S)
#define PAUSE_STEP_NS (20 * NS_PER_MS)     /* how often a pause looks at its cancel */
#define AVOID_SILENT_NS (3 * NS_PER_S / 2) /* followers name a dead leader until they have elected another */
#define AVOID_UNREACHABLE_NS (200 * NS_PER_MS)
#define WAITING_FIRST_NS (300 * NS_PER_MS)
#define WAITING_EVERY_NS NS_PER_S

/* Judges what a server says of itself, on whichever thread connects. */
static enum err on_hello(void *context, struct slice hello, struct err_text *why)
{
    struct meta_route *r = context;
    struct arena arena = {0};
    struct wire_hello h;
    enum err e = wire_hello_decode(hello, &arena, &h, why);
    if (e == ERR_OK && (h.version_min > WIRE_VERSION_MAX || h.version_max < WIRE_VERSION_MIN))
        e = err_explain(why, ERR_PROTOCOL, "it speaks versions %u to %u, this program %u to %u", h.version_min,
                        h.version_max, WIRE_VERSION_MIN, WIRE_VERSION_MAX);
    if (e == ERR_OK && h.role != WIRE_ROLE_NODE)
        e = err_explain(why, ERR_PROTOCOL, "it is not a SurfFS node");
    if (e == ERR_OK && h.has_cluster_id) {
        pthread_mutex_lock(&r->lock);
        if (r->has_cluster_id && memcmp(r->cluster_id, h.cluster_id, sizeof r->cluster_id) != 0)
            e = err_explain(why, ERR_WRONG_CLUSTER, "it belongs to another cluster than the one that is mounted");
        pthread_mutex_unlock(&r->lock);
    }
    arena_free(&arena);
    return e;
}

static struct rpc_channel *new_channel(struct meta_route *r, const struct rpc_address *address)
{
    return rpc_channel_new(&(struct rpc_channel_options){.address = *address,
                                                         .hello = r->hello,
                                                         .on_hello = on_hello,
                                                         .context = r,
                                                         .connect_timeout_ns = CONNECT_TIMEOUT_NS});
}

void meta_route_init(struct meta_route *r, const struct rpc_address *servers, size_t count, const char *client_name)
{
    CHECK(count >= 1 && count <= LIMIT_NODES);
    memset(r, 0, sizeof *r);
    pthread_mutex_init(&r->lock, NULL);
    uint64_t seed;
    random_bytes(&seed, sizeof seed);
    prng_seed(&r->prng, seed);
    struct slice name = slice_str(client_name);
    struct wire_hello hello = {.role = WIRE_ROLE_CLIENT,
                               .version_min = WIRE_VERSION_MIN,
                               .version_max = WIRE_VERSION_MAX,
                               .name = SLICE(name.data, MIN(name.size, (size_t)255))};
    r->hello = wire_hello_encode(&hello, &r->arena);
    for (size_t i = 0; i < count; i++)
        r->channels[r->count++] = new_channel(r, &servers[i]);
}

void meta_route_close(struct meta_route *r)
{
    for (size_t i = 0; i < r->count; i++)
        rpc_channel_free(r->channels[i]);
    arena_free(&r->arena);
    pthread_mutex_destroy(&r->lock);
}

void meta_route_set_cluster(struct meta_route *r, const uint8_t cluster_id[16])
{
    pthread_mutex_lock(&r->lock);
    memcpy(r->cluster_id, cluster_id, sizeof r->cluster_id);
    r->has_cluster_id = true;
    pthread_mutex_unlock(&r->lock);
}

void meta_route_describe(struct meta_route *r, char *to, size_t size)
{
    pthread_mutex_lock(&r->lock);
    size_t used = (size_t)snprintf(to, size, "waiting for ");
    for (size_t i = 0; i < r->count && used < size; i++) {
        const char *why = r->trouble[i] == ERR_OK ? "not asked yet" : err_message(r->trouble[i]);
        used += (size_t)snprintf(to + used, size - used, "%s%s (%s)", i ? ", " : "",
                                 rpc_channel_address(r->channels[i]), why);
    }
    pthread_mutex_unlock(&r->lock);
}

enum err meta_route_pause(int64_t duration_ns, const struct rpc_cancel *cancel)
{
    for (int64_t end = clock_boot_ns() + duration_ns, left; (left = end - clock_boot_ns()) > 0;) {
        if (cancel && rpc_cancel_fired(cancel))
            return ERR_CANCELLED;
        left = cancel ? MIN(left, PAUSE_STEP_NS) : left;
        nanosleep(&(struct timespec){.tv_sec = left / NS_PER_S, .tv_nsec = left % NS_PER_S}, NULL);
    }
    return cancel && rpc_cancel_fired(cancel) ? ERR_CANCELLED : ERR_OK;
}

static size_t find_or_add(struct meta_route *r, struct slice address)
{
    for (size_t i = 0; i < r->count; i++)
        if (slice_equal(slice_str(rpc_channel_address(r->channels[i])), address))
            return i;
    char text[LIMIT_ADDRESS_BYTES + 1];
    struct rpc_address parsed;
    if (r->count == LIMIT_NODES || address.size >= sizeof text)
        return SIZE_MAX;
    memcpy(text, address.data, address.size);
    text[address.size] = 0;
    if (rpc_address_parse(text, &parsed, NULL) != ERR_OK)
        return SIZE_MAX;
    log_info("learned of metastore member %s", text);
    r->channels[r->count] = new_channel(r, &parsed);
    return r->count++;
}

static size_t next_in_turn(const struct meta_route *r, size_t failed, int64_t now)
{
    for (size_t i = 1; i < r->count; i++)
        if (r->avoid_until_ns[(failed + i) % r->count] <= now)
            return (failed + i) % r->count;
    return (failed + 1) % r->count;
}

/* The member `failed` did not serve the request: chooses whom to ask next, unless another thread has chosen already.
 * True when somebody named the leader, so that there is no reason to wait. */
static bool move_on(struct meta_route *r, size_t failed, enum err e, struct slice detail)
{
    size_t next = SIZE_MAX;
    if (e == ERR_NOT_LEADER && detail.size > 0) {
        struct arena arena = {0};
        struct wire_error error;
        wire_error_decode(detail, &arena, &error);
        pthread_mutex_lock(&r->lock);
        if (error.leader_address.size > 0)
            next = find_or_add(r, error.leader_address);
        pthread_mutex_unlock(&r->lock);
        arena_free(&arena);
    }
    int64_t now = clock_boot_ns();
    pthread_mutex_lock(&r->lock);
    r->trouble[failed] = e;
    if (detail.size == 0 && (e == ERR_TIMEOUT || e == ERR_UNREACHABLE))
        r->avoid_until_ns[failed] = now + (e == ERR_TIMEOUT ? AVOID_SILENT_NS : AVOID_UNREACHABLE_NS);
    bool named = next != SIZE_MAX && next != failed && r->avoid_until_ns[next] <= now;
    if (r->current == failed)
        r->current = named ? next : next_in_turn(r, failed, now);
    pthread_mutex_unlock(&r->lock);
    return named;
}

/* What one try's failure means: true to go on with `*ret_at_once`, false to give the error to the caller. A connection
 * that can't be used says nothing about the other members; a status that a server has chosen is judged by its class. */
static bool goes_on(struct meta_route *r, size_t asked, enum err e, const struct rpc_call *call, struct slice detail,
                    bool *ret_at_once)
{
    *ret_at_once = false;
    if (!call) {
        if (e == ERR_TOO_BIG)
            return false;
        move_on(r, asked, e, SLICE(NULL, 0));
        return true;
    }
    switch (err_class(e)) {
    case ERR_CLASS_LEADER:
        *ret_at_once = move_on(r, asked, e, detail);
        return true;
    case ERR_CLASS_WAIT:
        /* One that is only overloaded is still the right one. */
        if (e != ERR_BUSY_NOW)
            move_on(r, asked, e, SLICE(NULL, 0));
        return true;
    case ERR_CLASS_RETRY:
        return true;
    default:
        return false;
    }
}

struct progress {
    int64_t begun_ns, said_ns, backoff_ns, try_ns;
    unsigned failures, timeouts;
};

static enum err wait_before_next(struct meta_route *r, const struct meta_request *request, struct progress *p,
                                 bool at_once)
{
    p->failures++;
    int64_t now = clock_boot_ns();
    if (request->waiting && p->failures > 1 && now - p->begun_ns >= WAITING_FIRST_NS &&
        now - p->said_ns >= WAITING_EVERY_NS) {
        char text[1024];
        meta_route_describe(r, text, sizeof text);
        request->waiting(request->context, text);
        p->said_ns = now;
    }
    if (p->failures == 1 || (at_once && p->failures <= 3))
        return ERR_OK;
    p->backoff_ns = p->backoff_ns ? MIN(p->backoff_ns * 2, META_BACKOFF_MAX_NS) : META_BACKOFF_MIN_NS;
    pthread_mutex_lock(&r->lock);
    int64_t pause = (int64_t)prng_between(&r->prng, (uint64_t)p->backoff_ns / 2, (uint64_t)p->backoff_ns);
    pthread_mutex_unlock(&r->lock);
    if (request->give_up_ns)
        pause = MIN(pause, request->give_up_ns - now);
    return meta_route_pause(pause, request->cancel);
}

enum err meta_route_call(struct meta_route *r, const struct meta_request *request, struct rpc_call **ret_call,
                         struct slice *ret_message)
{
    struct progress progress = {.begun_ns = clock_boot_ns(), .try_ns = META_TRY_NS};
    for (int64_t now = progress.begun_ns;; now = clock_boot_ns()) {
        if (request->give_up_ns && now >= request->give_up_ns)
            return ERR_TIMEOUT;
        pthread_mutex_lock(&r->lock);
        size_t asked = r->current;
        struct rpc_channel *channel = r->channels[asked];
        pthread_mutex_unlock(&r->lock);

        int64_t deadline = now + progress.try_ns;
        if (request->give_up_ns)
            deadline = MIN(deadline, request->give_up_ns);
        struct rpc_call *call = NULL;
        struct slice message = {0}, payload = {0};
        enum err e = rpc_channel_call(channel, request->method, request->message, NULL, 0, deadline, request->cancel,
                                      &call, &message, &payload);
        if (e == ERR_OK) {
            *ret_call = call;
            *ret_message = message;
            return ERR_OK;
        }
        if (!call && e == ERR_CANCELLED)
            return e;
        bool at_once;
        bool on = goes_on(r, asked, e, call, message, &at_once);
        log_debug("%s: %s%s", rpc_channel_address(channel), err_message(e), call ? "" : " (connection)");
        if (call)
            rpc_call_free(call);
        if (!on)
            return e;
        if (e == ERR_TIMEOUT && progress.timeouts++ > 0)
            progress.try_ns = MIN(progress.try_ns * 2, META_TRY_MAX_NS);
        TRY(wait_before_next(r, request, &progress, at_once));
    }
}
