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

void admin_print_json_line(json_t *line)
{
    json_dumpf(line, stdout, JSON_COMPACT);
    json_decref(line);
    putchar('\n');
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

const char *admin_takes_none(bool full, bool failed)
{
    return failed ? "; FAILED: no blocks are taken" : full ? "; FULL: no blocks are taken" : "";
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

bool admin_parse_number(const char *text, uint64_t low, uint64_t high, uint64_t *ret)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || text[0] < '0' || text[0] > '9' || *end != 0 || value < low || value > high)
        return false;
    *ret = value;
    return true;
}

bool admin_parse_option(struct admin *a, const char *option, const char *text, uint64_t low, uint64_t high,
                        uint64_t *ret)
{
    if (text && admin_parse_number(text, low, high, ret))
        return true;
    (void)admin_usage(a, "%s %s: a number from %" PRIu64 " to %" PRIu64, option, text ? text : "", low, high);
    return false;
}

bool admin_parse_node(struct admin *a, const char *text, uint32_t *ret)
{
    uint64_t value;
    if (!admin_parse_number(text, 1, UINT32_MAX, &value)) {
        (void)admin_usage(a, "%s: not a node id (a number from 1)", text[0] ? text : "nothing");
        return false;
    }
    *ret = (uint32_t)value;
    return true;
}
