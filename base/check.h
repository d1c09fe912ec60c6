/* check.h: invariants that stay on in production. A CHECK that fails is a bug in this program, never bad input and
 * never an operating error: it prints the expression and a backtrace to stderr and aborts. */
#pragma once

#include <stdnoreturn.h>

noreturn void check_failed(const char *file, int line, const char *expression);

#define CHECK(expression)                                                                                              \
    (__builtin_expect(!!(expression), 1) ? (void)0 : check_failed(__FILE__, __LINE__, #expression))
