/* text.c: histories as lines (the format is in lin.h). */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/map.h"
#include "base/mem.h"
#include "tests/lin/internal.h"

#define WORD_BYTES 64u
#define TAGS_PER_LINE_MAX 1000000u

/* Words by number and numbers by word. */
struct words {
    char **words;
    size_t count;
    struct map_bytes numbers; /* of a word: 1 + its number */
};

enum line_kind { LINE_INVOKE, LINE_OK, LINE_FAIL, LINE_INFO };

struct line {
    int64_t time;
    size_t order; /* in which lines were added */
    unsigned client;
    enum line_kind kind;
    struct lin_call call;
    struct lin_answer answer;
    int64_t *tags; /* owned */
    size_t tag_count;
};

struct object_names {
    char *names[LIN_NAMES_MAX];
    unsigned count;
};

struct lin_text {
    struct line *lines;
    size_t count, capacity;
    struct words clients, objects;
    struct object_names *names; /* of each object; as many as objects.count */
};

/* -- words */

static size_t word_number(struct words *w, const char *word)
{
    size_t number = (size_t)(uintptr_t)map_bytes_get(&w->numbers, slice_str(word));
    if (number)
        return number - 1;
    w->words = mem_realloc(w->words, (w->count + 1) * sizeof *w->words);
    w->words[w->count] = mem_strdup(word);
    map_bytes_put(&w->numbers, slice_str(w->words[w->count]), (void *)(uintptr_t)(w->count + 1));
    return w->count++;
}

static void words_free(struct words *w)
{
    map_bytes_free(&w->numbers);
    for (size_t i = 0; i < w->count; i++)
        free(w->words[i]);
    free(w->words);
}

static uint64_t object_number(struct lin_text *t, const char *word)
{
    size_t known = t->objects.count, number = word_number(&t->objects, word);
    if (t->objects.count > known) {
        t->names = mem_realloc(t->names, t->objects.count * sizeof *t->names);
        t->names[number] = (struct object_names){0};
    }
    return number;
}

const char *lin_text_client(const struct lin_text *t, unsigned client)
{
    return t && client < t->clients.count ? t->clients.words[client] : NULL;
}

const char *lin_text_object(const struct lin_text *t, uint64_t object)
{
    return t && object < t->objects.count ? t->objects.words[object] : NULL;
}

const char *lin_text_name(const struct lin_text *t, uint64_t object, unsigned name)
{
    return t && object < t->objects.count && name < t->names[object].count ? t->names[object].names[name] : NULL;
}

struct lin_text *lin_text_new(void)
{
    return MEM_NEW(struct lin_text);
}

void lin_text_free(struct lin_text *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->objects.count; i++)
        for (unsigned k = 0; k < t->names[i].count; k++)
            free(t->names[i].names[k]);
    free(t->names);
    words_free(&t->clients);
    words_free(&t->objects);
    for (size_t i = 0; i < t->count; i++)
        free(t->lines[i].tags);
    free(t->lines);
    free(t);
}

/* -- one line */

struct reader {
    struct lin_text *text;
    const char *at, *end;
};

static bool at_end(struct reader *r)
{
    while (r->at < r->end && isblank((unsigned char)*r->at))
        r->at++;
    return r->at == r->end || *r->at == '#';
}

/* False: the line ends, or the word is too long. */
static bool next_word(struct reader *r, char word[WORD_BYTES])
{
    if (at_end(r))
        return false;
    size_t size = 0;
    for (; r->at < r->end && !isspace((unsigned char)*r->at); r->at++) {
        if (size + 1 == WORD_BYTES)
            return false;
        word[size++] = *r->at;
    }
    word[size] = '\0';
    return true;
}

static bool next_number(struct reader *r, int64_t *ret)
{
    char word[WORD_BYTES], *end;
    if (!next_word(r, word))
        return false;
    *ret = strtoll(word, &end, 10);
    return *end == '\0';
}

/* D/N, or N alone in the object ".". Both names of a rename are of one object. */
static bool next_path(struct reader *r, struct lin_call *c, bool first, unsigned *ret)
{
    char word[WORD_BYTES];
    if (!next_word(r, word))
        return false;
    char *slash = strrchr(word, '/'), *name = slash ? slash + 1 : word;
    if (slash)
        *slash = '\0';
    uint64_t object = object_number(r->text, slash ? word : ".");
    if (!first && object != c->object)
        return false;
    c->object = object;
    struct object_names *names = &r->text->names[object];
    for (*ret = 0; *ret < names->count; (*ret)++)
        if (strcmp(names->names[*ret], name) == 0)
            return true;
    if (names->count == LIN_NAMES_MAX)
        return false;
    names->names[names->count++] = mem_strdup(name);
    return true;
}

static bool read_call(struct reader *r, struct lin_call *c)
{
    char word[WORD_BYTES];
    if (!next_word(r, word))
        return false;
    for (c->verb = 0; c->verb < LIN_VERBS && strcmp(lin_verb_name(c->verb), word) != 0;)
        c->verb++;
    if (c->verb == LIN_VERBS)
        return false;
    for (const char *at = lin_verb_format(c->verb); *at != '>'; at++) {
        bool ok = true;
        if (*at == 'x') {
            ok = next_word(r, word);
            c->object = ok ? object_number(r->text, word) : 0;
        } else if (*at == 'p') {
            ok = next_path(r, c, true, &c->name);
        } else if (*at == 'q') {
            ok = next_path(r, c, c->verb == LIN_LINK, &c->new_name);
        } else {
            ok = next_number(r, *at == 'a' ? &c->a : &c->b);
        }
        if (!ok)
            return false;
    }
    return true;
}

