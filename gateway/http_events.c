#include "gateway/http_events.h"

#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/mem.h"
#include "gateway/picture.h"

#define STREAMS 64u
#define CHUNK_BYTES (16 * KIB)
#define INTERVAL_S 1
#define SURVEY_TIMEOUT_NS (2 * NS_PER_S)

struct stream {
    struct list_node node; /* in `waiting`, or in none */
    struct http_events *events;
    struct MHD_Connection *connection;
    struct http_connection *client;
    uint64_t seen; /* the number of the last picture that it took */
    struct bytes out;
    size_t sent; /* of out */
};

struct http_events {
    struct http_server *server;
    struct picture *picture; /* the thread's */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool threaded, stopping; /* protected by lock, as are the following */
    unsigned stream_count;
    struct list waiting; /* streams whose connection is suspended */
    struct bytes latest; /* as it goes out */
    uint64_t number;
};

struct http_events *http_events_new(struct http_server *server)
{
    struct http_events *e = MEM_NEW(struct http_events);
    e->server = server;
    e->picture = picture_new();
    list_init(&e->waiting);
    pthread_mutex_init(&e->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&e->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return e;
}

/* Moves those that wait to a list of the caller's, who resumes them without the lock. */
static void wake(struct http_events *e, struct list *ret)
{
    list_init(ret);
    for (struct list_node *n = list_pop_front(&e->waiting); n; n = list_pop_front(&e->waiting))
        list_push_back(ret, n);
}

static void resume(struct http_events *e, struct list *streams)
{
    for (struct list_node *n = list_pop_front(streams); n; n = list_pop_front(streams))
        http_resume(e->server, container_of(n, struct stream, node)->connection);
}

void http_events_stop(struct http_events *e)
{
    struct list woken;
    pthread_mutex_lock(&e->lock);
    e->stopping = true;
    pthread_cond_signal(&e->changed);
    wake(e, &woken);
    bool threaded = e->threaded;
    pthread_mutex_unlock(&e->lock);
    resume(e, &woken);
    if (threaded)
        pthread_join(e->thread, NULL);
}

void http_events_free(struct http_events *e)
{
    if (!e)
        return;
    CHECK(e->stream_count == 0);
    picture_free(e->picture);
    bytes_free(&e->latest);
    pthread_cond_destroy(&e->changed);
    pthread_mutex_destroy(&e->lock);
    free(e);
}

static void take_picture(struct http_events *e, struct bytes *to)
{
    struct arena arena = {0};
    struct asker asker = gateway_session_asker(e->server->session, &arena);
    _cleanup_free_ struct survey *s = MEM_NEW(struct survey);
    struct err_text why = {""};
    asker.timeout_ns = SURVEY_TIMEOUT_NS;
    json_t *o;
    if (survey_ask(&asker, s, &why) == ERR_OK) {
        picture_note(e->picture, s, clock_wall_ns());
        o = picture_json(s);
    } else {
        picture_note_silence(e->picture, clock_wall_ns());
        o = json_pack("{s:o}", "error", json_slice(slice_str(why.text)));
    }
    json_object_set_new(o, "events", picture_events(e->picture));
    json_object_set_new(o, "self", json_integer(e->server->options->node_id));
    char *text = json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(15));
    if (text) {
        bytes_append(to, slice_str("data: "));
        bytes_append(to, slice_str(text));
        bytes_append(to, slice_str("\n\n"));
    }
    free(text);
    json_decref(o);
    arena_free(&arena);
}

static void *events_main(void *context)
{
    struct http_events *e = context;
    pthread_mutex_lock(&e->lock);
    while (!e->stopping) {
        if (e->stream_count == 0) {
            pthread_cond_wait(&e->changed, &e->lock);
            continue;
        }
        struct bytes picture = {0};
        struct list woken;
        pthread_mutex_unlock(&e->lock);
        take_picture(e, &picture);
        pthread_mutex_lock(&e->lock);
        bytes_free(&e->latest);
        e->latest = picture;
        e->number++;
        wake(e, &woken);
        pthread_mutex_unlock(&e->lock);
        resume(e, &woken);
        pthread_mutex_lock(&e->lock);
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += INTERVAL_S;
        while (!e->stopping && pthread_cond_timedwait(&e->changed, &e->lock, &until) == 0)
            ;
    }
    pthread_mutex_unlock(&e->lock);
    return NULL;
}

/* With the lock; true: there is something to send. */
static bool next_picture(struct stream *s)
{
    struct http_events *e = s->events;
    if (s->sent < s->out.size)
        return true;
    if (s->seen == e->number)
        return false;
    bytes_clear(&s->out);
    bytes_append(&s->out, bytes_slice(&e->latest));
    s->sent = 0, s->seen = e->number;
    http_connection_sends(e->server->connections, s->client);
    return s->out.size > 0;
}

static ssize_t read_stream(void *context, uint64_t position, char *to, size_t room)
{
    (void)position;
    struct stream *s = context;
    struct http_events *e = s->events;
    ssize_t result = 0;
    pthread_mutex_lock(&e->lock);
    if (e->stopping) {
        result = MHD_CONTENT_READER_END_OF_STREAM;
    } else if (next_picture(s)) {
        size_t size = MIN(room, s->out.size - s->sent);
        memcpy(to, s->out.data + s->sent, size);
        s->sent += size;
        result = (ssize_t)size;
    } else if (http_suspend(e->server, s->connection)) {
        http_connection_rests(e->server->connections, s->client);
        list_push_back(&e->waiting, &s->node);
    } else {
        result = MHD_CONTENT_READER_END_OF_STREAM;
    }
    pthread_mutex_unlock(&e->lock);
    return result;
}

static void free_stream(void *context)
{
    struct stream *s = context;
    struct http_events *e = s->events;
    pthread_mutex_lock(&e->lock);
    e->stream_count--;
    pthread_mutex_unlock(&e->lock);
    bytes_free(&s->out);
    free(s);
}

/* With the lock. */
static bool can_stream(struct http_events *e)
{
    if (!e->threaded && !e->stopping)
        e->threaded = pthread_create(&e->thread, NULL, events_main, e) == 0;
    return e->threaded && !e->stopping && e->stream_count < STREAMS;
}

void http_events_run(struct http_request *r)
{
    struct http_events *e = r->server->events;
    pthread_mutex_lock(&e->lock);
    bool can = can_stream(e), first = e->stream_count == 0;
    uint64_t seen = first ? e->number : 0; /* who comes first is not shown what was there long ago */
    if (can)
        e->stream_count++;
    if (can && first)
        pthread_cond_signal(&e->changed);
    pthread_mutex_unlock(&e->lock);
    if (!can) {
        http_answer_text(r, MHD_HTTP_SERVICE_UNAVAILABLE, "%u are looking already", STREAMS);
        return;
    }
    struct stream *s = MEM_NEW(struct stream);
    list_node_init(&s->node);
    s->events = e;
    s->connection = r->connection;
    s->client = r->client;
    s->seen = seen;
    struct MHD_Response *response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, CHUNK_BYTES, read_stream, s, free_stream);
    if (!response)
        free_stream(s);
    http_answer_response(r, MHD_HTTP_OK, response);
    http_answer_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, "text/event-stream");
    http_answer_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
}
