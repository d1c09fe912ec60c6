#include "admin/admin.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

int admin_print_json(json_t *value)
{
    int written = json_dumpf(value, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
    json_decref(value);
    putchar('\n');
    return written == 0 && fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
}

int admin_fail(struct admin *a, enum err e, const struct err_text *why)
{
    const char *text = why->text[0] ? why->text : err_message(e);
    if (a->json)
        admin_print_json(json_pack("{s:o, s:s}", "error", json_slice(slice_str(text)), "code", err_name(e)));
    fprintf(stderr, "surfctl: %s\n", text);
    switch (e) {
    case ERR_NO_LEADER:
    case ERR_NOT_LEADER:
    case ERR_NOT_POSSIBLE:
    case ERR_TIMEOUT:
    case ERR_BUSY_NOW:
    case ERR_CRASHED:
        return EXIT_NOT_NOW;
    default:
        return EXIT_FAILED;
    }
}

int admin_usage(struct admin *a, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (a->json)
        admin_print_json(json_pack("{s:o, s:s}", "error", json_slice(slice_str(text)), "code", "USAGE"));
    fprintf(stderr, "surfctl: %s\n", text);
    return EX_USAGE;
}

int admin_done(struct admin *a, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (a->json)
        return admin_print_json(json_pack("{s:o}", "done", json_slice(slice_str(text))));
    printf("%s\n", text);
    return EXIT_DONE;
}

const char *admin_bytes(uint64_t bytes, char text[32])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    unsigned unit = 0;
    while (value >= 1024 && unit < 6)
        value /= 1024, unit++;
    snprintf(text, 32, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return text;
}

const char *admin_text(struct admin *a, struct slice s)
{
    char *text = arena_str(&a->arena, s);
    for (size_t i = 0; i < s.size; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            text[i] = '?';
    return text;
}

json_t *json_slice(struct slice s)
{
    json_t *text = json_stringn((const char *)s.data, s.size);
    if (text)
        return text;
    char *clean = malloc(s.size + 1);
    for (size_t i = 0; clean && i < s.size; i++)
        clean[i] = s.data[i] >= 0x20 && s.data[i] < 0x7f ? (char)s.data[i] : '?';
    text = clean ? json_stringn(clean, s.size) : json_null();
    free(clean);
    return text;
}

json_t *roles_json(uint32_t roles)
{
    json_t *list = json_array();
    if (roles & WIRE_NODE_META)
        json_array_append_new(list, json_string("meta"));
    if (roles & WIRE_NODE_BLOCK)
        json_array_append_new(list, json_string("block"));
    return list;
}

json_t *json_hex(struct slice s)
{
    char text[129];
    size_t size = s.size < 64 ? s.size : 64;
    for (size_t i = 0; i < size; i++)
        snprintf(text + 2 * i, 3, "%02x", s.data[i]);
    return json_stringn(text, 2 * size);
}

bool admin_parse_node(struct admin *a, const char *text, uint32_t *ret)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != 0 || text[0] < '0' || text[0] > '9' || value == 0 || value > UINT32_MAX) {
        (void)admin_usage(a, "%s: not a node id (a number from 1)", text);
        return false;
    }
    *ret = (uint32_t)value;
    return true;
}