static bool read_tags(struct reader *r, struct line *l)
{
    size_t capacity = 0;
    while (!at_end(r)) {
        if (l->tag_count == capacity) {
            capacity = MAX(16, 2 * capacity);
            l->tags = mem_realloc(l->tags, capacity * sizeof *l->tags);
        }
        if (l->tag_count == TAGS_PER_LINE_MAX || !next_number(r, &l->tags[l->tag_count]))
            return false;
        l->tag_count++;
    }
    return true;
}

static bool read_answer(struct reader *r, struct line *l)
{
    bool may_end = false;
    l->answer.value = LIN_UNSEEN;
    for (const char *at = strchr(lin_verb_format(l->call.verb), '>') + 1; *at; at++) {
        if (*at == '?') {
            may_end = true;
        } else if (may_end && at_end(r)) {
            return true;
        } else if (*at == '*') {
            return read_tags(r, l);
        } else {
            int64_t number;
            if (!next_number(r, &number))
                return false;
            if (*at == 'v')
                l->answer.value = number;
            else
                l->answer.links = (unsigned)number;
        }
    }
    return true;
}

static bool read_error(struct reader *r, enum err *ret)
{
    static const enum err all[] = {
#define X(name, number, class, text) ERR_##name,
        ERR_LIST(X)
#undef X
    };
    char word[WORD_BYTES];
    if (!next_word(r, word))
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        if (all[i] != ERR_OK && strcmp(err_name(all[i]), word) == 0) {
            *ret = all[i];
            return true;
        }
    return false;
}

static bool read_line(struct reader *r, struct line *l)
{
    static const char *const kinds[] = {
        [LINE_INVOKE] = "invoke", [LINE_OK] = "ok", [LINE_FAIL] = "fail", [LINE_INFO] = "info"};
    char word[WORD_BYTES];
    if (!next_number(r, &l->time) || l->time < 0 || l->time == LIN_OPEN_TIME || !next_word(r, word))
        return false;
    l->client = (unsigned)word_number(&r->text->clients, word);
    if (!next_word(r, word))
        return false;
    unsigned kind = 0;
    while (kind < ARRAY_SIZE(kinds) && strcmp(kinds[kind], word) != 0)
        kind++;
    if (kind == ARRAY_SIZE(kinds) || !read_call(r, &l->call))
        return false;
    l->kind = kind;
    bool ok = l->kind == LINE_OK ? read_answer(r, l) : l->kind == LINE_FAIL ? read_error(r, &l->answer.error) : true;
    return ok && at_end(r);
}

enum err lin_text_add(struct lin_text *t, const char *file, struct slice text, struct err_text *why)
{
    const char *at = (const char *)text.data, *end = at + text.size, *stop;
    for (unsigned number = 1; at < end && (stop = memchr(at, '\n', (size_t)(end - at))); at = stop + 1, number++) {
        struct reader r = {.text = t, .at = at, .end = stop};
        struct line l = {.order = t->count};
        if (at_end(&r))
            continue;
        if (!read_line(&r, &l)) {
            free(l.tags);
            return err_explain(why, ERR_INVAL, "%s:%u: can't be read: %.*s", file, number, (int)MIN(stop - at, 120),
                               at);
        }
        if (t->count == t->capacity) {
            t->capacity = MAX(256, 2 * t->capacity);
            t->lines = mem_realloc(t->lines, t->capacity * sizeof *t->lines);
        }
        t->lines[t->count++] = l;
    }
    return ERR_OK;
}

/* -- lines into a history */

static int compare_lines(const void *a, const void *b)
{
    const struct line *x = a, *y = b;
    if (x->time != y->time)
        return x->time < y->time ? -1 : 1;
    return (x->order > y->order) - (x->order < y->order);
}

static bool same_call(const struct lin_call *a, const struct lin_call *b)
{
    return a->verb == b->verb && a->object == b->object && a->name == b->name && a->new_name == b->new_name &&
           a->a == b->a && a->b == b->b;
}

static enum err add_line(struct lin_history *h, const struct line *l, size_t *under_way, struct err_text *why)
{
    const char *client = lin_text_client(h->text, l->client);
    if (l->kind == LINE_INVOKE) {
        if (*under_way)
            return err_explain(why, ERR_INVAL, "%s calls at %" PRId64 " before its last operation ended", client,
                               l->time);
        *under_way = 1 + lin_invoke(h, l->client, l->time, &l->call);
        return ERR_OK;
    }
    if (!*under_way || !same_call(&h->ops[*under_way - 1].call, &l->call))
        return err_explain(why, ERR_INVAL, "%s at %" PRId64 ": an answer to a call that isn't there", client, l->time);
    size_t operation = *under_way - 1;
    *under_way = 0;
    if (l->kind == LINE_INFO)
        lin_open(h, operation);
    else if (l->kind == LINE_OK && l->call.verb == LIN_LIST_ALL)
        lin_return_list(h, operation, l->time, l->tags, l->tag_count);
    else
        lin_return(h, operation, l->time, &l->answer);
    return ERR_OK;
}

enum err lin_text_history(struct lin_text *t, struct lin_history **ret, struct err_text *why)
{
    struct lin_history *h = lin_history_new();
    h->text = t;
    _cleanup_free_ size_t *under_way = mem_zalloc((t->clients.count + 1) * sizeof *under_way);
    if (t->count)
        qsort(t->lines, t->count, sizeof *t->lines, compare_lines);
    for (size_t i = 0; i < t->count; i++) {
        enum err e = add_line(h, &t->lines[i], &under_way[t->lines[i].client], why);
        if (e != ERR_OK) {
            lin_history_free(h);
            return e;
        }
    }
    *ret = h;
    return ERR_OK;
}
