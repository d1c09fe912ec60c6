#include <stdio.h>

#include "admin/admin.h"
#include "base/mem.h"

void space_print(const struct wire_admin_state *s)
{
    char logical[32], unique[32], physical[32];
    struct space r = space_of(s);
    if (!r.known) {
        printf("%s in files; the different blocks are not counted yet; %s on the disks\n",
               admin_bytes(r.logical, logical), admin_bytes(r.physical, physical));
        return;
    }
    printf("%s in files; about %s in different blocks, of which %.0f%% are stored after compression; %s on the disks, "
           "with %u %s of each\n",
           admin_bytes(r.logical, logical), admin_bytes(r.unique, unique), r.stored_share * 100,
           admin_bytes(r.physical, physical), r.copies, r.copies == 1 ? "copy" : "copies");
}
