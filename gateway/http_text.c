#include "gateway/http_text.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

enum err http_text_decode(struct slice text, struct arena *arena, struct slice *ret)
{
    uint8_t *to = arena_alloc(arena, text.size + 1);
    size_t size = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] != '%') {
            to[size++] = text.data[i];
            continue;
        }
        int high = i + 2 < text.size ? hex_digit(text.data[i + 1]) : -1;
        int low = i + 2 < text.size ? hex_digit(text.data[i + 2]) : -1;
        if (high < 0 || low < 0)
            return ERR_INVAL;
        to[size++] = (uint8_t)(high << 4 | low);
        i += 2;
    }
    to[size] = 0;
    *ret = SLICE(to, size);
    return ERR_OK;
}

void http_text_encode(struct bytes *to, struct slice text, bool slash)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        bool plain = (c < 0x80 && isalnum(c)) || (c && strchr("-._~", c)) || (c == '/' && !slash);
        if (plain) {
            bytes_u8(to, c);
            continue;
        }
        bytes_u8(to, '%');
        bytes_u8(to, (uint8_t)digits[c >> 4]);
        bytes_u8(to, (uint8_t)digits[c & 15]);
    }
}

/* Bytes of the well-formed character that begins here, 0: there is none. */
static size_t character_size(const uint8_t *p, size_t left)
{
    static const struct {
        uint8_t mask, lead;
        uint32_t low;
    } forms[] = {{0x80, 0, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};
    for (size_t extra = 0; extra < ARRAY_SIZE(forms); extra++) {
        if ((p[0] & forms[extra].mask) != forms[extra].lead)
            continue;
        uint32_t code = p[0] & (uint8_t)~forms[extra].mask;
        if (extra >= left)
            return 0;
        for (size_t i = 1; i <= extra; i++) {
            if ((p[i] & 0xc0) != 0x80)
                return 0;
            code = code << 6 | (p[i] & 0x3f);
        }
        bool surrogate = code >= 0xd800 && code <= 0xdfff;
        return code < forms[extra].low || code > 0x10ffff || surrogate ? 0 : extra + 1;
    }
    return 0;
}

bool http_text_is_utf8(struct slice text)
{
    for (size_t i = 0; i < text.size;) {
        size_t size = character_size(text.data + i, text.size - i);
        if (size == 0)
            return false;
        i += size;
    }
    return true;
}

void http_text_escape(struct bytes *to, struct slice text)
{
    static const struct {
        char plain;
        const char *entity;
    } entities[] = {{'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'"', "&quot;"}, {'\'', "&#39;"}};
    for (size_t i = 0; i < text.size;) {
        size_t size = character_size(text.data + i, text.size - i);
        const char *entity = NULL;
        for (size_t k = 0; k < ARRAY_SIZE(entities); k++)
            if (text.data[i] == entities[k].plain)
                entity = entities[k].entity;
        if (size == 0 || text.data[i] < 0x20 || text.data[i] == 0x7f)
            entity = "\xef\xbf\xbd";
        if (entity)
            bytes_append(to, slice_str(entity));
        else
            bytes_append(to, slice_sub(text, i, size));
        i += size ? size : 1;
    }
}

/* Decimal digits, at most 18 of them. */
static bool parse_offset(const char **at, uint64_t *ret)
{
    size_t digits = strspn(*at, "0123456789");
    if (digits == 0 || digits > 18)
        return false;
    *ret = strtoull(*at, NULL, 10);
    *at += digits;
    return true;
}

enum err http_text_range(const char *header, uint64_t file_size, struct http_range *ret)
{
    uint64_t first = 0, last = 0;
    if (!header || strncasecmp(header, "bytes=", 6) != 0)
        return ERR_NOT_FOUND;
    const char *at = header + 6;
    bool has_first = parse_offset(&at, &first);
    if (*at++ != '-')
        return ERR_NOT_FOUND;
    bool has_last = parse_offset(&at, &last);
    if (*at != 0 || (!has_first && !has_last) || (has_first && has_last && last < first))
        return ERR_NOT_FOUND;
    if (!has_first) {
        uint64_t size = MIN(last, file_size);
        if (size == 0)
            return ERR_RANGE;
        *ret = (struct http_range){.from = file_size - size, .size = size};
        return ERR_OK;
    }
    if (first >= file_size)
        return ERR_RANGE;
    uint64_t end = has_last && last < file_size ? last + 1 : file_size;
    *ret = (struct http_range){.from = first, .size = end - first};
    return ERR_OK;
}

bool http_text_has_tag(const char *header, const char *tag)
{
    size_t tag_size = strlen(tag);
    for (const char *at = header; at && *at;) {
        at += strspn(at, ", \t");
        if (*at == '*')
            return true;
        if (strncmp(at, "W/", 2) == 0)
            at += 2;
        if (*at != '"')
            return false;
        const char *end = strchr(at + 1, '"');
        if (!end)
            return false;
        size_t size = (size_t)(end - at) + 1;
        if (size == tag_size && memcmp(at, tag, size) == 0)
            return true;
        at = end + 1;
    }
    return false;
}

/* In thousandths; -1: not named. The most specific name counts. */
static int quality(const char *header, const char *type)
{
    size_t slash = strcspn(type, "/");
    int best = -1, best_rank = 0;
    for (const char *at = header; *at;) {
        at += strspn(at, ", \t");
        size_t size = strcspn(at, ","), name = strcspn(at, ",; \t");
        int rank = 0;
        if (name == strlen(type) && strncasecmp(at, type, name) == 0)
            rank = 3;
        else if (name == slash + 2 && strncasecmp(at, type, slash + 1) == 0 && at[slash + 1] == '*')
            rank = 2;
        else if (name == 3 && strncmp(at, "*/*", 3) == 0)
            rank = 1;
        if (rank > best_rank) {
            double q = 1;
            for (const char *p = at; p + 2 < at + size; p++)
                if (*p == ';' && strncasecmp(p + 1 + strspn(p + 1, " "), "q=", 2) == 0)
                    q = strtod(p + 1 + strspn(p + 1, " ") + 2, NULL);
            best = q >= 0 && q <= 1 ? (int)(q * 1000) : 0;
            best_rank = rank;
        }
        at += size;
    }
    return best;
}

bool http_text_accepts(const char *header, const char *preferred, const char *other)
{
    return !header || quality(header, preferred) >= quality(header, other);
}

bool http_text_host(const char *header, char name[HTTP_HOST_BYTES + 1])
{
    const char *begin = header, *end;
    if (*header == '[') {
        begin++;
        end = strchr(begin, ']');
        if (!end || (end[1] != 0 && end[1] != ':'))
            return false;
    } else {
        end = begin + strcspn(begin, ":");
    }
    size_t size = (size_t)(end - begin);
    const char *port = *header == '[' ? end + 1 : end;
    if (size == 0 || size > HTTP_HOST_BYTES || (*port == ':' && port[1 + strspn(port + 1, "0123456789")] != 0))
        return false;
    for (size_t i = 0; i < size; i++)
        name[i] = (char)tolower((unsigned char)begin[i]);
    name[size] = 0;
    return true;
}
