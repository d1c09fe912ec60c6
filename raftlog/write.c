/* Everything that the writer thread does: batches, truncation, the next segment, compaction. */
#include <inttypes.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/plant.h"
#include "raftlog/internal.h"

#define LOG_MODULE "raftlog"
#include "base/log.h"

#define WRITE_BYTES_MAX (4 * MIB)   /* of one write; a larger batch becomes several */
#define SPARE_STEP_BYTES (1 * MIB)  /* zeros that one batch makes for the next segment */
#define BUFFER_KEEP_BYTES (1 * MIB) /* more than this is given back after a batch */
#define ZEROS_BYTES (256 * KIB)
#define PAGE_BYTES 4096u

enum err raftlog_marker_store(struct raftlog *l, bool sync)
{
    uint8_t slot[MARKER_SLOT_BYTES];
    l->marker.sequence++;
    marker_encode(&l->marker, l->seed, slot);
    uint64_t at = l->marker.sequence % MARKER_SLOTS * MARKER_SLOT_BYTES;
    TRY(l->files->write(l->files->context, l->marker_file, at, slot, sizeof slot));
    return sync ? l->files->sync(l->files->context, l->marker_file) : ERR_OK;
}

enum err raftlog_marker_settle(struct raftlog *l)
{
    for (unsigned i = 0; i < MARKER_SLOTS; i++)
        TRY(raftlog_marker_store(l, true));
    return ERR_OK;
}

enum err raftlog_hard_store(struct raftlog *l, const struct raft_hard_state *hard)
{
    uint8_t content[HARD_BYTES];
    memcpy(content, l->identity, IDENTITY_BYTES);
    put_u64be(content + IDENTITY_BYTES, hard->term);
    put_u32be(content + IDENTITY_BYTES + 8, hard->vote);
    TRY(small_file_write(l->files, l->dir, HARD_NAME, SLICE(content, sizeof content)));
    pthread_mutex_lock(&l->lock);
    l->hard = *hard;
    pthread_mutex_unlock(&l->lock);
    return ERR_OK;
}

enum err raftlog_zero(struct raftlog *l, struct file_table_file *file, uint64_t from, uint64_t to)
{
    static const uint8_t zeros[ZEROS_BYTES];
    while (from < to) {
        size_t part = (size_t)MIN(to - from, (uint64_t)sizeof zeros);
        TRY(l->files->write(l->files->context, file, from, zeros, part));
        from += part;
    }
    return ERR_OK;
}

void raftlog_add_segment(struct raftlog *l, struct segment *s)
{
    if (l->segment_count == l->segment_room) {
        l->segment_room = MAX(l->segment_room * 2, 8u);
        l->segments = mem_realloc(l->segments, l->segment_room * sizeof(struct segment *));
    }
    l->segments[l->segment_count++] = s;
}

static struct segment *last_segment(const struct raftlog *l)
{
    return l->segment_count > 0 ? l->segments[l->segment_count - 1] : NULL;
}

static void spare_bytes_set(struct raftlog *l, uint64_t bytes)
{
    l->spare.bytes = bytes;
    pthread_mutex_lock(&l->lock);
    l->spare_bytes = bytes;
    pthread_mutex_unlock(&l->lock);
}

enum err raftlog_spare_drop(struct raftlog *l)
{
    if (!l->spare.file)
        return ERR_OK;
    char name[FILE_TABLE_NAME_BYTES];
    segment_name(l->spare.number, name);
    l->files->close(l->files->context, l->spare.file);
    l->spare = (struct spare){0};
    spare_bytes_set(l, 0);
    return l->files->remove(l->files->context, l->dir, name);
}

enum err raftlog_spare_grow(struct raftlog *l, uint64_t bytes)
{
    struct spare *spare = &l->spare;
    if (!spare->file) {
        const struct segment *last = last_segment(l);
        spare->number = last ? last->number + 1 : l->marker.first_segment;
        char name[FILE_TABLE_NAME_BYTES];
        segment_name(spare->number, name);
        TRY(l->files->open(l->files->context, l->dir, name, true, &spare->file));
    }
    if (spare->bytes < bytes) {
        TRY(l->files->allocate(l->files->context, spare->file, bytes));
        TRY(l->files->sync(l->files->context, spare->file));
        spare_bytes_set(l, bytes);
    }
    if (!spare->named)
        TRY(l->files->sync_dir(l->files->context, l->dir));
    spare->named = true;
    return ERR_OK;
}

