/* script_test.c: runs scripts: comments and commands (script_command.h), then "----", then what the members do, up to
 * an empty line. A script fails when that differs from what is written there; with --rewrite it is written there
 * instead, to be read in review: against the thesis, not against the code. Built with planted bugs, it is right when a
 * script fails. */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "tests/support/plant_name.h"
#include "tests/unit/raft/script_command.h"

static char *read_file(const char *path)
{
    FILE *f = fopen(path, "r");
    char *text = NULL;
    size_t size = 0;
    if (!f)
        return NULL;
    if (getdelim(&text, &size, 0, f) < 0) {
        free(text);
        text = NULL;
    }
    fclose(f);
    return text;
}

/* Runs the commands of the last block of what was made: from the last empty line on. */
static void run_block(struct script *s, const char *made)
{
    _cleanup_free_ char *copy = mem_strdup(made);
    char *block = copy;
    for (char *gap = strstr(block, "\n\n"); gap; gap = strstr(block, "\n\n"))
        block = gap + 2;
    for (char *save = NULL, *line = strtok_r(block, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        if (*line != '#' && strcmp(line, "----") != 0)
            script_run_command(s, line);
}

/* The script as it would be if it were right: its own commands and comments, and what happens. */
static char *play(char *text)
{
    char *made = NULL;
    size_t size = 0;
    struct script s = {.out = open_memstream(&made, &size)};
    bool in_output = false;
    CHECK(s.out);
    for (char *line = text, *next; *line; line = next) {
        next = strchrnul(line, '\n');
        if (*next)
            *next++ = 0;
        if (*line == 0) {
            in_output = false;
            fputc('\n', s.out);
        } else if (strcmp(line, "----") == 0) {
            in_output = true;
            fputs("----\n", s.out);
            fflush(s.out);
            run_block(&s, made);
        } else if (!in_output) {
            fprintf(s.out, "%s\n", line);
        }
    }
    script_close(&s);
    fclose(s.out);
    return made;
}

static bool run_script(const char *path, bool rewrite)
{
    _cleanup_free_ char *expected = read_file(path);
    if (!expected) {
        printf("%s: can't be read\n", path);
        return false;
    }
    _cleanup_free_ char *script = mem_strdup(expected);
    _cleanup_free_ char *made = play(script);
    if (strcmp(made, expected) == 0)
        return true;
    if (rewrite) {
        FILE *f = fopen(path, "w");
        CHECK(f && fputs(made, f) >= 0 && fclose(f) == 0);
        printf("%s: written anew\n", path);
        return true;
    }
    unsigned line = 1;
    const char *a = expected, *b = made;
    for (; *a && *a == *b; a++, b++)
        line += *a == '\n';
    while (a > expected && a[-1] != '\n') {
        a--;
        b--;
    }
    printf("%s:%u:\n  expected %.*s\n  happened %.*s\n", path, line, (int)strcspn(a, "\n"), a, (int)strcspn(b, "\n"),
           b);
    return false;
}

#ifdef SURF_PLANTS
/* In a process of its own, since a planted bug may well end in a CHECK. */
static bool run_script_apart(const char *path)
{
    int status;
    fflush(stdout);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        bool right = run_script(path, false);
        fflush(stdout);
        _exit(right ? 0 : 1);
    }
    CHECK(waitpid(child, &status, 0) == child);
    return status == 0;
}

/* --plant BUG SCRIPT...: at least one script must fail. */
int main(int argc, char **argv)
{
    int failed = 0;
    if (argc < 4 || strcmp(argv[1], "--plant") != 0 || !plant_find(argv[2], &plant_chosen)) {
        printf("usage: %s --plant BUG SCRIPT...\n", argv[0]);
        return 2;
    }
    for (int i = 3; i < argc; i++)
        failed += !run_script_apart(argv[i]);
    printf("%s: %d of %d scripts fail\n", argv[2], failed, argc - 3);
    return failed == 0;
}
#else
int main(int argc, char **argv)
{
    int failed = 0, first = 1;
    bool rewrite = argc > 1 && strcmp(argv[1], "--rewrite") == 0;
    first += rewrite;
    for (int i = first; i < argc; i++)
        failed += !run_script(argv[i], rewrite);
    printf("%d scripts, %d failed\n", argc - first, failed);
    return failed > 0 || argc == first;
}
#endif
