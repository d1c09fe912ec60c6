/* cmd_kv.c: the key/value space. Its commands are in kv_*.c; here is what they have in common. */
#include <errno.h>
#include <openssl/evp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "admin/kv.h"
#include "base/clock.h"
#include "base/mem.h"

static const struct kv_command *const commands[] = {
    &kv_command_get, &kv_command_mget,   &kv_command_list,   &kv_command_put,  &kv_command_set,
    &kv_command_cas, &kv_command_append, &kv_command_delete, &kv_command_mput, &kv_command_watch};

/* ---- failures ---- */

static const char *key_text(struct admin *a, struct slice key)
{
    return admin_text(a, SLICE(key.data, MIN(key.size, (size_t)80)));
}

int kv_fail(struct admin *a, enum err e, struct slice key, const struct kv_changed *changed)
{
    struct err_text why = {""};
    const char *text = key_text(a, key);
    uint64_t version = changed ? changed->version : 0;
    switch (e) {
    case ERR_NOT_FOUND:
        (void)admin_fail(a, err_explain(&why, e, "%s: there is no such key", text), &why);
        return EXIT_ABSENT;
    case ERR_EXIST:
        (void)admin_fail(
            a, err_explain(&why, e, "%s: it is there, with version %llu", text, (unsigned long long)version), &why);
        return EXIT_REFUSED;
    case ERR_VERSION:
        (void)admin_fail(
            a,
            err_explain(&why, e, "%s: it is not as expected, it has version %llu", text, (unsigned long long)version),
            &why);
        return EXIT_REFUSED;
    case ERR_WRONG_TYPE:
        (void)admin_fail(a, err_explain(&why, e, "%s: its value is of another type", text), &why);
        return EXIT_REFUSED;
    case ERR_TOO_BIG:
        return admin_fail(
            a,
            err_explain(&why, e,
                        "%s: keys have up to %u bytes, values up to %u, and so have all of one change together", text,
                        LIMIT_KV_KEY_BYTES, LIMIT_KV_VALUE_BYTES),
            &why);
    case ERR_NOT_DONE:
        (void)admin_fail(a,
                         err_explain(&why, e,
                                     "%s: it was not done, and won't be: no majority of the nodes could be asked in "
                                     "time",
                                     text),
                         &why);
        return EXIT_NOT_NOW;
    case ERR_TIMEOUT:
        if (changed)
            (void)err_explain(&why, e, "%s: no answer in time: whether it was done is not known, and it may still be",
                              text);
        return admin_fail(a, e, &why);
    default:
        return admin_fail(a, e, &why);
    }
}

/* ---- JSON ---- */

json_t *kv_json_base64(struct slice s)
{
    char *text = mem_alloc((s.size + 2) / 3 * 4 + 1);
    int size = EVP_EncodeBlock((unsigned char *)text, s.data, (int)s.size); /* a value is 1 MiB at most */
    json_t *json = json_stringn(text, (size_t)size);
    free(text);
    return json;
}

json_t *kv_json_bytes(struct slice bytes, bool *ret_text)
{
    json_t *text = bytes.size > 0 ? json_stringn((const char *)bytes.data, bytes.size) : json_string("");
    *ret_text = text != NULL;
    return text ? text : kv_json_base64(bytes);
}

void kv_json_set(json_t *object, const char *name, struct slice bytes)
{
    bool is_text;
    char other[32];
    json_t *value = kv_json_bytes(bytes, &is_text);
    snprintf(other, sizeof other, "%s_base64", name);
    json_object_set_new(object, is_text ? name : other, value);
}

/* ---- command lines ---- */

static bool parse_seconds(const char *text, int64_t *ret_ns)
{
    char *end;
    double seconds = strtod(text, &end);
    if (end == text || *end != 0 || !(seconds >= 0.001 && seconds <= (double)META_KV_TTL_MAX_NS / 1e9))
        return false;
    *ret_ns = (int64_t)(seconds * 1e9);
    return true;
}

static bool take_option(struct kv_arguments *args, enum kv_option option, const char *text)
{
    uint64_t number;
    switch (option) {
    case KV_OPTION_TTL:
        return parse_seconds(text, &args->ttl_ns);
    case KV_OPTION_MAX:
        if (!admin_parse_number(text, 1, UINT32_MAX, &number))
            return false;
        args->max = (unsigned)number;
        return true;
    case KV_OPTION_FROM:
        return admin_parse_number(text, 0, INT64_MAX, &args->from);
    case KV_OPTION_AFTER:
        args->after = slice_str(text);
        return args->after.size <= LIMIT_KV_KEY_BYTES;
    case KV_OPTION_IF_VALUE:
        args->if_value = slice_str(text);
        return true;
    default:
        return true;
    }
}

