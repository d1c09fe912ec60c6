/* What is done at open. First everything is read and judged, and nothing is changed; only a log that is whole, but for
 * what format.h allows, is then repaired. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "raftlog/internal.h"

#define LOG_MODULE "raftlog"
#include "base/log.h"

#define RECOVER_FILES_MAX 65536u

struct found_names {
    uint64_t *segments;
    size_t segment_count, segment_room;
    bool too_many;
};

/* A place where no record could be read although there are bytes. */
struct damage {
    bool is;
    uint64_t segment, offset, value;
};

struct recovery {
    struct raftlog *l;
    struct err_text *why;
    struct found_names names;
    struct bytes data;   /* of the segment that is looked at */
    struct damage torn;  /* at the end of the last segment, or in place of its header */
    uint64_t empty;      /* number of the first segment without a header; 0: none */
    uint32_t last_write; /* where the last write into the last segment began */
    bool hard_found, marker_found, marker_partly;
};

static enum err corrupt(struct recovery *r, const struct damage *d, const char *what)
{
    char name[FILE_TABLE_NAME_BYTES];
    segment_name(d->segment, name);
    return err_explain(r->why, ERR_CORRUPT, "%s/%s: offset %" PRIu64 ": found %016" PRIx64 ": %s", r->l->path, name,
                       d->offset, d->value, what);
}

static enum err file_error(struct recovery *r, enum err e, const char *name, const char *what)
{
    return err_explain(r->why, e, "%s/%s: %s: %s", r->l->path, name, what, err_message(e));
}

/* ---- reading the two small files ---- */

static enum err read_hard(struct recovery *r)
{
    struct raftlog *l = r->l;
    _cleanup_(bytes_free) struct bytes content = {0};
    struct err_text detail = {""};
    enum err e = small_file_read(l->files, l->dir, HARD_NAME, HARD_BYTES, &content, &detail);
    if (e == ERR_NOT_FOUND)
        return ERR_OK;
    if (e != ERR_OK)
        return err_explain(r->why, e, "%s/%s", l->path, detail.text);
    struct cursor c = cursor_of(bytes_slice(&content));
    struct slice identity = cursor_take(&c, IDENTITY_BYTES);
    struct raft_hard_state hard = {.term = cursor_u64(&c)};
    hard.vote = cursor_u32(&c);
    if (!cursor_done(&c))
        return err_explain(r->why, ERR_CORRUPT, "%s/%s: content has %zu bytes, expected %u", l->path, HARD_NAME,
                           content.size, HARD_BYTES);
    if (memcmp(identity.data, l->identity, IDENTITY_BYTES) != 0)
        return err_explain(r->why, ERR_WRONG_NODE,
                           "%s: belongs to another member (its identity begins with %016" PRIx64
                           ", ours with %016" PRIx64 ")",
                           l->path, get_u64be(identity.data), get_u64be(l->identity));
    l->hard = hard;
    r->hard_found = true;
    return ERR_OK;
}

static bool all_zero(struct slice s)
{
    static const uint8_t zeros[4096];
    while (s.size > 0) {
        size_t part = MIN(s.size, sizeof zeros);
        if (memcmp(s.data, zeros, part) != 0)
            return false;
        s = SLICE(s.data + part, s.size - part);
    }
    return true;
}

