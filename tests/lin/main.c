/* main.c: verdicts on histories that processes wrote.
 *
 *   lin [--budget N] MODEL FILE...   the files together are one history. Exit code: 0 linearizable, 1 not, 2 unknown
 *                                    (the search met its budget), 64 usage or unreadable input */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "tests/lin/lin.h"

#define EXIT_USAGE 64
#define FILE_BYTES_MAX (1u << 30)

static int usage(void)
{
    fprintf(stderr, "usage: lin [--budget CONFIGURATIONS] register|counter|names|list|set FILE...\n");
    return EXIT_USAGE;
}

static enum err read_file(const char *path, struct bytes *to, struct err_text *why)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return err_explain(why, ERR_NOENT, "%s: %m", path);
    bool ok = true;
    for (size_t n = 1; n > 0 && ok;) {
        enum { PIECE = 1 << 16 };
        n = fread(bytes_extend(to, PIECE), 1, PIECE, f);
        to->size -= PIECE - n;
        ok = to->size < FILE_BYTES_MAX;
    }
    ok = ok && !ferror(f);
    fclose(f);
    return ok ? ERR_OK : err_explain(why, ERR_IO, "%s: can't be read, or is too large", path);
}

static enum err add_files(struct lin_text *t, char **paths, int count, struct err_text *why)
{
    for (int i = 0; i < count; i++) {
        _cleanup_(bytes_free) struct bytes content = {0};
        TRY(read_file(paths[i], &content, why));
        TRY(lin_text_add(t, paths[i], bytes_slice(&content), why));
    }
    return ERR_OK;
}

static int check(const struct lin_history *h, enum lin_model model, uint64_t budget)
{
    static const char *const verdicts[] = {[LIN_OK] = "ok", [LIN_BAD] = "BAD", [LIN_UNKNOWN] = "unknown"};
    static struct lin_report r;
    enum lin_verdict verdict = lin_check(h, model, budget, &r);
    printf("%s: %zu operations (%zu of unknown outcome) on %zu objects, %zu bad, %zu undecided, %" PRIu64
           " configurations\n",
           verdicts[verdict], r.operations, r.open, r.objects, r.bad_objects, r.unknown_objects, r.configurations);
    if (verdict == LIN_BAD)
        printf("%s", r.why);
    return (int)verdict;
}

int main(int argc, char **argv)
{
    uint64_t budget = 0;
    int at = 1;
    if (at + 1 < argc && strcmp(argv[at], "--budget") == 0) {
        budget = strtoull(argv[at + 1], NULL, 10);
        at += 2;
    }
    enum lin_model model;
    if (at + 1 >= argc || !lin_model_parse(argv[at], &model))
        return usage();
    struct lin_text *t = lin_text_new();
    struct lin_history *h = NULL;
    struct err_text why;
    enum err e = add_files(t, argv + at + 1, argc - at - 1, &why);
    if (e == ERR_OK)
        e = lin_text_history(t, &h, &why);
    int code = EXIT_USAGE;
    if (e != ERR_OK)
        fprintf(stderr, "lin: %s\n", why.text);
    else if (!lin_model_fits(h, model, &why))
        fprintf(stderr, "lin: %s\n", why.text);
    else
        code = check(h, model, budget);
    lin_history_free(h);
    lin_text_free(t);
    return code;
}