/* EXIT_DONE, or what the program ends with. *i goes on over the option's argument. */
static int parse_option(struct admin *a, const struct kv_command *c, int argc, char **argv, int *i,
                        struct kv_arguments *args)
{
    static const struct {
        const char *name;
        enum kv_option option;
        bool has_argument;
    } options[] = {{"--ttl", KV_OPTION_TTL, true},        {"--list", KV_OPTION_LIST, false},
                   {"--values", KV_OPTION_VALUES, false}, {"--raw", KV_OPTION_RAW, false},
                   {"--after", KV_OPTION_AFTER, true},    {"--max", KV_OPTION_MAX, true},
                   {"--from", KV_OPTION_FROM, true},      {"--if-value", KV_OPTION_IF_VALUE, true},
                   {"--fast", KV_OPTION_FAST, false}};
    const char *text = argv[*i], *equals = strchr(text, '=');
    size_t size = equals ? (size_t)(equals - text) : strlen(text);
    if (strcmp(text, "--json") == 0) {
        a->json = true;
        return EXIT_DONE;
    }
    for (size_t k = 0; k < ARRAY_SIZE(options); k++) {
        if (strlen(options[k].name) != size || memcmp(options[k].name, text, size) != 0 ||
            !(c->options & options[k].option) || (equals && !options[k].has_argument))
            continue;
        const char *argument = equals ? equals + 1 : options[k].has_argument && *i + 1 < argc ? argv[++*i] : NULL;
        if (options[k].has_argument && !argument)
            return admin_usage(a, "kv %s: %s needs an argument: surfctl kv %s %s", c->name, text, c->name, c->usage);
        if (!take_option(args, options[k].option, argument))
            return admin_usage(a, "kv %s: %s %.100s is not understood: surfctl kv %s %s", c->name, options[k].name,
                               argument, c->name, c->usage);
        args->given |= options[k].option;
        return EXIT_DONE;
    }
    return admin_usage(a, "kv %s: %.100s is not understood: surfctl kv %s %s", c->name, text, c->name, c->usage);
}

static int parse(struct admin *a, const struct kv_command *c, int argc, char **argv, struct kv_arguments *args)
{
    bool only_words = false;
    for (int i = 0; i < argc; i++) {
        bool is_option = !only_words && argv[i][0] == '-' && argv[i][1] != 0;
        if (is_option && strcmp(argv[i], "--") == 0) {
            only_words = true;
        } else if (is_option) {
            int code = parse_option(a, c, argc, argv, &i, args);
            if (code != EXIT_DONE)
                return code;
        } else if (args->count == c->max) {
            return admin_usage(a, "kv %s: %.100s is too much: surfctl kv %s %s", c->name, argv[i], c->name, c->usage);
        } else {
            args->words[args->count++] = slice_str(argv[i]);
        }
    }
    return args->count >= c->min ? EXIT_DONE
                                 : admin_usage(a, "kv %s needs more: surfctl kv %s %s", c->name, c->name, c->usage);
}

/* ---- running ---- */

static int run_command(struct admin *a, const struct kv_command *command, struct kv_arguments *args)
{
    struct meta_client_options options = {.servers = a->servers,
                                          .server_count = a->server_count,
                                          .export_name = META_EXPORT_DEFAULT,
                                          .client_name = "surfctl kv",
                                          .open_timeout_ns = a->timeout_ns,
                                          .soft_timeout_ns = a->timeout_ns,
                                          .tells_not_done = true};
    struct meta_client *client;
    struct meta_attr root;
    struct err_text why = {""};
    sigset_t ends, before;
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    /* The client's threads inherit this: signals are the main thread's. */
    sigprocmask(SIG_BLOCK, &ends, &before);
    enum err e = meta_client_open(&options, &client, &root, &why);
    sigprocmask(SIG_SETMASK, &before, NULL);
    if (e != ERR_OK)
        return admin_fail(a, e, &why);
    int code = command->run(a, client, args);
    meta_client_close(client);
    return code;
}

static int show_help(void)
{
    struct bytes lines = {0};
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
        help_append(&lines, commands[i]->name, commands[i]->usage, "");
    return help_print("kv COMMAND [ARGUMENT...]", &lines);
}

static int run_kv(struct admin *a, int argc, char **argv)
{
    if (strcmp(argv[0], "--help") == 0 || (argc > 1 && strcmp(argv[1], "--help") == 0))
        return show_help();
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        if (strcmp(commands[i]->name, argv[0]) != 0)
            continue;
        struct kv_arguments *args = arena_zalloc(&a->arena, sizeof *args);
        int code = parse(a, commands[i], argc - 1, argv + 1, args);
        return code == EXIT_DONE ? run_command(a, commands[i], args) : code;
    }
    return admin_usage(a, "kv %.100s: it is get, mget, list, put, set, cas, append, delete, mput or watch", argv[0]);
}

const struct admin_command command_kv = {"kv", "COMMAND ...", "keys and values: get, put, cas, list, watch, ...",
                                         1,    1 << 20,       run_kv};
