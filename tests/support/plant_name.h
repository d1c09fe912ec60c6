/* plant_name.h: the planted bugs by their names, for command lines of tests. */
#pragma once

#include <stdbool.h>
#include <string.h>

#include "base/plant.h"

static inline bool plant_find(const char *name, enum plant *ret)
{
    static const char *const names[] = {"NONE",
#define X(name) #name,
                                        PLANT_LIST(X)
#undef X
    };
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0) {
            *ret = (enum plant)i;
            return true;
        }
    return false;
}
