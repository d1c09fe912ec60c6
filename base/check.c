#include "base/check.h"

#include <execinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

noreturn void check_failed(const char *file, int line, const char *expression)
{
    char text[512];
    int size = snprintf(text, sizeof text, "%s:%d: check failed: %s\n", file, line, expression);
    if (size > (int)sizeof text - 1)
        size = (int)sizeof text - 1;
    if (write(STDERR_FILENO, text, (size_t)size) == size) {
        void *frames[64];
        backtrace_symbols_fd(frames, backtrace(frames, 64), STDERR_FILENO);
    }
    abort();
}
