/* describe.c: operations and states for people. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"
#include "tests/lin/internal.h"

#define SHOW_TAGS 12u

struct line {
    char *to;
    size_t size, used;
};

static void put(struct line *l, const char *format, ...) PRINTF_LIKE(2, 3);
static void put(struct line *l, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(l->to + l->used, l->size - l->used, format, args);
    va_end(args);
    l->used = MIN(l->size - 1, l->used + (size_t)MAX(n, 0));
}

static void put_object(struct line *l, const struct lin_text *t, uint64_t object)
{
    const char *word = lin_text_object(t, object);
    if (word)
        put(l, " %s", word);
    else
        put(l, " %" PRIu64, object);
}

static void put_name(struct line *l, const struct lin_text *t, uint64_t object, unsigned name)
{
    const char *word = lin_text_name(t, object, name);
    if (word)
        put(l, "%s", word);
    else
        put(l, "%u", name);
}

static void put_call(struct line *l, const struct lin_text *t, const struct lin_call *c)
{
    put(l, "%s", lin_verb_name(c->verb));
    for (const char *at = lin_verb_format(c->verb); *at != '>'; at++)
        switch (*at) {
        case 'x':
            put_object(l, t, c->object);
            break;
        case 'p':
        case 'q':
            put_object(l, t, c->object);
            put(l, "/");
            put_name(l, t, c->object, *at == 'p' ? c->name : c->new_name);
            break;
        default:
            put(l, " %" PRId64, *at == 'a' ? c->a : c->b);
        }
}

static void put_answer(struct line *l, const struct lin_op *op)
{
    if (lin_is_open(op)) {
        put(l, ": unknown");
        return;
    }
    put(l, ": %s", op->answer.error == ERR_OK ? "ok" : err_name(op->answer.error));
    if (op->answer.error != ERR_OK)
        return;
    for (const char *at = lin_verb_format(op->call.verb); *at; at++) {
        if (*at == 'v' && op->answer.value != LIN_UNSEEN)
            put(l, " %" PRId64, op->answer.value);
        if (*at == 'l' && op->answer.links)
            put(l, " (links %u)", op->answer.links);
    }
    if (op->tag_count > SHOW_TAGS)
        put(l, " %zu tags, the last:", op->tag_count);
    for (size_t i = op->tag_count - MIN(op->tag_count, SHOW_TAGS); i < op->tag_count; i++)
        put(l, " %" PRId64, op->tags[i]);
}

void lin_describe(const struct lin_history *h, size_t operation, char *text, size_t size)
{
    const struct lin_op *op = &h->ops[operation];
    struct line l = {.to = text, .size = size};
    if (lin_is_open(op))
        put(&l, "[%" PRId64 ", ...] ", op->invoked);
    else
        put(&l, "[%" PRId64 ", %" PRId64 "] ", op->invoked, op->returned);
    const char *client = lin_text_client(h->text, op->client);
    if (client)
        put(&l, "%s ", client);
    else
        put(&l, "client %u ", op->client);
    put_call(&l, h->text, &op->call);
    put_answer(&l, op);
}

void lin_state_describe(const struct lin_history *h, enum lin_model model, uint64_t object,
                        const union lin_state *state, char *text, size_t size)
{
    struct line l = {.to = text, .size = size};
    text[0] = '\0';
    if (model != LIN_NAMES) {
        put(&l, "%" PRId64, state->value);
        return;
    }
    for (unsigned i = 0; i < LIN_NAMES_MAX; i++) {
        int64_t inode = state->names[i];
        if (!inode)
            continue;
        put(&l, l.used ? " " : "");
        put_name(&l, h->text, object, i);
        put(&l, inode < 0 ? "=directory %" PRId64 : "=%" PRId64, inode < 0 ? -inode : inode);
    }
    if (l.used == 0)
        put(&l, "no names");
}
