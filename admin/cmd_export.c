/* cmd_export.c: what holds for all who mount an export. */
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "admin/admin.h"
#include "meta/types.h"

#define ROOT_SQUASH "root-squash="

static int print_export(struct admin *a, const char *name, uint32_t options)
{
    bool squash = options & META_EXPORT_ROOT_SQUASH;
    if (a->json)
        return admin_print_json(json_pack("{s:s, s:b}", "name", name, "root_squash", squash));
    printf("%s  " ROOT_SQUASH "%s\n", name, squash ? "on" : "off");
    return EXIT_DONE;
}

static bool parse_option(const char *text, struct wire_admin_export *to)
{
    if (strncmp(text, ROOT_SQUASH, strlen(ROOT_SQUASH)) != 0)
        return false;
    const char *value = text + strlen(ROOT_SQUASH);
    bool on = strcmp(value, "on") == 0;
    to->mask |= META_EXPORT_ROOT_SQUASH;
    to->options |= on ? META_EXPORT_ROOT_SQUASH : 0;
    return on || strcmp(value, "off") == 0;
}

static int run_export(struct admin *a, int argc, char **argv)
{
    struct wire_admin_export asked = {.name = slice_str(argv[1])}, told;
    bool sets = strcmp(argv[0], "set") == 0;
    if (!sets && strcmp(argv[0], "show") != 0)
        return admin_usage(a, "export %s: it is show or set", argv[0]);
    if (argc != (sets ? 3 : 2))
        return admin_usage(a, "the command is surfctl export %s",
                           sets ? "set NAME " ROOT_SQUASH "on|off" : "show NAME");
    if (asked.name.size == 0 || asked.name.size > LIMIT_EXPORT_BYTES)
        return admin_usage(a, "\"%.80s\": a name has 1 to %u bytes", argv[1], LIMIT_EXPORT_BYTES);
    if (sets && !parse_option(argv[2], &asked))
        return admin_usage(a, "\"%.80s\": it is " ROOT_SQUASH "on or " ROOT_SQUASH "off", argv[2]);
    struct err_text why = {""};
    struct slice answer;
    enum err e =
        admin_ask_leader_for(a, METHOD_ADMIN_EXPORT, wire_admin_export_encode(&asked, &a->arena), &answer, &why);
    if (e == ERR_OK)
        e = wire_admin_export_decode(answer, &a->arena, &told, &why);
    return e == ERR_OK ? print_export(a, argv[1], told.options) : admin_fail(a, e, &why);
}

const struct admin_command command_export = {
    "export", "show NAME | set NAME root-squash=on|off", "what holds for all who mount it", 2, 3, run_export};
