#include "base/check.h"
#include "base/mem.h"
#include "tests/lin/internal.h"

struct lin_history *lin_history_new(void)
{
    return MEM_NEW(struct lin_history);
}

void lin_history_free(struct lin_history *h)
{
    if (!h)
        return;
    for (size_t i = 0; i < h->count; i++)
        free(h->ops[i].tags);
    free(h->ops);
    free(h);
}

size_t lin_size(const struct lin_history *h)
{
    return h->count;
}

size_t lin_invoke(struct lin_history *h, unsigned client, int64_t time, const struct lin_call *call)
{
    CHECK(call->verb < LIN_VERBS && call->name < LIN_NAMES_MAX && call->new_name < LIN_NAMES_MAX);
    CHECK(time < LIN_OPEN_TIME);
    if (h->count == h->capacity) {
        h->capacity = MAX(64, 2 * h->capacity);
        h->ops = mem_realloc(h->ops, h->capacity * sizeof *h->ops);
    }
    h->ops[h->count] = (struct lin_op){.call = *call, .client = client, .invoked = time, .returned = LIN_OPEN_TIME};
    return h->count++;
}

static struct lin_op *answered(struct lin_history *h, size_t operation, int64_t time)
{
    CHECK(operation < h->count);
    struct lin_op *op = &h->ops[operation];
    CHECK(lin_is_open(op) && time >= op->invoked && time < LIN_OPEN_TIME);
    op->returned = time;
    return op;
}

void lin_return(struct lin_history *h, size_t operation, int64_t time, const struct lin_answer *answer)
{
    struct lin_op *op = answered(h, operation, time);
    CHECK(op->call.verb != LIN_LIST_ALL || answer->error != ERR_OK);
    op->answer = *answer;
}

void lin_return_list(struct lin_history *h, size_t operation, int64_t time, const int64_t *tags, size_t count)
{
    struct lin_op *op = answered(h, operation, time);
    CHECK(op->call.verb == LIN_LIST_ALL);
    op->tags = count ? mem_dup(tags, count * sizeof *tags) : NULL;
    op->tag_count = count;
}

void lin_open(struct lin_history *h, size_t operation)
{
    CHECK(operation < h->count && lin_is_open(&h->ops[operation]));
}
