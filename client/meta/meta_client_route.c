#include "client/meta/meta_client_route.h"

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
#define PAUSE_STEP_NS (20 * NS_PER_MS) /* how often a pause looks at its cancel */
#define LAST_TRY_NS (250 * NS_PER_MS)  /* at least, and an eighth of all the time at most */
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

static void add_channels(struct meta_route *r, size_t member, const struct rpc_address *address)
{
    r->channels[member] = new_channel(r, address);
    r->held[member] = new_channel(r, address);
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
    route_choice_init(&r->choice, count);
    for (size_t i = 0; i < count; i++)
        add_channels(r, i, &servers[i]);
}

void meta_route_begin_anywhere(struct meta_route *r)
{
    pthread_mutex_lock(&r->lock);
    r->choice.current = prng_below(&r->prng, r->choice.count);
    pthread_mutex_unlock(&r->lock);
}

void meta_route_close(struct meta_route *r)
{
    for (size_t i = 0; i < r->choice.count; i++) {
        rpc_channel_free(r->channels[i]);
        rpc_channel_free(r->held[i]);
    }
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

void meta_route_cluster(struct meta_route *r, uint8_t ret_id[16])
{
    pthread_mutex_lock(&r->lock);
    memcpy(ret_id, r->cluster_id, sizeof r->cluster_id);
    pthread_mutex_unlock(&r->lock);
}

void meta_route_describe(struct meta_route *r, char *to, size_t size)
{
    pthread_mutex_lock(&r->lock);
    size_t used = (size_t)snprintf(to, size, "waiting for ");
    for (size_t i = 0; i < r->choice.count && used < size; i++) {
        struct err_text why = {"not asked yet"};
        if (r->choice.trouble[i] != ERR_OK)
            rpc_channel_explain(r->channels[i], r->choice.trouble[i], &why);
        used += (size_t)snprintf(to + used, size - used, "%s%s (%s)", i ? ", " : "",
                                 rpc_channel_address(r->channels[i]), why.text);
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
    for (size_t i = 0; i < r->choice.count; i++)
        if (slice_equal(slice_str(rpc_channel_address(r->channels[i])), address))
            return i;
    char text[LIMIT_ADDRESS_BYTES + 1];
    struct rpc_address parsed;
    if (r->choice.count == ROUTE_MEMBERS || address.size >= sizeof text)
        return ROUTE_NOBODY;
    memcpy(text, address.data, address.size);
    text[address.size] = 0;
    if (rpc_address_parse(text, &parsed, NULL) != ERR_OK)
        return ROUTE_NOBODY;
    log_info("learned of metastore member %s", text);
    add_channels(r, r->choice.count, &parsed);
    return route_choice_add(&r->choice);
}

size_t meta_route_channels(struct meta_route *r, struct rpc_channel *ret[ROUTE_MEMBERS], size_t *ret_current)
{
    pthread_mutex_lock(&r->lock);
    size_t count = r->choice.count;
    memcpy(ret, r->channels, count * sizeof(struct rpc_channel *));
    *ret_current = r->choice.current;
    pthread_mutex_unlock(&r->lock);
    return count;
}

void meta_route_learn(struct meta_route *r, const struct wire_members *members)
{
    pthread_mutex_lock(&r->lock);
    for (unsigned i = 0; i < members->count; i++)
        (void)find_or_add(r, members->list[i].address);
    pthread_mutex_unlock(&r->lock);
}

/* Whether what was asked for may be done all the same. */
static bool may_be_done(enum err e, const struct rpc_call *call, struct slice detail)
{
    struct arena arena = {0};
    struct wire_error error;
    if (!call)
        return e != ERR_UNREACHABLE; /* then there was no connection to send it over */
    wire_error_decode(detail, &arena, &error);
    arena_free(&arena);
    return !error.not_done;
}

/* What one try's failure means. */
static enum route_verdict judge(struct meta_route *r, size_t asked, int64_t begun_ns, enum err e,
                                const struct rpc_call *call, struct slice detail)
{
    struct arena arena = {0};
    struct wire_error error = {0};
    struct route_failure failure = {.asked = asked,
                                    .begun_ns = begun_ns,
                                    .error = e,
                                    .answered = call != NULL,
                                    .detailed = call != NULL && detail.size > 0,
                                    .leader = ROUTE_NOBODY};
    if (failure.detailed && e == ERR_NOT_LEADER)
        wire_error_decode(detail, &arena, &error);
    pthread_mutex_lock(&r->lock);
    if (error.leader_address.size > 0)
        failure.leader = find_or_add(r, error.leader_address);
    enum route_verdict verdict = route_choice_failed(&r->choice, &failure, clock_boot_ns());
    pthread_mutex_unlock(&r->lock);
    arena_free(&arena);
    return verdict;
}

struct progress {
    struct route_patience patience;
    int64_t begun_ns, said_ns;
};

static enum err wait_before_next(struct meta_route *r, const struct meta_request *request, struct progress *p,
                                 enum err e, enum route_verdict verdict)
{
    pthread_mutex_lock(&r->lock);
    int64_t pause_ns = route_patience_pause_ns(&p->patience, e, verdict, &r->prng);
    pthread_mutex_unlock(&r->lock);
    int64_t now = clock_boot_ns();
    if (request->waiting && p->patience.failures > 1 && now - p->begun_ns >= WAITING_FIRST_NS &&
        now - p->said_ns >= WAITING_EVERY_NS) {
        char text[1024];
        meta_route_describe(r, text, sizeof text);
        request->waiting(request->context, text);
        p->said_ns = now;
    }
    if (pause_ns == 0)
        return ERR_OK;
    if (request->give_up_ns)
        pause_ns = MIN(pause_ns, request->give_up_ns - now);
    return meta_route_pause(pause_ns, request->cancel);
}

/* Another try would hardly be answered in time, and what was asked for might be done behind it without anybody's
 * knowing. */
static bool is_too_late(const struct meta_request *request, const struct progress *p, int64_t now_ns)
{
    int64_t left_ns = request->give_up_ns - now_ns, all_ns = request->give_up_ns - p->begun_ns;
    return left_ns <= 0 || (p->patience.failures > 0 && left_ns < MIN(LAST_TRY_NS, all_ns / 8));
}

enum err meta_route_call(struct meta_route *r, const struct meta_request *request, struct rpc_call **ret_call,
                         struct slice *ret_message)
{
    struct progress progress = {.begun_ns = clock_boot_ns()};
    route_patience_init(&progress.patience);
    for (int64_t now = progress.begun_ns;; now = clock_boot_ns()) {
        if (request->give_up_ns && is_too_late(request, &progress, now)) {
            TRY(meta_route_pause(request->give_up_ns - now, request->cancel));
            return ERR_TIMEOUT;
        }
        pthread_mutex_lock(&r->lock);
        size_t asked = r->choice.current;
        struct rpc_channel *channel = request->held ? r->held[asked] : r->channels[asked];
        pthread_mutex_unlock(&r->lock);

        int64_t deadline = now + progress.patience.try_ns;
        if (request->give_up_ns)
            deadline = MIN(deadline, request->give_up_ns);
        struct rpc_call *call = NULL;
        struct slice message = {0}, payload = {0};
        enum err e = rpc_channel_call(channel, request->method, request->message, NULL, 0, deadline, request->cancel,
                                      &call, &message, &payload);
        if (e == ERR_OK) {
            pthread_mutex_lock(&r->lock);
            route_choice_served(&r->choice, asked, clock_boot_ns());
            pthread_mutex_unlock(&r->lock);
            *ret_call = call;
            *ret_message = message;
            return ERR_OK;
        }
        if (request->ret_maybe && may_be_done(e, call, message))
            *request->ret_maybe = true;
        if (!call && e == ERR_CANCELLED)
            return e;
        enum route_verdict verdict = judge(r, asked, now, e, call, message);
        log_debug("%s: %s%s", rpc_channel_address(channel), err_message(e), call ? "" : " (connection)");
        if (call)
            rpc_call_free(call);
        if (verdict == ROUTE_END)
            return e;
        TRY(wait_before_next(r, request, &progress, e, verdict));
    }
}
