/* help.c: commands as lines that fit a terminal. argp would fill longer ones anew, across their columns. */
#include <stdio.h>
#include <string.h>

#include "admin/admin.h"

#define WIDTH 77u
#define ARGUMENTS_INDENT 8u
#define TEXT_COLUMN 24u

/* Appends words from `at` on, and goes on in lines that begin with `indent` spaces; gives the column behind them. */
static unsigned append_words(struct bytes *to, const char *words, unsigned at, unsigned indent)
{
    while (*words) {
        size_t size = strcspn(words, " ");
        if (at + 1 + size > WIDTH) {
            bytes_append(to, slice_str("\n"));
            for (at = 0; at + 1 < indent; at++)
                bytes_append(to, slice_str(" "));
        }
        bytes_append(to, slice_str(" "));
        bytes_append(to, SLICE(words, size));
        at += 1 + (unsigned)size;
        words += size + strspn(words + size, " ");
    }
    return at;
}

void help_append(struct bytes *to, const char *name, const char *arguments, const char *text)
{
    bytes_append(to, slice_str(" "));
    unsigned at = append_words(to, name, 1, ARGUMENTS_INDENT);
    at = append_words(to, arguments, at, ARGUMENTS_INDENT);
    if (text[0] && at >= TEXT_COLUMN) {
        bytes_append(to, slice_str("\n"));
        at = 0;
    }
    for (; text[0] && at < TEXT_COLUMN; at++)
        bytes_append(to, slice_str(" "));
    (void)append_words(to, text, at, TEXT_COLUMN + 1);
    bytes_append(to, slice_str("\n"));
}

int help_print(const char *command, struct bytes *lines)
{
    printf("Usage: surfctl [OPTION...] %s\n%.*s", command, (int)lines->size, (const char *)lines->data);
    bytes_free(lines);
    return EXIT_DONE;
}
