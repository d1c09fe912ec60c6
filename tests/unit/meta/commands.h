/* commands.h: commands, queries and looks at rows for the tests of the state machine; see fixture.h. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four before it */
#include <cmocka.h>

#include "tests/unit/meta/fixture.h"

/* As cmocka's setup and teardown: the fixture is *state. */
int setup(void **state);
int teardown(void **state);

struct meta_command make_command(enum meta_op op, uint64_t parent, const char *name, uint32_t mode);
struct meta_command unlink_command(enum meta_op op, uint64_t parent, const char *name);
struct meta_command rename_command(uint64_t parent, const char *name, uint64_t new_parent, const char *new_name,
                                   uint32_t flags);
struct meta_command commit_command(uint64_t ino, const struct meta_extent *extents, unsigned count);
struct meta_command size_command(uint64_t ino, uint64_t size);

/* The inode made; fails the test when it was not. */
uint64_t must_make(struct fixture *f, enum meta_op op, uint64_t parent, const char *name, uint32_t mode);
struct meta_attr must_getattr(struct fixture *f, uint64_t ino);
/* 0 when there is none; fails the test for other errors. */
uint64_t ino_of(struct fixture *f, uint64_t parent, const char *name);
/* How many rows begin with this table's byte. */
unsigned rows_of(struct fixture *f, char table);
uint64_t references_of(struct fixture *f, uint32_t block);
