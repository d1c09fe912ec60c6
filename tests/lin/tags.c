/* tags.c: lists and sets of tags that are used once. The answers show the order, so nothing is searched: a list is put
 * together from its longest answer, a set from when each tag was known to be there. */
#include <inttypes.h>

#include "base/check.h"
#include "base/map.h"
#include "base/mem.h"
#include "tests/lin/internal.h"

struct tags {
    const struct lin_object *object;
    struct map_u64 appends; /* tag -> its lin_op */
    struct lin_finding *finding;
};

static void tags_free(struct tags *t)
{
    map_u64_free(&t->appends);
}

static bool is_list(const struct lin_op *op)
{
    return op->call.verb == LIN_LIST_ALL && !lin_is_open(op);
}

#define wrong(t, op, ...)                                                                                              \
    ((t)->finding->verdict = LIN_BAD, (t)->finding->culprit = (op),                                                    \
     (void)err_explain(&(t)->finding->text, ERR_CORRUPT, __VA_ARGS__), false)

static bool index_appends(struct tags *t)
{
    for (size_t i = 0; i < t->object->count; i++) {
        const struct lin_op *op = t->object->ops[i];
        if (op->call.verb == LIN_APPEND && map_u64_put(&t->appends, (uint64_t)op->call.a, (void *)(uintptr_t)op))
            return wrong(t, op, "tag %" PRId64 " is appended twice by the test itself", op->call.a);
    }
    return true;
}

/* What holds for a list and for a set: every tag seen was being appended, and is there once. */
static bool check_tags_of(struct tags *t, const struct lin_op *list)
{
    struct map_u64 seen = {0};
    bool ok = true;
    for (size_t k = 0; k < list->tag_count && ok; k++) {
        int64_t tag = list->tags[k];
        const struct lin_op *append = map_u64_get(&t->appends, (uint64_t)tag);
        if (!append)
            ok = wrong(t, list, "tag %" PRId64 " was not appended, or its append had failed", tag);
        else if (append->invoked > list->returned)
            ok = wrong(t, list, "tag %" PRId64 " was appended only later", tag);
        else if (map_u64_put(&seen, (uint64_t)tag, (void *)(uintptr_t)append))
            ok = wrong(t, list, "tag %" PRId64 " is there twice", tag);
    }
    map_u64_free(&seen);
    return ok;
}

static bool check_tags(struct tags *t)
{
    for (size_t i = 0; i < t->object->count; i++)
        if (is_list(t->object->ops[i]) && !check_tags_of(t, t->object->ops[i]))
            return false;
    return true;
}

/* -- lists */

/* An operation and where it stands: the append of the nth element at 2n, a list of n elements at 2n + 1. */
struct placed {
    const struct lin_op *op;
    size_t place;
};

static int compare_placed(const void *a, const void *b)
{
    const struct placed *x = a, *y = b;
    if (x->place != y->place)
        return x->place < y->place ? -1 : 1;
    return (x->op->invoked > y->op->invoked) - (x->op->invoked < y->op->invoked);
}

static const struct lin_op *longest_list(const struct lin_object *o)
{
    const struct lin_op *longest = NULL;
    for (size_t i = 0; i < o->count; i++)
        if (is_list(o->ops[i]) && (!longest || o->ops[i]->tag_count > longest->tag_count))
            longest = o->ops[i];
    return longest;
}

static bool check_prefixes(struct tags *t, const struct lin_op *longest)
{
    for (size_t i = 0; i < t->object->count; i++) {
        const struct lin_op *list = t->object->ops[i];
        for (size_t k = 0; is_list(list) && k < list->tag_count; k++)
            if (list->tags[k] != longest->tags[k])
                return wrong(t, list, "element %zu is %" PRId64 ", in a longer list it is %" PRId64, k, list->tags[k],
                             longest->tags[k]);
    }
    return true;
}

/* The longest list, then, in order of their calls, what was acknowledged and never seen; positions that answers tell
 * must agree with that. Open appends that nobody saw never happened, or happened after all else. */