/* Once the segment is half full each batch adds a piece to the next one, so that no batch has to make all of it. */
static enum err prepare_ahead(struct raftlog *l)
{
    const struct segment *last = last_segment(l);
    if (!last || last->end < last->file_bytes / 2 || l->spare.bytes >= l->segment_bytes || l->spare.refused)
        return ERR_OK;
    enum err e = raftlog_spare_grow(l, MIN(l->spare.bytes + SPARE_STEP_BYTES, l->segment_bytes));
    if (e != ERR_NOSPC)
        return e;
    /* This segment is not full yet, so nothing has failed: there may be room again when it is. */
    log_warn("%s: no space for the next segment; %" PRIu64 " bytes are left in this one", l->path,
             last->file_bytes - last->end);
    TRY(raftlog_spare_drop(l));
    l->spare.refused = true;
    return ERR_OK;
}

/* The segment that the next record goes to: the last one, or a new one that is not in the list yet (*ret_fresh). */
static enum err segment_for(struct raftlog *l, size_t bytes, struct segment **ret, bool *ret_fresh)
{
    struct segment *last = last_segment(l);
    *ret_fresh = false;
    *ret = last;
    if (last && bytes <= last->file_bytes - last->end)
        return ERR_OK;
    TRY(raftlog_spare_grow(l, MAX(l->segment_bytes, SEGMENT_HEADER_BYTES + bytes)));
    *ret = segment_new(l->files, l->spare.file, l->spare.bytes, l->spare.number, l->last_index + 1, l->last_term);
    *ret_fresh = true;
    l->spare = (struct spare){0};
    spare_bytes_set(l, 0);
    return ERR_OK;
}

/* Encodes as many entries as one write takes; at least one. */
static unsigned encode_run(struct raftlog *l, const struct segment *s, bool fresh, const struct raft_entry *entries,
                           unsigned count)
{
    uint32_t start = fresh ? 0 : s->end;
    bytes_clear(&l->buffer);
    if (fresh) {
        struct segment_header header = {
            .number = s->number, .first_index = s->first_index, .before_term = s->before_term};
        memcpy(header.identity, l->identity, IDENTITY_BYTES);
        segment_header_encode(&header, bytes_extend(&l->buffer, SEGMENT_HEADER_BYTES));
    }
    unsigned n = 0;
    while (n < count && (n == 0 || l->buffer.size < WRITE_BYTES_MAX)) {
        uint64_t offset = (uint64_t)start + l->buffer.size;
        if (record_bytes(entries[n].data.size) > s->file_bytes - offset)
            break;
        struct record_place place = {.seed = l->seed, .segment = s->number, .offset = (uint32_t)offset};
        record_append(&l->buffer, &entries[n], &place, start);
        n++;
    }
    CHECK(n > 0);
    return n;
}

/* Zeros up to the end of the page, where zeros are already. A page that is written whole need not be read first: the
 * segment was made long ago, and the kernel may have let its pages go. */
