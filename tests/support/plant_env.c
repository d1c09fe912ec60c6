/* For programs with planted bugs: the one that SURF_PLANT names is active. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/plant_name.h"

__attribute__((constructor)) static void choose_plant(void)
{
    const char *name = getenv("SURF_PLANT");
    if (name && !plant_find(name, &plant_chosen)) {
        fprintf(stderr, "SURF_PLANT=%s: there is no such planted bug\n", name);
        exit(64);
    }
}