static bool place_all(struct tags *t, const struct lin_op *longest, struct placed *placed, size_t *ret_count)
{
    struct map_u64 places = {0}; /* tag -> 1 + its position */
    size_t length = longest ? longest->tag_count : 0, count = 0;
    bool ok = true;
    for (size_t k = 0; k < length; k++)
        map_u64_put(&places, (uint64_t)longest->tags[k], (void *)(uintptr_t)(k + 1));
    for (size_t i = 0; i < t->object->count && ok; i++) {
        const struct lin_op *op = t->object->ops[i];
        if (op->call.verb == LIN_LIST_ALL) {
            if (is_list(op))
                placed[count++] = (struct placed){op, 2 * op->tag_count + 1};
            continue;
        }
        size_t at = (size_t)(uintptr_t)map_u64_get(&places, (uint64_t)op->call.a);
        bool told = !lin_is_open(op) && op->answer.value != LIN_UNSEEN;
        if (at && told && op->answer.value != (int64_t)at - 1)
            ok = wrong(t, op, "it was told position %" PRId64 ", and stands at %zu", op->answer.value, at - 1);
        else if (!at && told && op->answer.value < (int64_t)length)
            ok = wrong(t, op, "it was told position %" PRId64 ", where another tag stands", op->answer.value);
        else if (at || !lin_is_open(op))
            placed[count++] = (struct placed){op, at ? 2 * at : SIZE_MAX};
    }
    map_u64_free(&places);
    *ret_count = count;
    return ok;
}

/* An order is possible if nothing in it was called after something behind it had returned. */
static bool check_order(struct tags *t, struct placed *placed, size_t count)
{
    qsort(placed, count, sizeof *placed, compare_placed);
    const struct lin_op *latest = NULL; /* the latest call so far */
    for (size_t i = 0; i < count; i++) {
        const struct lin_op *op = placed[i].op;
        if (latest && op->returned < latest->invoked) {
            bool lost = op->call.verb == LIN_APPEND && latest->call.verb == LIN_LIST_ALL;
            bool reads = op->call.verb == LIN_LIST_ALL && latest->call.verb == LIN_LIST_ALL;
            return wrong(t, lost ? latest : op, "%s",
                         lost    ? "a tag that was acknowledged before is missing"
                         : reads ? "a later list is shorter"
                                 : "order in time and in the list differ");
        }
        if (!latest || op->invoked > latest->invoked)
            latest = op;
    }
    return true;
}

void lin_check_list(const struct lin_object *o, struct lin_finding *ret)
{
    *ret = (struct lin_finding){.verdict = LIN_OK, .configurations = o->count};
    _cleanup_(tags_free) struct tags t = {.object = o, .finding = ret};
    if (!index_appends(&t) || !check_tags(&t))
        return;
    const struct lin_op *longest = longest_list(o);
    if (longest && !check_prefixes(&t, longest))
        return;
    _cleanup_free_ struct placed *placed = mem_alloc((o->count + 1) * sizeof *placed);
    size_t count;
    if (place_all(&t, longest, placed, &count))
        (void)check_order(&t, placed, count);
}

/* -- sets */

/* A tag, and since when it must be seen: its append or a list that showed it had returned. */
struct known {
    int64_t tag, since;
};

static void know(struct map_u64 *known, int64_t tag, int64_t since)
{
    struct known *k = map_u64_get(known, (uint64_t)tag);
    if (!k) {
        k = MEM_NEW(struct known);
        *k = (struct known){tag, since};
        map_u64_put(known, (uint64_t)tag, k);
    }
    k->since = MIN(k->since, since);
}

static bool check_nothing_missing(struct tags *t, const struct map_u64 *known, const struct lin_op *list)
{
    struct map_u64 seen = {0};
    for (size_t k = 0; k < list->tag_count; k++)
        map_u64_put(&seen, (uint64_t)list->tags[k], (void *)(uintptr_t)list);
    size_t at = 0;
    uint64_t key;
    void *value;
    bool ok = true;
    while (ok && map_u64_next(known, &at, &key, &value)) {
        const struct known *k = value;
        if (k->since < list->invoked && !map_u64_get(&seen, key))
            ok = wrong(t, list, "tag %" PRId64 " is missing, which was acknowledged or seen before", k->tag);
    }
    map_u64_free(&seen);
    return ok;
}

void lin_check_set(const struct lin_object *o, struct lin_finding *ret)
{
    *ret = (struct lin_finding){.verdict = LIN_OK, .configurations = o->count};
    _cleanup_(tags_free) struct tags t = {.object = o, .finding = ret};
    if (!index_appends(&t) || !check_tags(&t))
        return;
    struct map_u64 known = {0};
    for (size_t i = 0; i < o->count; i++) {
        const struct lin_op *op = o->ops[i];
        if (op->call.verb == LIN_APPEND && !lin_is_open(op))
            know(&known, op->call.a, op->returned);
        for (size_t k = 0; is_list(op) && k < op->tag_count; k++)
            know(&known, op->tags[k], op->returned);
    }
    bool ok = true;
    for (size_t i = 0; i < o->count && ok; i++)
        ok = !is_list(o->ops[i]) || check_nothing_missing(&t, &known, o->ops[i]);
    size_t at = 0;
    uint64_t key;
    void *value;
    while (map_u64_next(&known, &at, &key, &value))
        free(value);
    map_u64_free(&known);
}
