/* Open, close, and what readers may call. */
#include "raftlog/raftlog.h"

#include <inttypes.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "raftlog/internal.h"

#define LOG_MODULE "raftlog"
#include "base/log.h"

static void release_all(struct raftlog *l)
{
    for (unsigned i = 0; i < l->segment_count; i++) {
        CHECK(l->segments[i]->references == 1); /* no read is under way */
        segment_free(l->segments[i]);
    }
    free(l->segments);
    term_runs_free(&l->terms);
    bytes_free(&l->buffer);
    if (l->spare.file)
        l->files->close(l->files->context, l->spare.file);
    if (l->marker_file)
        l->files->close(l->files->context, l->marker_file);
    if (l->dir)
        l->files->close_dir(l->files->context, l->dir);
    pthread_mutex_destroy(&l->lock);
    free(l->path);
    free(l);
}

enum err raftlog_open(const struct raftlog_options *options, struct raftlog **ret, struct raft_restart *ret_restart,
                      struct err_text *why)
{
    uint64_t segment_bytes = options->segment_bytes ? options->segment_bytes : SEGMENT_BYTES_DEFAULT;
    if (segment_bytes < SEGMENT_HEADER_BYTES || segment_bytes > SEGMENT_BYTES_MAX - MIB)
        return err_explain(why, ERR_CONFIG, "a log segment of %" PRIu64 " bytes: must be %u to %u", segment_bytes,
                           SEGMENT_HEADER_BYTES, SEGMENT_BYTES_MAX - MIB);
    struct raftlog *l = MEM_NEW(struct raftlog);
    l->files = options->files;
    l->path = mem_strdup(options->path);
    l->segment_bytes = segment_bytes;
    memcpy(l->identity, options->identity, IDENTITY_BYTES);
    l->seed = format_seed(l->identity);
    CHECK(pthread_mutex_init(&l->lock, NULL) == 0);
    enum err e = l->files->open_dir(l->files->context, l->path, &l->dir, why);
    if (e == ERR_OK)
        e = raftlog_recover(l, why);
    if (e != ERR_OK) {
        release_all(l);
        return e;
    }
    *ret_restart = (struct raft_restart){
        .hard = l->hard,
        .compacted_index = l->compacted_index,
        .compacted_term = l->compacted_term,
        .last_index = l->last_index,
        .applied_index = l->compacted_index,
        .fresh = l->hard.term == 0 && l->last_index == 0,
    };
    *ret = l;
    return ERR_OK;
}

void raftlog_close(struct raftlog *l)
{
    if (!l)
        return;
    if (l->failed == ERR_OK) {
        l->marker.clean = true;
        enum err e = raftlog_marker_store(l, true);
        if (e != ERR_OK)
            log_error("%s/%s: can't be written at close: %s", l->path, MARKER_NAME, err_message(e));
    }
    release_all(l);
}

/* ---- readers ---- */

/* A run of records in one file, taken under the lock. */
struct read_plan {
    struct segment *segment; /* a reference */
    uint32_t from, to;       /* offsets */
    unsigned count;
    uint64_t cuts;
};

static bool plan_read(struct raftlog *l, uint64_t from, unsigned max_count, size_t max_bytes, struct read_plan *plan)
{
    pthread_mutex_lock(&l->lock);
    bool found = from > l->compacted_index && from <= l->last_index;
    if (found) {
        unsigned low = 0, high = l->segment_count; /* the last segment that begins at or before `from` */
        while (high - low > 1) {
            unsigned middle = low + (high - low) / 2;
            if (l->segments[middle]->first_index <= from)
                low = middle;
            else
                high = middle;
        }
        struct segment *s = l->segments[low];
        unsigned at = (unsigned)(from - s->first_index), count = 0;
        uint32_t start = s->offsets[at], end = start;
        while (count < max_count && at + count < s->count) {
            uint32_t next = at + count + 1 < s->count ? s->offsets[at + count + 1] : s->end;
            if (count > 0 && next - start > max_bytes)
                break;
            end = next;
            count++;
        }
        s->references++;
        *plan = (struct read_plan){.segment = s, .from = start, .to = end, .count = count, .cuts = l->cuts};
    }
    pthread_mutex_unlock(&l->lock);
    return found;
}

/* Gives the reference back. True when a truncation came in between, so that what was read means nothing. */
static bool finish_read(struct raftlog *l, const struct read_plan *plan)
{
    pthread_mutex_lock(&l->lock);
    bool last = --plan->segment->references == 0;
    bool overtaken = l->cuts != plan->cuts;
    pthread_mutex_unlock(&l->lock);
    if (last)
        segment_free(plan->segment);
    return overtaken;
}

static enum err decode_run(const struct raftlog *l, const struct read_plan *plan, uint64_t from, struct slice data,
                           struct raft_entry *ret_entries)
{
    size_t at = 0;
    for (unsigned i = 0; i < plan->count; i++) {
        struct record_place place = {
            .seed = l->seed, .segment = plan->segment->number, .offset = plan->from + (uint32_t)at};
        uint32_t write_start;
        size_t bytes;
        if (!record_decode(slice_sub(data, at, data.size - at), &place, &ret_entries[i], &write_start, &bytes) ||
            ret_entries[i].index != from + i)
            return ERR_CORRUPT;
        at += bytes;
    }
    return ERR_OK;
}

enum err raftlog_read(struct raftlog *l, uint64_t from, unsigned max_count, size_t max_bytes, struct bytes *buffer,
                      struct raft_entry *ret_entries, unsigned *ret_count)
{
    CHECK(max_count > 0);
    for (;;) {
        struct read_plan plan;
        bytes_clear(buffer);
        if (!plan_read(l, from, max_count, max_bytes, &plan))
            return ERR_NOT_FOUND;
        uint8_t *to = bytes_extend(buffer, plan.to - plan.from);
        enum err e = l->files->read(l->files->context, plan.segment->file, plan.from, to, buffer->size);
        if (e == ERR_OK)
            e = decode_run(l, &plan, from, bytes_slice(buffer), ret_entries);
        uint64_t number = plan.segment->number;
        if (finish_read(l, &plan))
            continue;
        if (e != ERR_OK)
            log_error("%s: segment %" PRIu64 ": reading index %" PRIu64 " at offset %" PRIu32 ": %s", l->path, number,
                      from, plan.from, err_message(e));
        else
            *ret_count = plan.count;
        return e;
    }
}

enum err raftlog_term(struct raftlog *l, uint64_t index, uint64_t *ret_term)
{
    pthread_mutex_lock(&l->lock);
    bool found = index >= l->compacted_index && index <= l->last_index;
    if (found)
        *ret_term = index == l->compacted_index ? l->compacted_term : term_runs_at(&l->terms, index);
    pthread_mutex_unlock(&l->lock);
    return found ? ERR_OK : ERR_NOT_FOUND;
}

void raftlog_bounds(struct raftlog *l, struct raftlog_bounds *ret)
{
    pthread_mutex_lock(&l->lock);
    *ret = (struct raftlog_bounds){
        .compacted_index = l->compacted_index,
        .compacted_term = l->compacted_term,
        .last_index = l->last_index,
        .last_term = l->last_term,
        .bytes = l->spare_bytes,
        .segments = l->segment_count,
        .writes = l->writes,
        .hard = l->hard,
    };
    for (unsigned i = 0; i < l->segment_count; i++)
        ret->bytes += l->segments[i]->file_bytes;
    pthread_mutex_unlock(&l->lock);
}
