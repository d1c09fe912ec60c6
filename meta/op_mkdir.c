#include <sys/stat.h>

#include "meta/store.h"

OP(mkdir)
{
    return make_entry(m, c, S_IFDIR | (c->make.mode & 07777), r);
}