static void pad_run(struct raftlog *l, const struct segment *s, bool fresh)
{
    uint64_t end = (fresh ? 0u : s->end) + (uint64_t)l->buffer.size;
    size_t more = (size_t)(MIN((end + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES, s->file_bytes) - end);
    if (more > 0)
        memset(bytes_extend(&l->buffer, more), 0, more);
}

/* Shows readers what was just made durable. */
static void publish(struct raftlog *l, struct segment *s, bool fresh, const struct raft_entry *entries, unsigned count)
{
    pthread_mutex_lock(&l->lock);
    if (fresh)
        raftlog_add_segment(l, s);
    for (unsigned i = 0; i < count; i++) {
        segment_push(s, record_bytes(entries[i].data.size));
        term_runs_push(&l->terms, entries[i].index, entries[i].term);
    }
    l->last_index = entries[count - 1].index;
    l->last_term = entries[count - 1].term;
    pthread_mutex_unlock(&l->lock);
    l->marker.acknowledged_index = l->last_index;
    l->marker.acknowledged_term = l->last_term;
}

static enum err write_entries(struct raftlog *l, const struct raft_entry *entries, unsigned count)
{
    while (count > 0) {
        struct segment *s;
        bool fresh;
        TRY(segment_for(l, record_bytes(entries[0].data.size), &s, &fresh));
        unsigned n = encode_run(l, s, fresh, entries, count);
        pad_run(l, s, fresh);
        enum err e = l->files->write(l->files->context, s->file, fresh ? 0 : s->end, l->buffer.data, l->buffer.size);
        if (e == ERR_OK && !PLANTED(RAFTLOG_ENTRIES_NOT_SYNCED))
            e = l->files->sync(l->files->context, s->file);
        if (e != ERR_OK) {
            if (fresh)
                segment_free(s);
            return e;
        }
        publish(l, s, fresh, entries, n);
        TRY(raftlog_marker_store(l, fresh));
        entries += n, count -= n;
    }
    if (l->buffer.capacity > BUFFER_KEEP_BYTES)
        bytes_free(&l->buffer);
    return ERR_OK;
}

static void release(struct raftlog *l, struct segment *s)
{
    pthread_mutex_lock(&l->lock);
    bool last = --s->references == 0;
    pthread_mutex_unlock(&l->lock);
    if (last)
        segment_free(s);
}

/* Takes segments [from, to) out of the list, under the lock, and removes their files. */
static enum err remove_segments(struct raftlog *l, struct segment **gone, unsigned count)
{
    enum err e = ERR_OK;
    for (unsigned i = 0; i < count; i++) {
        char name[FILE_TABLE_NAME_BYTES];
        segment_name(gone[i]->number, name);
        if (e == ERR_OK)
            e = l->files->remove(l->files->context, l->dir, name);
        release(l, gone[i]);
    }
    return e;
}

static enum err truncate_after(struct raftlog *l, uint64_t after)
{
    if (after >= l->last_index)
        return ERR_OK;
    CHECK(after >= l->compacted_index);
    unsigned keep = l->segment_count;
    while (l->segments[keep - 1]->first_index > after + 1)
        keep--;
    struct segment *s = l->segments[keep - 1];
    unsigned entries = (unsigned)(after + 1 - s->first_index);
    uint32_t from = s->offsets[entries], to = s->end;
    uint64_t term = after == l->compacted_index ? l->compacted_term : term_runs_at(&l->terms, after);

    l->marker.acknowledged_index = after;
    l->marker.acknowledged_term = term;
    l->marker.cut_segment = s->number;
    l->marker.cut_offset = from;
    bool sync = !PLANTED(RAFTLOG_TRUNCATION_NOT_SYNCED);
    TRY(raftlog_marker_store(l, sync));

    unsigned gone_count = l->segment_count - keep;
    _cleanup_free_ struct segment **gone = mem_dup(l->segments + keep, gone_count * sizeof(struct segment *));
    pthread_mutex_lock(&l->lock);
    l->segment_count = keep;
    segment_cut(s, entries);
    if (after == l->compacted_index)
        term_runs_free(&l->terms);
    else
        term_runs_cut(&l->terms, after);
    l->last_index = after;
    l->last_term = term;
    l->cuts++;
    pthread_mutex_unlock(&l->lock);

    TRY(remove_segments(l, gone, gone_count));
    if (gone_count > 0)
        TRY(raftlog_spare_drop(l)); /* its number is no longer the next */
    TRY(raftlog_zero(l, s->file, from, to));
    TRY(sync ? l->files->sync(l->files->context, s->file) : ERR_OK);
    if (gone_count > 0)
        TRY(l->files->sync_dir(l->files->context, l->dir));
    l->marker.cut_segment = l->marker.cut_offset = 0;
    return sync ? raftlog_marker_settle(l) : raftlog_marker_store(l, false);
}

static enum err reset(struct raftlog *l, uint64_t index, uint64_t term)
{
    TRY(raftlog_spare_grow(l, l->segment_bytes));
    l->marker.first_segment = l->spare.number;
    l->marker.acknowledged_index = l->marker.reset_index = index;
    l->marker.acknowledged_term = l->marker.reset_term = term;
    TRY(PLANTED(RAFTLOG_RESET_NOT_SYNCED) ? raftlog_marker_store(l, false) : raftlog_marker_settle(l));

    unsigned gone_count = l->segment_count;
    _cleanup_free_ struct segment **gone = mem_dup(l->segments, gone_count * sizeof(struct segment *));
    pthread_mutex_lock(&l->lock);
    l->segment_count = 0;
    term_runs_free(&l->terms);
    l->compacted_index = l->last_index = index;
    l->compacted_term = l->last_term = term;
    l->cuts++;
    pthread_mutex_unlock(&l->lock);
    return remove_segments(l, gone, gone_count);
}

static void check_batch(const struct raftlog *l, const struct raftlog_batch *batch)
{
    uint64_t index = l->last_index, term = l->last_term;
    if (batch->reset)
        index = batch->reset_index, term = batch->reset_term;
    CHECK(!batch->reset || (!batch->truncate && index > 0 && term > 0 && index >= l->compacted_index));
    if (batch->truncate && batch->truncate_after < index) {
        CHECK(batch->truncate_after >= l->compacted_index);
        index = batch->truncate_after;
        term = index == l->compacted_index ? l->compacted_term : term_runs_at(&l->terms, index);
    }
    for (unsigned i = 0; i < batch->entry_count; i++) {
        const struct raft_entry *e = &batch->entries[i];
        CHECK(e->index == index + 1 && e->term >= term && e->term > 0 && e->data.size <= LIMIT_COMMAND_BYTES);
        index = e->index, term = e->term;
    }
    CHECK(!batch->hard_state_changed || batch->hard.term >= l->hard.term);
}

static enum err write_batch(struct raftlog *l, const struct raftlog_batch *batch)
{
    /* The promise of the new term goes first: a crash right behind it leaves a log whose terms are not above it. */
    if (batch->hard_state_changed) {
        TRY(raftlog_hard_store(l, &batch->hard));
        TRY(raftlog_marker_store(l, true));
    }
    if (batch->reset)
        TRY(reset(l, batch->reset_index, batch->reset_term));
    if (batch->truncate)
        TRY(truncate_after(l, batch->truncate_after));
    if (batch->entry_count > 0)
        TRY(write_entries(l, batch->entries, batch->entry_count));
    return prepare_ahead(l);
}

bool raftlog_is_short(const struct raftlog *l, const struct raftlog_batch *batch)
{
    const struct segment *last = last_segment(l);
    if (batch->reset || batch->truncate || batch->hard_state_changed || !last || l->failed != ERR_OK)
        return false;
    uint64_t end = last->end;
    for (unsigned i = 0; i < batch->entry_count; i++)
        end += record_bytes(batch->entries[i].data.size);
    return end <= last->file_bytes && (end < last->file_bytes / 2 || l->spare.bytes >= l->segment_bytes);
}

static enum err fail(struct raftlog *l, enum err e, const char *what)
{
    if (e == ERR_OK)
        return ERR_OK;
    if (e != ERR_NOSPC)
        e = ERR_IO; /* a file that vanished under us is a disk error like any other */
    l->failed = e;
    log_error("%s: %s failed: %s; nothing more is written", l->path, what, err_message(e));
    return e;
}

enum err raftlog_write(struct raftlog *l, const struct raftlog_batch *batch)
{
    TRY(l->failed);
    check_batch(l, batch);
    pthread_mutex_lock(&l->lock);
    l->writes += batch->entry_count > 0;
    pthread_mutex_unlock(&l->lock);
    return fail(l, write_batch(l, batch), "a write");
}

static enum err compact(struct raftlog *l, uint64_t index)
{
    unsigned count = 0;
    while (count + 1 < l->segment_count && l->segments[count + 1]->first_index <= index + 1)
        count++;
    if (count == 0)
        return ERR_OK;
    const struct segment *first = l->segments[count];
    l->marker.first_segment = first->number;
    TRY(raftlog_marker_settle(l));

    _cleanup_free_ struct segment **gone = mem_dup(l->segments, count * sizeof(struct segment *));
    pthread_mutex_lock(&l->lock);
    l->segment_count -= count;
    memmove(l->segments, l->segments + count, l->segment_count * sizeof(struct segment *));
    l->compacted_index = first->first_index - 1;
    l->compacted_term = first->before_term;
    term_runs_compact(&l->terms, first->first_index);
    pthread_mutex_unlock(&l->lock);
    return remove_segments(l, gone,
                           count); /* one that comes back after a power cut is below first_segment: removed at open */
}

enum err raftlog_compact(struct raftlog *l, uint64_t index, uint64_t *ret_compacted)
{
    TRY(l->failed);
    TRY(fail(l, compact(l, MIN(index, l->last_index)), "a compaction"));
    *ret_compacted = l->compacted_index;
    return ERR_OK;
}
