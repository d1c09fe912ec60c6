/* fixture.h: directories with files in them, for the tests of snapshots. */
#pragma once

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four before it */
#include <cmocka.h>

#include "base/bytes.h"

struct place {
    char path[64]; /* a fresh directory */
};
void place_make(struct place *p);
void place_remove(struct place *p);
/* PATH/NAME. The name may have slashes. A few can be used at a time. */
const char *place_of(const struct place *p, const char *name);

void put_directory(const char *path);
void put_file(const char *path, struct slice content);
void put_text(const char *path, const char *text);
void get_file(const char *path, struct bytes *ret);
bool is_there(const char *path);
/* A file of `size` bytes that follow from the seed. */
void put_random(const char *path, size_t size, uint64_t seed);
void copy_tree(const char *from, const char *to);
void remove_tree(const char *path);
bool files_equal(const char *a, const char *b);
