#include "gateway/text_parse.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "meta/types.h"

#define FIELDS_MAX 5u
#define TLS_HANDSHAKE 0x16
#define EXPIRY_MAX_S ((uint64_t)META_KV_TTL_MAX_NS / 1000000000u)

void text_command_free(struct text_command *c, struct text_budget *budget)
{
    bytes_free(&c->key);
    bytes_free(&c->value);
    budget->left += c->held;
    *c = (struct text_command){0};
}

void text_parser_free(struct text_parser *p)
{
    bytes_free(&p->line);
    text_command_free(&p->command, p->budget);
}

bool text_parser_is_inside(const struct text_parser *p)
{
    return p->state != TEXT_IN_LINE || p->line.size > 0;
}

/* ---- a line ---- */

/* 0: a field is empty, or there are too many. */
static unsigned split(struct slice line, struct slice fields[FIELDS_MAX])
{
    unsigned count = 0;
    for (size_t from = 0, i = 0; i <= line.size; i++) {
        if (i < line.size && line.data[i] != ' ')
            continue;
        if (i == from || count == FIELDS_MAX)
            return 0;
        fields[count++] = slice_sub(line, from, i - from);
        from = i + 1;
    }
    return count;
}

static bool read_number(struct slice text, uint64_t max, uint64_t *ret)
{
    uint64_t value = 0;
    for (size_t i = 0; i < text.size; i++) {
        unsigned digit = text.data[i] - (unsigned)'0';
        if (digit > 9 || value > (max - digit) / 10)
            return false;
        value = 10 * value + digit;
    }
    *ret = value;
    return text.size > 0;
}

static const struct {
    const char *name;
    enum text_verb verb;
    unsigned fields;
} verbs[] = {{"get", TEXT_GET, 2},
             {"getm", TEXT_GETM, 2},
             {"set", TEXT_SET, 4},
             {"cas", TEXT_CAS, 5},
             {"delete", TEXT_DELETE, 2}};

static enum text_verb find_verb(struct slice name, unsigned fields)
{
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
        if (slice_equal(name, slice_str(verbs[i].name)) && verbs[i].fields == fields)
            return verbs[i].verb;
    return 0;
}

static bool key_is_valid(struct slice key)
{
    return key.size <= LIMIT_KV_KEY_BYTES && !memchr(key.data, '\r', key.size);
}

/* "POST /path HTTP/1.1", or the first record of TLS: a web page that somebody on this machine looks at may make its
 * browser send that to any port, with commands behind it as lines of the body or in what it chose to be kept for TLS.
 */
static bool is_browser(struct slice line, const struct slice *fields, unsigned count)
{
    static const char version[] = "HTTP/";
    return line.data[0] == TLS_HANDSHAKE ||
           (count == 3 && fields[2].size >= strlen(version) && memcmp(fields[2].data, version, strlen(version)) == 0);
}

static enum text_step skip(struct text_parser *p, uint64_t bytes, enum text_step step)
{
    if (bytes > TEXT_SKIP_BYTES)
        return TEXT_END;
    text_command_free(&p->command, p->budget);
    p->state = bytes > 0 ? TEXT_IN_SKIP : TEXT_IN_LINE;
    p->left = bytes;
    return step;
}

static enum text_step begin_value(struct text_parser *p, const struct slice *fields)
{
    struct text_command *c = &p->command;
    bool cas = c->verb == TEXT_CAS;
    uint64_t size;
    /* Without its length nothing is known of the value, which may not even be there: the next line is read. */
    if (!read_number(fields[cas ? 4 : 3], UINT64_MAX, &size) || size == 0)
        return TEXT_BAD;
    bool valid = key_is_valid(fields[1]) && read_number(fields[2], EXPIRY_MAX_S, &c->expiry_s) &&
                 (!cas || read_number(fields[3], INT64_MAX, &c->version));
    if (!valid || size > LIMIT_KV_VALUE_BYTES)
        return skip(p, size, TEXT_BAD);
    if (size > p->budget->left)
        return skip(p, size, TEXT_FULL);
    p->budget->left -= size;
    c->held = size;
    bytes_append(&c->key, fields[1]);
    p->state = TEXT_IN_VALUE;
    p->left = size;
    return TEXT_MORE;
}

static enum text_step take_line(struct text_parser *p, struct slice line)
{
    struct slice fields[FIELDS_MAX];
    struct text_command *c = &p->command;
    if (line.size > 0 && line.data[line.size - 1] == '\r')
        line.size--;
    if (line.size == 0)
        return TEXT_MORE;
    if (line.size > TEXT_LINE_BYTES)
        return TEXT_END;
    unsigned count = split(line, fields);
    c->verb = count > 0 ? find_verb(fields[0], count) : 0;
    if (!c->verb)
        return is_browser(line, fields, count) ? TEXT_END : TEXT_BAD;
    if (c->verb == TEXT_SET || c->verb == TEXT_CAS)
        return begin_value(p, fields);
    if (!key_is_valid(fields[1]))
        return TEXT_BAD;
    bytes_append(&c->key, fields[1]);
    return TEXT_COMMAND;
}

/* ---- bytes ---- */

static enum text_step take_from_line(struct text_parser *p, struct slice *data)
{
    const uint8_t *end = memchr(data->data, '\n', data->size);
    size_t size = end ? (size_t)(end - data->data) : data->size;
    struct slice part = slice_sub(*data, 0, size);
    *data = slice_sub(*data, size + (end != NULL), data->size - size - (end != NULL));
    if (p->line.size + part.size > TEXT_LINE_BYTES + 1)
        return TEXT_END;
    if (!end || p->line.size > 0)
        bytes_append(&p->line, part);
    if (!end)
        return TEXT_MORE;
    enum text_step step = take_line(p, p->line.size > 0 ? bytes_slice(&p->line) : part);
    bytes_free(&p->line); /* thousands of connections wait without one */
    return step;
}

static enum text_step take_from_value(struct text_parser *p, struct slice *data)
{
    size_t size = MIN(p->left, data->size);
    bytes_append(&p->command.value, slice_sub(*data, 0, size));
    *data = slice_sub(*data, size, data->size - size);
    p->left -= size;
    if (p->left > 0)
        return TEXT_MORE;
    p->state = TEXT_IN_LINE;
    return TEXT_COMMAND;
}

enum text_step text_parser_take(struct text_parser *p, struct slice *data)
{
    while (data->size > 0) {
        enum text_step step = TEXT_MORE;
        if (p->state == TEXT_IN_LINE) {
            step = take_from_line(p, data);
        } else if (p->state == TEXT_IN_VALUE) {
            step = take_from_value(p, data);
        } else {
            size_t size = MIN(p->left, data->size);
            *data = slice_sub(*data, size, data->size - size);
            p->left -= size;
            p->state = p->left > 0 ? TEXT_IN_SKIP : TEXT_IN_LINE;
        }
        if (step != TEXT_MORE)
            return step;
    }
    return TEXT_MORE;
}
