#include "base/rate.h"

#include <stdlib.h>
#include <string.h>

bool rate_parse(const char *text, uint64_t *ret)
{
    static const char letters[] = "KMG";
    size_t digits = strspn(text, "0123456789");
    const char *letter = text[digits] ? strchr(letters, text[digits]) : NULL;
    unsigned shift = letter ? 10 * (unsigned)(letter - letters + 1) : 0;
    uint64_t value = digits > 0 && digits <= 13 ? strtoull(text, NULL, 10) : UINT64_MAX;
    if (text[digits + (letter ? 1 : 0)] != 0 || value > RATE_MAX >> shift)
        return false;
    *ret = value << shift;
    return true;
}