/* The newest whole slot. marker_partly: one of the slots is damaged. */
static enum err read_marker(struct recovery *r)
{
    struct raftlog *l = r->l;
    enum err e = l->files->open(l->files->context, l->dir, MARKER_NAME, false, &l->marker_file);
    if (e == ERR_NOT_FOUND)
        return r->hard_found ? err_explain(r->why, ERR_CORRUPT, "%s/%s: is missing", l->path, MARKER_NAME) : ERR_OK;
    uint64_t size = 0;
    if (e == ERR_OK)
        e = l->files->size(l->files->context, l->marker_file, &size);
    uint8_t slots[MARKER_SLOTS * MARKER_SLOT_BYTES] = {0};
    size_t readable = (size_t)MIN(size, (uint64_t)sizeof slots);
    if (e == ERR_OK && readable > 0)
        e = l->files->read(l->files->context, l->marker_file, 0, slots, readable);
    if (e != ERR_OK)
        return file_error(r, e, MARKER_NAME, "can't be read");
    for (unsigned i = 0; i < MARKER_SLOTS; i++) {
        const uint8_t *slot = slots + i * MARKER_SLOT_BYTES;
        struct marker m;
        if (!marker_decode(slot, l->seed, &m) || m.sequence % MARKER_SLOTS != i) {
            r->marker_partly |= size != sizeof slots || !all_zero(SLICE(slot, MARKER_SLOT_BYTES));
            continue;
        }
        if (!r->marker_found || m.sequence > l->marker.sequence)
            l->marker = m;
        r->marker_found = true;
    }
    if (r->hard_found && !r->marker_found)
        return err_explain(r->why, ERR_CORRUPT,
                           "%s/%s: offset 0: found %016" PRIx64 ", offset %u: found %016" PRIx64
                           ": no whole marker of the last acknowledged entry (%" PRIu64 " bytes)",
                           l->path, MARKER_NAME, get_u64be(slots), MARKER_SLOT_BYTES,
                           get_u64be(slots + MARKER_SLOT_BYTES), size);
    return ERR_OK;
}

/* ---- segments ---- */

static void take_name(void *arg, const char *name)
{
    struct found_names *names = arg;
    uint64_t number;
    if (!segment_number(name, &number))
        return;
    if (names->segment_count == RECOVER_FILES_MAX) {
        names->too_many = true;
        return;
    }
    if (names->segment_count == names->segment_room) {
        names->segment_room = MAX(names->segment_room * 2, (size_t)16);
        names->segments = mem_realloc(names->segments, names->segment_room * sizeof(uint64_t));
    }
    names->segments[names->segment_count++] = number;
}

static int compare_numbers(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static uint64_t value_at(struct slice data, uint64_t offset)
{
    uint8_t value[8] = {0};
    size_t size = (size_t)MIN((uint64_t)sizeof value, data.size - offset);
    memcpy(value, data.data + offset, size);
    return get_u64be(value);
}

/* Is there a whole record behind `from` that came with a later write than the bytes at `from`? */
static bool later_record(const struct recovery *r, struct slice data, uint64_t number, uint64_t from,
                         uint64_t *ret_offset)
{
    uint64_t at = (from + RECORD_ALIGN - 1) / RECORD_ALIGN * RECORD_ALIGN;
    for (; at + RECORD_HEADER_BYTES <= data.size; at += RECORD_ALIGN) {
        struct record_place place = {.seed = r->l->seed, .segment = number, .offset = (uint32_t)at};
        struct raft_entry entry;
        uint32_t write_start;
        size_t bytes;
        if (!record_decode(slice_sub(data, at, data.size - at), &place, &entry, &write_start, &bytes))
            continue;
        *ret_offset = at;
        if (write_start > from)
            return true;
    }
    return false;
}

/* The records of one segment. What follows them and isn't zero becomes r->torn, if it may be a write that was cut. */
static enum err scan_records(struct recovery *r, struct segment *s, struct slice data)
{
    struct raftlog *l = r->l;
    uint32_t write = 0;
    for (;;) {
        struct record_place place = {.seed = l->seed, .segment = s->number, .offset = s->end};
        struct raft_entry entry;
        uint32_t write_start;
        size_t bytes;
        if (!record_decode(slice_sub(data, s->end, data.size - s->end), &place, &entry, &write_start, &bytes))
            break;
        if (entry.index != l->last_index + 1 || entry.term < l->last_term || entry.term == 0 ||
            (write_start != s->end && write_start != write))
            break;
        write = write_start;
        segment_push(s, bytes);
        term_runs_push(&l->terms, entry.index, entry.term);
        l->last_index = entry.index, l->last_term = entry.term;
    }
    r->last_write = write;
    struct slice rest = slice_sub(data, s->end, data.size - s->end);
    if (all_zero(rest))
        return ERR_OK;
    size_t skip = 0;
    while (rest.data[skip] == 0)
        skip++;
    uint64_t where = s->end + skip / RECORD_ALIGN * RECORD_ALIGN;
    r->torn = (struct damage){.is = true, .segment = s->number, .offset = where, .value = value_at(data, where)};
    uint64_t later;
    if (!later_record(r, data, s->number, s->end, &later))
        return ERR_OK;
    char what[128];
    snprintf(what, sizeof what, "no record, but the whole record of a later write is at offset %" PRIu64, later);
    return corrupt(r, &r->torn, what);
}

/* A segment without a header: unused, or begun by a write that was cut. */
static enum err judge_headless(struct recovery *r, uint64_t number, struct slice data)
{
    if (r->empty == 0)
        r->empty = number;
    if (all_zero(data))
        return ERR_OK;
    struct damage d = {.is = true, .segment = number, .value = value_at(data, 0)};
    uint64_t later;
    if (r->empty != number || r->torn.is)
        return corrupt(r, r->torn.is ? &r->torn : &d, "damage before the last segment");
    if (later_record(r, data, number, 0, &later))
        return corrupt(r, &d, "no segment header, but whole records follow");
    r->torn = d;
    return ERR_OK;
}

static enum err judge_header(struct recovery *r, uint64_t number, const struct segment_header *h)
{
    struct raftlog *l = r->l;
    struct damage d = {.is = true, .segment = number};
    if (memcmp(h->identity, l->identity, IDENTITY_BYTES) != 0)
        return err_explain(r->why, ERR_WRONG_NODE, "%s: segment %" PRIu64 " belongs to another member", l->path,
                           number);
    d.offset = 16, d.value = h->number;
    if (h->number != number)
        return corrupt(r, &d, "segment number differs from the file's name");
    d.offset = 40, d.value = h->first_index;
    if (h->first_index == 0)
        return corrupt(r, &d, "impossible first index");
    if (r->empty != 0)
        return corrupt(r, &d, "a used segment behind one without a header");
    if (l->segment_count == 0) {
        l->compacted_index = l->last_index = h->first_index - 1;
        l->compacted_term = l->last_term = h->before_term;
        return ERR_OK;
    }
    if (h->first_index != l->last_index + 1 || h->before_term != l->last_term) {
        if (r->torn.is)
            return corrupt(r, &r->torn, "no record, and a later segment follows");
        char what[128];
        snprintf(what, sizeof what, "first index, but the segment before ends at index %" PRIu64 " term %" PRIu64,
                 l->last_index, l->last_term);
        return corrupt(r, &d, what);
    }
    if (r->torn.is) /* not a record's: the next segment says that none is missing */
        log_warn("%s: segment %" PRIu64 ": stray bytes at offset %" PRIu64 " behind its last record are ignored",
                 l->path, r->torn.segment, r->torn.offset);
    r->torn.is = false;
    return ERR_OK;
}

static enum err read_whole(struct recovery *r, uint64_t number, struct file_table_file **ret, uint64_t *ret_size)
{
    struct raftlog *l = r->l;
    char name[FILE_TABLE_NAME_BYTES];
    segment_name(number, name);
    struct file_table_file *file = NULL;
    uint64_t size = 0;
    enum err e = l->files->open(l->files->context, l->dir, name, false, &file);
    if (e != ERR_OK)
        return file_error(r, e, name, "can't be opened");
    e = l->files->size(l->files->context, file, &size);
    if (e == ERR_OK && size > SEGMENT_BYTES_MAX)
        e = err_explain(r->why, ERR_CORRUPT, "%s/%s: has %" PRIu64 " bytes, more than any segment", l->path, name,
                        size);
    else if (e == ERR_OK) {
        bytes_clear(&r->data);
        uint8_t *to = bytes_extend(&r->data, (size_t)size);
        if (size > 0)
            e = l->files->read(l->files->context, file, 0, to, (size_t)size);
    }
    if (e != ERR_OK) {
        l->files->close(l->files->context, file);
        return e == ERR_CORRUPT ? e : file_error(r, e, name, "can't be read");
    }
    *ret = file, *ret_size = size;
    return ERR_OK;
}

static enum err judge_segment(struct recovery *r, uint64_t number)
{
    struct raftlog *l = r->l;
    struct file_table_file *file;
    uint64_t size;
    TRY(read_whole(r, number, &file, &size));
    struct slice data = bytes_slice(&r->data);
    bool cut_here = l->marker.cut_segment == number;
    if (cut_here && l->marker.cut_offset <= size)
        data.size = (size_t)l->marker.cut_offset; /* what is behind it is dead */
    struct segment_header header;
    bool headed = data.size >= SEGMENT_HEADER_BYTES && segment_header_decode(data.data, &header);
    enum err e = headed ? judge_header(r, number, &header) : data.size > 0 ? judge_headless(r, number, data) : ERR_OK;
    if (!headed && r->empty == 0)
        r->empty = number;
    if (e != ERR_OK || !headed) {
        l->files->close(l->files->context, file);
        return e;
    }
    struct segment *s = segment_new(l->files, file, size, number, header.first_index, header.before_term);
    raftlog_add_segment(l, s);
    TRY(scan_records(r, s, data));
    if (cut_here && s->end != l->marker.cut_offset)
        return err_explain(r->why, ERR_CORRUPT,
                           "%s: segment %" PRIu64 ": offset %u: the records before a truncation at %" PRIu64
                           " are damaged",
                           l->path, number, s->end, l->marker.cut_offset);
    return ERR_OK;
}

/* Does the log reach the acknowledged entry, and is it the same? */
static enum err judge_marker(struct recovery *r)
{
    const struct raftlog *l = r->l;
    const struct marker *m = &l->marker;
    if (m->acknowledged_index > l->last_index) {
        char what[160];
        snprintf(what, sizeof what, "the log ends at index %" PRIu64 ", but index %" PRIu64 " was acknowledged",
                 l->last_index, m->acknowledged_index);
        if (r->torn.is)
            return corrupt(r, &r->torn, what);
        const struct segment *s = l->segment_count > 0 ? l->segments[l->segment_count - 1] : NULL;
        struct damage d = {.segment = s ? s->number : m->first_segment, .offset = s ? s->end : 0};
        return corrupt(r, &d, what);
    }
    if (m->acknowledged_index < l->compacted_index)
        return err_explain(r->why, ERR_CORRUPT,
                           "%s: begins behind index %" PRIu64 ", but only %" PRIu64 " was acknowledged", l->path,
                           l->compacted_index, m->acknowledged_index);
    uint64_t term = m->acknowledged_index == l->compacted_index ? l->compacted_term
                                                                : term_runs_at(&l->terms, m->acknowledged_index);
    if (term != m->acknowledged_term)
        return err_explain(r->why, ERR_CORRUPT,
                           "%s: index %" PRIu64 " has term %" PRIu64 ", but was acknowledged with %" PRIu64, l->path,
                           m->acknowledged_index, term, m->acknowledged_term);
    if (l->last_term > l->hard.term)
        return err_explain(r->why, ERR_CORRUPT, "%s: has an entry of term %" PRIu64 ", but %s says term %" PRIu64,
                           l->path, l->last_term, HARD_NAME, l->hard.term);
    return ERR_OK;
}

static bool segment_lives(const struct raftlog *l, uint64_t number)
{
    return number >= l->marker.first_segment && (l->marker.cut_segment == 0 || number <= l->marker.cut_segment);
}

static enum err judge(struct recovery *r)
{
    struct raftlog *l = r->l;
    uint64_t next = l->marker.first_segment;
    l->compacted_index = l->last_index = l->marker.reset_index;
    l->compacted_term = l->last_term = l->marker.reset_term;
    for (size_t i = 0; i < r->names.segment_count; i++) {
        uint64_t number = r->names.segments[i];
        if (!segment_lives(l, number))
            continue;
        if (number != next)
            break;
        TRY(judge_segment(r, number));
        next = number + 1;
    }
    uint64_t last = r->names.segment_count > 0 ? r->names.segments[r->names.segment_count - 1] : 0;
    if ((l->marker.cut_segment == 0 && last >= next) || l->marker.cut_segment >= next)
        return err_explain(r->why, ERR_CORRUPT, "%s: segment %" PRIu64 " is missing", l->path, next);
    return judge_marker(r);
}

/* ---- repair ---- */

static enum err remove_dead(struct recovery *r)
{
    struct raftlog *l = r->l;
    for (size_t i = 0; i < r->names.segment_count; i++) {
        uint64_t number = r->names.segments[i];
        if (segment_lives(l, number) && (r->empty == 0 || number < r->empty))
            continue;
        char name[FILE_TABLE_NAME_BYTES];
        segment_name(number, name);
        TRY(l->files->remove(l->files->context, l->dir, name));
    }
    return l->files->sync_dir(l->files->context, l->dir);
}

/* Makes the last segment on disk what it was read as: its last write once more, and zeros behind. */
static enum err settle_last(struct recovery *r)
{
    struct raftlog *l = r->l;
    if (l->segment_count == 0)
        return ERR_OK;
    struct segment *s = l->segments[l->segment_count - 1];
    if (s->count == 0)
        r->last_write = 0; /* at least its header */
    size_t size = s->end - r->last_write;
    bytes_clear(&r->data);
    uint8_t *to = bytes_extend(&r->data, size);
    TRY(l->files->read(l->files->context, s->file, r->last_write, to, size));
    TRY(l->files->write(l->files->context, s->file, r->last_write, to, size));
    TRY(raftlog_zero(l, s->file, s->end, s->file_bytes));
    return l->files->sync(l->files->context, s->file);
}

static enum err repair(struct recovery *r)
{
    struct raftlog *l = r->l;
    bool cut = l->marker.cut_segment != 0;
    if (r->torn.is)
        log_warn("%s: segment %" PRIu64 ": offset %" PRIu64
                 ": a write that was never acknowledged is cut; the log ends at "
                 "index %" PRIu64 " (acknowledged: %" PRIu64 ")",
                 l->path, r->torn.segment, r->torn.offset, l->last_index, l->marker.acknowledged_index);
    if (cut)
        log_info("%s: a truncation to index %" PRIu64 " is completed", l->path, l->last_index);
    if (r->marker_partly)
        log_warn("%s/%s: one of its two slots is damaged; the other one counts", l->path, MARKER_NAME);
    TRY(remove_dead(r));
    if (!l->marker.clean || r->marker_partly || r->torn.is || cut)
        TRY(settle_last(r));
    l->marker.acknowledged_index = l->last_index;
    l->marker.acknowledged_term = l->last_term;
    l->marker.cut_segment = l->marker.cut_offset = 0;
    l->marker.clean = false;
    return cut || r->marker_partly ? raftlog_marker_settle(l) : raftlog_marker_store(l, true);
}

/* ---- a directory without a log ---- */

static enum err create(struct recovery *r)
{
    struct raftlog *l = r->l;
    /* The hard state is created last, so without it nothing can have been written. */
    if (r->names.segment_count > 0 || (r->marker_found && l->marker.acknowledged_index > 0))
        return err_explain(r->why, ERR_CORRUPT, "%s/%s: is missing, but there is a log", l->path, HARD_NAME);
    if (!l->marker_file)
        TRY(l->files->open(l->files->context, l->dir, MARKER_NAME, true, &l->marker_file));
    TRY(l->files->truncate(l->files->context, l->marker_file, 0));
    TRY(l->files->allocate(l->files->context, l->marker_file, MARKER_SLOTS * MARKER_SLOT_BYTES));
    l->marker = (struct marker){.first_segment = 1};
    TRY(raftlog_marker_store(l, true));
    TRY(l->files->sync_dir(l->files->context, l->dir));
    TRY(raftlog_hard_store(l, &(struct raft_hard_state){0}));
    log_info("%s: created", l->path);
    return ERR_OK;
}

static enum err recover(struct recovery *r)
{
    struct raftlog *l = r->l;
    enum err e = l->files->list(l->files->context, l->dir, take_name, &r->names);
    if (e != ERR_OK)
        return err_explain(r->why, e, "%s: can't be listed: %s", l->path, err_message(e));
    if (r->names.too_many)
        return err_explain(r->why, ERR_CORRUPT, "%s: has more than %u segments", l->path, RECOVER_FILES_MAX);
    if (r->names.segment_count > 1)
        qsort(r->names.segments, r->names.segment_count, sizeof(uint64_t), compare_numbers);
    TRY(read_hard(r));
    TRY(read_marker(r));
    if (r->hard_found)
        TRY(judge(r));
    struct err_text *why = r->why;
    e = r->hard_found ? repair(r) : create(r);
    if (e == ERR_OK && l->segment_count == 0)
        e = raftlog_spare_grow(l, l->segment_bytes);
    if (e != ERR_OK && e != ERR_CORRUPT)
        return err_explain(why, e, "%s: can't be written: %s", l->path, err_message(e));
    return e;
}

enum err raftlog_recover(struct raftlog *l, struct err_text *why)
{
    struct recovery r = {.l = l, .why = why};
    enum err e = recover(&r);
    free(r.names.segments);
    bytes_free(&r.data);
    return e;
}
